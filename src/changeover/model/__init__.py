"""Frozen data, without any input or output."""
