"""Shipped bindings, one YAML file per product."""
