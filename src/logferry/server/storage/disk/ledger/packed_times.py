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

from collections.abc import Iterator
from typing import Final, NamedTuple

from logferry.model.event_times import NO_TIMES, NONE, TIMED, UNREAD, EventTimes

# Numbers of 64 bits, and their differences.
_MAX_NUMBER_BYTES: Final = 10
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


def unpacked(first: int, data: bytes) -> Iterator[TimeEntry]:
    """Yield the beginning of a row as an entry without lines, and its entries. Raises ValueError if it is damaged."""
    numbers = _Numbers(data)
    received = smallest = _unzigzag(numbers.next())
    position = first
    yield TimeEntry(position, received, NO_TIMES)
    while numbers.has_more:
        position += numbers.next()
        received += _unzigzag(numbers.next())
        kinds = numbers.next()
        if kinds > _ALL_KINDS:
            raise ValueError("unknown kinds of times")
        _, low, high = NO_TIMES
        if has_one_kind(kinds):
            low = smallest = smallest + _unzigzag(numbers.next())
            high = low + numbers.next()
        yield TimeEntry(position, received, (kinds, low, high))


class _Numbers:
    """Reads one number after the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def has_more(self) -> bool:
        return self._at < len(self._data)

    def next(self) -> int:
        number = 0
        for place, byte in enumerate(self._data[self._at : self._at + _MAX_NUMBER_BYTES]):
            number |= (byte & 0x7F) << (7 * place)
            if byte < 0x80:
                self._at += place + 1
                return number
        raise ValueError("a number does not end")


def _number(value: int) -> bytes:
    data = bytearray()
    while value > 0x7F:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    data.append(value)
    return bytes(data)


def _zigzag(value: int) -> int:
    return value * 2 if value >= 0 else -value * 2 - 1


def _unzigzag(value: int) -> int:
    return value // 2 if value % 2 == 0 else -(value // 2) - 1
