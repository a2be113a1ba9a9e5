"""What the lab raises on purpose; it imports nothing else of the project, so the type is its own."""


class LabError(Exception):
    """The lab cannot do what was asked; `hint` says what to do next."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
