"""Durations, sizes and percentages as operators write them."""

import re

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"": 1, "B": 1} | {
    f"{letter}{suffix}": base**power
    for power, letter in enumerate("KMGT", start=1)
    for suffix, base in (("iB", 1024), ("B", 1000), ("", 1024))
}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhd]))+", re.ASCII)
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhd])", re.ASCII)
_NUMBER = re.compile(r"\d{1,12}(?:\.\d{1,9})?", re.ASCII)
_SIZE = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)\s*([A-Za-z]*)", re.ASCII)

LONGEST = 366 * 86400.0


def duration(text: str) -> float:
    """Seconds of `10m`, `1h30m`, `250ms` or plain seconds; `ValueError` for anything else, or over a year."""
    text = text.strip()
    if _NUMBER.fullmatch(text):
        seconds = float(text)
    elif len(text) <= 40 and _DURATION.fullmatch(text):  # noqa: PLR2004  # longer is no duration
        seconds = sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
    else:
        raise ValueError("expected a duration such as 10m, 1h30m, 250ms or 45 (seconds)")
    if seconds > LONGEST:
        raise ValueError("expected a duration of at most 366 days")
    return seconds


def size(text: str) -> int:
    """Bytes of `1GiB`, `500MB`, `64K` (of 1024) or plain bytes; `ValueError` for anything else."""
    found = _SIZE.fullmatch(text.strip())
    unit = found[2].replace("k", "K") if found else ""
    if not found or unit not in _BYTES:
        raise ValueError("expected a size such as 1GiB, 500MB or 1048576 (bytes)")
    count = float(found[1]) * _BYTES[unit]
    if count >= 2**62:
        raise ValueError("expected a size that a disk can have")
    return int(count)
