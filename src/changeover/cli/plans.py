"""Plans in files, each with the digest of the plan that was reviewed."""

import os
import tempfile
from pathlib import Path

import msgspec

from changeover.errors import SpecError
from changeover.model.plan import FORMAT, Plan


class Saved(msgspec.Struct, forbid_unknown_fields=True):
    """What is in the file: the plan as it was made, and the digest that names exactly it."""

    format: int
    digest: str
    plan: msgspec.Raw


def save_plan(path: Path, plan: Plan) -> None:
    """Save it so that `read_plan` gives back this plan and no other."""
    saved = Saved(FORMAT, plan.digest(), msgspec.Raw(plan.to_json()))
    save(path, msgspec.json.format(msgspec.json.encode(saved), indent=1) + b"\n")


def read_plan(path: Path) -> Plan:
    """The plan in a file; `SpecError` if there is none, one of another format, or one that was edited.

    What runs is what was reviewed, so there is no way to run an edited one: a person who wants another plan
    writes that in the site's file, where the strategy and its rules see it.
    """
    again = "make it again with `changeover plan -o`"
    try:
        saved = msgspec.json.decode(path.read_bytes(), type=Saved)
        if saved.format != FORMAT:
            raise SpecError(
                f"{path}: a plan of format {saved.format}, this version of Changeover runs {FORMAT}",
                hint=again,
            )
        plan = Plan.from_json(bytes(saved.plan))
    except OSError as error:
        raise SpecError(
            f"{path}: cannot be read: {error.strerror}", hint="`changeover plan -o` saves one"
        ) from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise SpecError(f"{path}: not a plan: {error}", hint="`changeover plan -o` saves one") from error
    if plan.digest() != saved.digest:
        raise SpecError(
            f"{path}: it was changed after it was saved: the plan in it is {plan.digest()[:12]}, "
            f"saved was {saved.digest[:12]}",
            hint="change what you want otherwise in the site's file, then " + again,
        )
    return plan


def save(path: Path, content: bytes) -> None:
    """Replace the file in one step, durably; `SpecError` if it cannot be written.

    What is no file, as a device or a pipe, is written to and never replaced; nor is a symbolic link.
    """
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(content)
            return
        path = path.resolve()
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            umask = os.umask(0)
            os.umask(umask)
            Path(name).chmod(0o666 & ~umask)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise SpecError(f"{path}: cannot be written: {error.strerror}") from error
