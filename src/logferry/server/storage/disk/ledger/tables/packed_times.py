"""How the table `times` packs its entries: when the lines of a segment were received, and when their events happened.

Layout: the data of a row is a time of receipt, that of the lines behind `first`, and entries. An entry has

    position    where its lines end; the difference from the entry before it, or from `first`
    received    when the last of its lines were stored; the difference from the entry before it, or from the first time
    kinds       one byte: the flags of model/event_times.py, of all lines since the entry before it
    smallest    of the event times, if `kinds` has times of one kind: the difference from the smallest one before it in
                the row, or from the first time of receipt
    largest     its difference from the smallest

Numbers are unsigned LEB128; differences of times, which may be negative, are zigzag numbers. Times are milliseconds of
Unix time. Each row is read by itself. Positions rise; times may not, because clocks are set back. Owns nothing else.
"""

from typing import Final, NamedTuple

from logferry.model.event_times import NO_TIMES, NONE, TIMED, UNREAD, EventTimes

# Far more than a store makes: the time that reading a forged row takes is bounded.
_MAX_ROW_BYTES: Final = 4096

_LAST_BYTE: Final = 0x7F
_ALL_KINDS: Final = NONE | TIMED | UNREAD


class TimeEntry(NamedTuple):
    """The lines from the entry before it up to `position`: received up to `received`, with these event times."""

    position: int
    received: int
    times: EventTimes


def has_one_kind(kinds: int) -> bool:
    """Whether lines with these kinds of times have times that can be compared with each other."""
    timed = kinds & TIMED
    return not kinds & UNREAD and timed != 0 and timed & (timed - 1) == 0


def packed_start(received: int) -> bytes:
    """Return the beginning of a row: when the lines behind `first` were received."""
    return _number(_zigzag(received))


def packed(entry: TimeEntry, *, position: int, received: int, smallest: int) -> bytes:
    """Return an entry behind one with this position and time of receipt; `smallest` is as above."""
    kinds, low, high = entry.times
    data = _number(entry.position - position) + _number(_zigzag(entry.received - received)) + bytes([kinds])
    return data + _number(_zigzag(low - smallest)) + _number(high - low) if has_one_kind(kinds) else data


def unpacked(first: int, data: bytes) -> list[TimeEntry]:
    """Return the beginning of a row as an entry without lines, and its entries. Raises ValueError if it is damaged."""
    numbers = iter(_numbers(data))
    received = smallest = _unzigzag(next(numbers, 0))
    position = first
    entries = [TimeEntry(position, received, NO_TIMES)]
    try:
        for size in numbers:
            position += size
            received += _unzigzag(next(numbers))
            kinds = next(numbers)
            if kinds > _ALL_KINDS:
                raise ValueError("unknown kinds of times")
            if has_one_kind(kinds):
                smallest += _unzigzag(next(numbers))
                entries.append(TimeEntry(position, received, (kinds, smallest, smallest + next(numbers))))
            else:
                entries.append(TimeEntry(position, received, (kinds, *NO_TIMES[1:])))
    except StopIteration:
        raise ValueError("an entry does not end") from None
    return entries


def _numbers(data: bytes) -> list[int]:
    """Return all numbers of a row: the flags of kinds are one, too."""
    if not data or data[-1] > _LAST_BYTE or len(data) > _MAX_ROW_BYTES:
        raise ValueError("a number does not end")
    numbers = []
    number = shift = 0
    for byte in data:
        if byte > _LAST_BYTE:
            number |= (byte & _LAST_BYTE) << shift
            shift += 7
        else:
            numbers.append(number | byte << shift)
            number = shift = 0
    return numbers


def _number(value: int) -> bytes:
    data = bytearray()
    while value > _LAST_BYTE:
        data.append(value & _LAST_BYTE | 0x80)
        value >>= 7
    data.append(value)
    return bytes(data)


def _zigzag(value: int) -> int:
    return value * 2 if value >= 0 else -value * 2 - 1


def _unzigzag(value: int) -> int:
    return value // 2 if value % 2 == 0 else -(value // 2) - 1
