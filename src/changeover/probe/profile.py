"""What the probe sends to a site, and how it reads the answers. Data only: `loading` reads it from a file."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from changeover.probe import template

ANY = "*"
"""In `cut.cookies`: whichever cookie the site sets."""


def _listed(value: object) -> object:
    return [value] if isinstance(value, int | str) else value


def _rooted(path: str) -> str:
    if path and (not path.startswith("/") or not path.isprintable() or set(" #") & set(path)):
        msg = "expected a path that begins with '/', without spaces or '#'"
        raise ValueError(msg)
    return path


Status = Annotated[int, Field(ge=100, le=599)]
Statuses = Annotated[tuple[Status, ...], BeforeValidator(_listed)]
Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Path = Annotated[str, AfterValidator(_rooted)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Reference(_Part):
    """Where a secret is: an environment variable or a file, never the secret itself."""

    env: str | None = None
    file: str | None = None

    @model_validator(mode="after")
    def _one_place(self) -> "Reference":
        if (self.env is None) == (self.file is None):
            msg = "one of 'env' and 'file' is needed"
            raise ValueError(msg)
        return self


class Capture(_Part):
    """A value taken from an answer: a header's, or a field's of its JSON, as in `token.id`."""

    header: str | None = None
    field: str | None = None

    @model_validator(mode="after")
    def _one_source(self) -> "Capture":
        if (self.header is None) == (self.field is None):
            msg = "one of 'header' and 'field' is needed"
            raise ValueError(msg)
        return self


class Request(_Part):
    """One request and the answer it should get; without `expect`, any status from 200 to 399 will do.

    Redirects are not followed: they are answers. The path is added to the probe's URL, as it is given if empty.
    """

    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    path: Path = ""
    headers: dict[str, str] = {}
    body: Any = Field(default=None, alias="json")
    form: dict[str, str] | None = None
    expect: Statuses = ()
    contains: str = ""

    @model_validator(mode="after")
    def _one_body(self) -> "Request":
        if self.body is not None and self.form is not None:
            msg = "only one of 'json' and 'form' is possible"
            raise ValueError(msg)
        return self

    def expects(self, status: int) -> bool:
        """Whether this status is an answer that the request hoped for."""
        return status in self.expect if self.expect else 200 <= status < 400  # noqa: PLR2004


class Login(Request):
    """Opens a session; what it captures can be used in the session's other requests."""

    capture: dict[str, Capture] = {}


class Cut(_Part):
    """How to see that the site has forgotten a session."""

    status: Statuses = (401, 403)
    cookies: Names = ()
    field: str | None = None


class Session(_Part):
    """What one visitor does, from the first request to the last."""

    login: Login | None = None
    use: Request
    logout: Request | None = None
    cut: Cut = Cut()


class Verify(Request):
    """Asks whether one write is there. Statuses in `absent` say it is not; any other surprise decides nothing."""

    absent: Statuses = (404, 410)


class Bulk(Request):
    """Asks for up to `size` writes at once, `{ids}`; those it does not show are then asked for one by one.

    `missing` names the field of the answer's JSON that lists the ids not found; without it, an id is there
    when the answer contains it.
    """

    size: Annotated[int, Field(gt=0)] = 200
    missing: str | None = None


class Write(_Part):
    """A write under a unique `{id}`, and how to find it again."""

    request: Request
    verify: Verify
    bulk: Bulk | None = None


class Setup(Request):
    """Sent before all else, again every `renew` seconds, and when one of `refused` is answered to a read or write."""

    capture: dict[str, Capture]
    renew: Annotated[float, Field(gt=0)] | None = None
    refused: Statuses = (401,)


class Tls(_Part):
    """Whom to trust: the system's authorities, those in the file `ca`, or (`verify: false`) anyone."""

    verify: bool = True
    ca: str | None = None


class Profile(_Part):
    """Everything the probe must know about a site besides its URL."""

    read: Request | None = None
    session: Session | None = None
    write: Write | None = None
    headers: dict[str, str] = {}
    secrets: dict[str, Reference] = {}
    setup: Setup | None = None
    tls: Tls = Tls()


ANY_SITE = Cut(status=(), cookies=(ANY,))
"""With nothing but a URL, a session is whatever cookie the site sets, and its replacement is the cut."""


def unknown_placeholders(profile: Profile) -> Iterator[tuple[tuple[str, ...], str, list[str]]]:
    """Each placeholder that nothing gives a value to: where it stands, its name, the names known there."""
    secrets = set(profile.secrets)
    common = secrets | set(profile.setup.capture if profile.setup else ())
    parts: list[tuple[tuple[str, ...], Request | None, set[str]]] = [
        (("setup",), profile.setup, secrets),
        (("read",), profile.read, common),
    ]
    if session := profile.session:
        own = common | set(session.login.capture if session.login else ())
        parts += [
            (("session", "login"), session.login, common),
            (("session", "use"), session.use, own),
            (("session", "logout"), session.logout, own),
        ]
    if write := profile.write:
        parts += [
            (("write", "request"), write.request, common | {"id"}),
            (("write", "verify"), write.verify, common | {"id"}),
            (("write", "bulk"), write.bulk, common | {"ids"}),
        ]
    yield from _unknown(("headers",), profile.headers, common)
    for where, request, known in parts:
        if request is not None:
            fields = {"path": request.path, "headers": request.headers, "json": request.body}
            fields |= {"form": request.form, "contains": request.contains}
            for key, value in fields.items():
                yield from _unknown((*where, key), value, known)


def _unknown(
    where: tuple[str, ...], value: object, known: set[str]
) -> Iterator[tuple[tuple[str, ...], str, list[str]]]:
    for name in sorted(template.names(value) - known):
        yield where, name, sorted(known)
