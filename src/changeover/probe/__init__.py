"""Constant-rate clients and their ledger: what an upgrade costs, measured from outside.

The probe runs as a process of its own, so that it goes on counting when the conductor dies. It imports
nothing that it measures. `changeover.probe.ledger.read` is the way in for whoever wants the figures.
"""
