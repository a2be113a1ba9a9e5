"""Gunicorn serves the application the same way in both releases: 29.1.0 has no keystone-wsgi-public any more."""

import gc

wsgi_app = "keystone.server.wsgi:initialize_public_application()"
bind = "0.0.0.0:5000"
# Processes, not threads: the first requests of a process load the access policy, and one that comes while another
# thread is at it is judged by half of it and answered with 403.
workers = 2
timeout = 120
# Loaded once and shared by the workers; a release that cannot be loaded ends the service instead of its workers.
preload_app = True
# On SIGTERM nothing new is accepted, and what is being answered has this long.
graceful_timeout = 30


# Keystone reads the service providers for each token it issues through a query that it evaluates after it has closed
# the session (federation/backends/sql.py, get_enabled_service_providers, in both releases). The transaction which
# that begins is ended by the garbage collector, sometime: until then no ALTER TABLE of that table can run.


def post_fork(_server: object, _worker: object) -> None:
    """Leave what was loaded before the fork out of every collection, so that one takes little."""
    gc.freeze()


def post_request(_worker: object, _request: object, _environ: object, _response: object) -> None:
    """End the transaction that the request may have left open."""
    gc.collect()
