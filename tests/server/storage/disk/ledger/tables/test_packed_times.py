"""The packed entries of the time index: what is packed is read again, and damage is noticed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logferry.model.event_times import LOCAL, NO_TIMES, NONE, UNREAD, YEARLESS, ZONED
from logferry.server.storage.disk.ledger.tables.packed_times import TimeEntry, packed, packed_start, unpacked

_NUMBERS = st.integers(-(2**62), 2**62)
_TIMES = st.one_of(
    st.tuples(st.sampled_from([ZONED, LOCAL, YEARLESS, LOCAL | NONE]), _NUMBERS, st.integers(0, 2**62)).map(
        lambda times: (times[0], times[1], times[1] + times[2])
    ),
    st.sampled_from([NONE, UNREAD, ZONED | LOCAL, UNREAD | ZONED]).map(lambda kinds: (kinds, *NO_TIMES[1:])),
)


@given(st.integers(0, 2**62), _NUMBERS, st.lists(st.tuples(st.integers(1, 2**40), _NUMBERS, _TIMES), max_size=6))
def test_what_is_packed_is_read_again(
    first: int, received: int, parts: list[tuple[int, int, tuple[int, int, int]]]
) -> None:
    expected = [TimeEntry(first, received, NO_TIMES)]
    data, smallest = packed_start(received), received
    for size, now, times in parts:
        entry = TimeEntry(expected[-1].position + size, now, times)
        data += packed(entry, position=expected[-1].position, received=expected[-1].received, smallest=smallest)
        smallest = times[1] if times[1] != NO_TIMES[1] else smallest
        expected.append(entry)
    assert unpacked(first, data) == expected


@given(st.binary(max_size=40))
def test_damaged_entries_are_noticed_or_read_as_others(data: bytes) -> None:
    try:
        entries = unpacked(0, data)
    except ValueError:
        return
    assert len(entries) <= len(data)


@pytest.mark.parametrize("data", [b"", b"\x80", b"\xff" * 12, packed_start(0) + b"\x01", packed_start(0) + b"\1\1\x7f"])
def test_what_no_store_has_packed_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"number|kinds|entry"):
        unpacked(0, data)
