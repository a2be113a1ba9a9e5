"""From what the operator gave, a URL and a profile, to the site as the clients see it."""

import ssl
from urllib.parse import urlsplit

from changeover.errors import SpecError
from changeover.probe.exchange import Site
from changeover.probe.profile import Profile, Tls


def site(url: str, profile: Profile, timeout: float) -> Site:
    """The site at `url`; `SpecError` if the URL is not one for the probe, or its authorities cannot be read."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SpecError(f"{url}: expected a URL such as https://www.example.org/")
    if "@" in parts.netloc:
        raise SpecError(
            "the URL contains a user name or password, which everyone on this machine can see",
            hint="use a profile: secrets: {password: {env: NAME}}",
        )
    if parts.query and profile != Profile():
        raise SpecError(f"{url}: with a profile the URL cannot have a query, because paths are added to it")
    return Site(url, timeout, _trust(profile.tls) if parts.scheme == "https" else True, profile.headers)


def _trust(tls: Tls) -> ssl.SSLContext | bool:
    if not tls.verify:
        return False
    try:
        return ssl.create_default_context(cafile=tls.ca)
    except (OSError, ssl.SSLError) as error:
        raise SpecError(f"tls.ca: {tls.ca}: no certificates can be read from it") from error
