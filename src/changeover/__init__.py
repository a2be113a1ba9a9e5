"""Changeover conducts upgrades of clustered, database-backed applications."""

__version__ = "0.1.0"
