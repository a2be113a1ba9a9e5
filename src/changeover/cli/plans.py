"""Plans in files."""

import os
import tempfile
from pathlib import Path

import msgspec

from changeover.errors import SpecError
from changeover.model.plan import FORMAT, Plan


def read_plan(path: Path) -> Plan:
    """The plan in a file; `SpecError` if there is none, or one of another format."""
    try:
        plan = Plan.from_json(path.read_bytes())
    except OSError as error:
        raise SpecError(
            f"{path}: cannot be read: {error.strerror}", hint="`changeover plan -o` saves one"
        ) from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}: not a plan: {error}", hint="`changeover plan -o` saves one") from error
    if plan.format != FORMAT:
        raise SpecError(
            f"{path}: a plan of format {plan.format}, this version of Changeover runs {FORMAT}",
            hint="make it again with `changeover plan -o`",
        )
    return plan


def save(path: Path, content: bytes) -> None:
    """Replace the file in one step, durably; `SpecError` if it cannot be written."""
    try:
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
