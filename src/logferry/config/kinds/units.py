"""Durations and sizes, as people write them: `500ms`, `1.5m`, `64K`.

A bare number means seconds or bytes. This module owns the units, the kinds that accept them, and the form in which
messages show limits.
"""

import re
from typing import Final

from logferry.config.kinds.kinds import Kind

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB
TIB: Final = 1024 * GIB

_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_BYTES: Final = {"K": KIB, "M": MIB, "G": GIB, "T": TIB}

_duration: Final = re.compile(r"([0-9]{0,9}\.?[0-9]{0,9})(ms|[smhd]?)").fullmatch
_size: Final = re.compile(r"([0-9]{1,18})([KMGTkmgt]?)").fullmatch
_days: Final = re.compile(r"([0-9]{1,18})d?").fullmatch


def duration(minimum: float, maximum: float = 1e6) -> Kind:
    """Accept a duration, in seconds or with a unit, with or without a fraction."""

    def parse(text: str) -> float:
        match = _duration(text)
        if match is None or not match[1].strip("."):
            raise ValueError
        number = float(match[1])
        seconds = number / 1000 if match[2] == "ms" else number * _SECONDS.get(match[2], 1)
        if not minimum <= seconds <= maximum:
            raise ValueError
        return seconds

    limits = f"from {_shown_duration(minimum)} to {_shown_duration(maximum)}"
    return Kind(parse, f"a duration {limits} (500ms, 10s, 1.5m, 2h, 7d; a bare number is seconds)", (int, float))


def size(minimum: int, maximum: int) -> Kind:
    """Accept a number of bytes, or a number with a unit (a power of 1024)."""

    def parse(text: str) -> int:
        match = _size(text)
        value = int(match[1]) * _BYTES.get(match[2].upper(), 1) if match else -1
        if not minimum <= value <= maximum:
            raise ValueError
        return value

    limits = f"from {_shown_size(minimum)} to {_shown_size(maximum)}"
    return Kind(parse, f"a size {limits} (64K, 1M, 2G; a bare number is bytes)", (int,))


def days(maximum: int) -> Kind:
    """Accept a whole number of days."""

    def parse(text: str) -> int:
        match = _days(text)
        if match is None or int(match[1]) > maximum:
            raise ValueError
        return int(match[1])

    return Kind(parse, f"a whole number of days from 0 to {maximum} (7 or 7d)", (int,))


def _shown_duration(seconds: float) -> str:
    if 0 < seconds < 1:
        return f"{seconds * 1000:g}ms"
    unit = next((unit for unit in "dhm" if seconds and seconds % _SECONDS[unit] == 0), "s")
    return f"{seconds / _SECONDS[unit]:.0f}{unit}"


def _shown_size(value: int) -> str:
    unit = next((unit for unit in "TGMK" if value and value % _BYTES[unit] == 0), "")
    return f"{value // _BYTES.get(unit, 1)}{unit}"
