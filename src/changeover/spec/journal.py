"""Where the journal is kept: a file, or a database by its URL."""

from urllib.parse import parse_qsl, urlsplit

from changeover.spec.located import Text
from changeover.spec.paths import Paths
from changeover.spec.problems import Problems, nearest

SCHEMES = ("postgresql", "postgresql+psycopg", "sqlite")


def journal_url(text: Text, paths: Paths, problems: Problems) -> str:
    """The URL as it is, or the absolute path. A password in the URL is a problem: the journal's place is shown."""
    if "://" not in text:
        return str(paths.absolute(text))
    try:
        parts = urlsplit(text)
        secret = bool(parts.password) or "password" in dict(parse_qsl(parts.query))
    except ValueError:
        problems.add(text.place, "expected a path, or a URL such as postgresql://user@host/name")
        return ""
    if secret:
        problems.add(text.place, "a URL must not hold a password; PGPASSWORD or ~/.pgpass can")
    if parts.scheme not in SCHEMES:
        problems.add(text.place, "no such database", expected=SCHEMES, nearest=nearest(parts.scheme, SCHEMES))
    return str(text)
