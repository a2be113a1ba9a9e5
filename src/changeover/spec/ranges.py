"""Names in ranges: `app[1-4]`, zero-padded `app[01-12]`, Ansible's `app[1:9:2]` and `db-[a:f]`."""

import re

MOST = 10_000
"""So many names at most from one range: more is a typing mistake."""

_RANGE = re.compile(
    r"\[(\d{1,9})[-:](\d{1,9})(?::(\d{1,9}))?\]|\[([a-zA-Z])[-:]([a-zA-Z])(?::(\d{1,9}))?\]", re.ASCII
)


def has_range(text: str) -> bool:
    """Whether there is anything to expand."""
    return _RANGE.search(text) is not None


def expand(text: str) -> list[str]:
    """Every name that `text` stands for, in order; itself if there is no range in it.

    `ValueError` says what is wrong with a range that is none: backwards, of uneven width, or too long.
    """
    names = [text]
    while found := _RANGE.search(names[-1]):
        values = _values(found)
        if len(names) * len(values) > MOST:
            raise ValueError(f"{text} stands for more than {MOST} names")
        names = [_RANGE.sub(lambda _, v=value: v, name, count=1) for name in names for value in values]  # type: ignore[misc]
    if "[" in names[-1] or "]" in names[-1]:
        raise ValueError("expected a range such as [1-4] or [01-12] within the brackets")
    return names


def _values(found: re.Match[str]) -> list[str]:
    if found[4]:
        first, last, step = ord(found[4]), ord(found[5]), int(found[6] or 1)
    else:
        first, last, step = int(found[1]), int(found[2]), int(found[3] or 1)
    if first > last:
        raise ValueError(f"the range {found[0]} runs backwards")
    if step < 1 or (last - first) // step >= MOST:
        raise ValueError(f"the range {found[0]} stands for more than {MOST} names, or has no step")
    numbers = range(first, last + 1, step)
    if found[4]:
        return [chr(number) for number in numbers]
    padded = found[1].startswith("0") and len(found[1]) > 1
    if padded and len(found[1]) != len(found[2]):
        raise ValueError(f"the ends of the range {found[0]} are padded to different widths")
    return [str(number).zfill(len(found[1]) if padded else 1) for number in numbers]
