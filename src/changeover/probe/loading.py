"""A profile from a YAML or JSON file, with errors that name the file, the line and the key."""

import difflib
from importlib import resources
from pathlib import Path

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from changeover.errors import SpecError
from changeover.probe import profile as parts
from changeover.probe.profile import Profile, unknown_placeholders

Location = tuple[int | str, ...]


def load(name: str) -> Profile:
    """The profile in the file `name`, or the shipped one of that name; `SpecError` lists all that is wrong.

    Paths of secrets and authorities are relative to the file.
    """
    path = Path(name)
    if path.is_file():
        return _parse(path.read_text(errors="replace"), str(path), path.resolve().parent)
    if name in (known := shipped()):
        source = resources.files(__package__) / "profiles" / f"{name}.yaml"
        return _parse(source.read_text(), f"{name}.yaml", Path.cwd())
    near = difflib.get_close_matches(name, known, n=1)
    raise SpecError(
        f"{name}: no such profile" + (f"; did you mean '{near[0]}'?" if near else ""),
        hint=f"give a file, or one of the shipped profiles: {', '.join(known)}",
    )


def shipped() -> list[str]:
    """The names of the profiles that come with the probe."""
    folder = resources.files(__package__) / "profiles"
    return sorted(
        entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml")
    )


def _parse(text: str, name: str, folder: Path) -> Profile:
    try:
        data = YAML().load(text)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise SpecError(f"{name}:{line}: not valid YAML: {error.problem or error.context}") from error
    except (YAMLError, ValueError) as error:
        raise SpecError(f"{name}:1: not valid YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(data, CommentedMap):
        raise SpecError(f"{name}:1: expected keys such as 'read', 'session' and 'write'")
    try:
        profile = Profile.model_validate(_plain(data))
    except ValidationError as error:
        raise _refused(name, [(_line(data, e["loc"]), e["loc"], _said(e)) for e in error.errors()]) from error
    if unknown := list(unknown_placeholders(profile)):
        raise _refused(
            name, [(_line(data, where), where, _nobody(key, known)) for where, key, known in unknown]
        )
    return _anchored(profile, folder)


def _refused(name: str, problems: list[tuple[int, Location, str]]) -> SpecError:
    return SpecError(
        "\n".join(f"{name}:{line}: {'.'.join(map(str, where))}: {said}" for line, where, said in problems)
    )


def _plain(value: object) -> object:
    match value:
        case CommentedMap():
            return {key: _plain(inner) for key, inner in value.items()}
        case CommentedSeq():
            return [_plain(inner) for inner in value]
        case bool() | None:
            return value
        case str() | int() | float():
            # ruamel's scalars are subclasses that remember their spelling; JSON wants the value alone.
            return next(kind for kind in (str, int, float) if isinstance(value, kind))(value)
        case _:
            return str(value)


def _line(data: object, where: Location) -> int:
    line = 0
    for key in where:
        match data:
            case CommentedMap() if key in data:
                line = data.lc.key(key)[0]
                data = data[key]
            case CommentedSeq() if isinstance(key, int) and key < len(data):
                line = data.lc.item(key)[0]
                data = data[key]
            case _:
                break
    return line + 1


def _said(error: ErrorDetails) -> str:
    if error["type"] != "extra_forbidden":
        return error["msg"].removeprefix("Value error, ")
    near = difflib.get_close_matches(str(error["loc"][-1]), _vocabulary(), n=1)
    return "unknown key" + (f"; did you mean '{near[0]}'?" if near else "")


def _vocabulary() -> set[str]:
    models = [part for part in vars(parts).values() if isinstance(part, type) and issubclass(part, BaseModel)]
    return {field.alias or name for model in models for name, field in model.model_fields.items()}


def _nobody(key: str, known: list[str]) -> str:
    return f"nothing gives {{{key}}} a value; known here: {', '.join(known) or 'none'}"


def _anchored(profile: Profile, folder: Path) -> Profile:
    secrets = {
        name: reference.model_copy(update={"file": str(folder / Path(reference.file).expanduser())})
        if reference.file
        else reference
        for name, reference in profile.secrets.items()
    }
    tls = profile.tls
    if tls.ca:
        tls = tls.model_copy(update={"ca": str(folder / Path(tls.ca).expanduser())})
    return profile.model_copy(update={"secrets": secrets, "tls": tls})
