"""Numbers with what they count."""


def count(number: int, one: str, many: str = "") -> str:
    """`1 step`, `3 steps`."""
    return f"{number} {one if number == 1 else many or one + 's'}"
