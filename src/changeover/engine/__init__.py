"""The engine: it executes a plan, and its journal survives whatever becomes of the conductor."""
