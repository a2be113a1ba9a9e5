"""Broken strategies, plans, actions, drivers and engines, each of which a rehearsal must find out."""
