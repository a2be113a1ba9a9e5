"""What a person does by hand: the words of a runbook."""

from changeover.model.values import Value


class Instruction(Value, frozen=True):
    """One thing to do or to look at. `where` it is done, `text` is what is typed or said, `expect` what must come of it.

    Secrets are never in it: only where they are found.
    """

    where: str
    text: str
    expect: str = ""
