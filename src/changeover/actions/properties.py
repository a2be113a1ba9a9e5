"""A key of a properties file. The target is the node on whose host the file is."""

import io
import re
from typing import ClassVar

import javaproperties

from changeover.actions.base import Context, Params
from changeover.actions.hosts import HostOf
from changeover.errors import StepError
from changeover.model.plan import Operation
from changeover.model.values import Observation, absent, done

TO_VALUE = re.compile(r"[ \t\f]*(?:\\.|[^\\=: \t\f\r\n])*(?:[ \t\f]*[=:][ \t\f]*|[ \t\f]+|)", re.DOTALL)
"""What comes before the value in the text of one property: its key, and the separator with the blanks around it."""


class Setting(Params, frozen=True):
    """The file, and the key in it with its value."""

    file: str
    key: str
    value: str


def value_of(content: bytes, key: str) -> str | None:
    """The value of the key, None if it is not there. Of several the last one counts, as Java has it."""
    found = [it.value for it in _parsed(content) if isinstance(it, javaproperties.KeyValue) and it.key == key]
    return found[-1] if found else None


def with_value(content: bytes, key: str, value: str) -> bytes:
    """The file with another value of the key; every other byte is as it was. A key that is not there is added last."""
    parts = [
        (it.source, isinstance(it, javaproperties.KeyValue) and it.key == key) for it in _parsed(content)
    ]
    places = [place for place, (_, its) in enumerate(parts) if its]
    texts = [source for source, _ in parts]
    written = javaproperties.join_key_value("k", value)[len("k=") :]
    if places:
        old = texts[places[-1]]
        end = old[len(old.rstrip("\r\n")) :]
        before = TO_VALUE.match(old)
        assert before
        separator = "" if before[0] and before[0][-1] in "=: \t\f" else "="
        texts[places[-1]] = before[0] + separator + written + end
    else:
        end = "\r\n" if texts and texts[-1].endswith("\r\n") else "\n"
        if texts and not texts[-1].endswith(("\r", "\n")):
            texts[-1] += end
        texts.append(javaproperties.join_key_value(key, value) + end)
    return "".join(texts).encode("latin-1")


def _parsed(content: bytes) -> list[javaproperties.PropertiesElement]:
    # Latin-1 stands for bytes here: what is not ASCII is handed through as it is, whatever it means.
    return list(javaproperties.parse(io.StringIO(content.decode("latin-1"), newline="")))


class SetProperty:
    """Set a key of a properties file, and read it back."""

    kind: ClassVar[str] = "node.property"
    params: ClassVar[type[Params]] = Setting

    async def observe(self, operation: Operation, context: Context) -> Observation:
        """Done when the file says so."""
        it = Setting.of(operation)
        content = await HostOf(operation.target, context).read(it.file)
        if content is None:
            return absent(f"there is no {it.file}")
        value = value_of(content, it.key)
        if value is None:
            return absent(f"{it.file} has no {it.key}")
        return (done if value == it.value else absent)(f"{it.key} is {value!r} in {it.file}")

    async def perform(self, operation: Operation, context: Context) -> str:
        """Replace the file in one step, with its mode and owner, unless it says so already."""
        it, host = Setting.of(operation), HostOf(operation.target, context)
        content = await host.read(it.file)
        if content is None:
            raise StepError(
                f"there is no {it.file} on {host.name}", hint="correct the file under `upgrade.properties`"
            )
        if value_of(content, it.key) == it.value:
            return "as it is to be"
        await host.write(it.file, with_value(content, it.key, it.value))
        return f"{it.key} set in {it.file}"
