"""What a person types, and what must come of it, as parts of a document."""

from collections.abc import Iterable, Iterator

from changeover.model.instructions import Instruction
from changeover.report.document import Code, Text, Tone


def typed(instructions: Iterable[Instruction]) -> Iterator[Text | Code]:
    """Each as it stands, with where it is typed and, where that is known, what to expect."""
    for instruction in instructions:
        yield Code(instruction.text, instruction.where)
        if instruction.expect:
            yield Text(f"Expect: {instruction.expect}.", Tone.QUIET)
