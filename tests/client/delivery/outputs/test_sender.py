"""What goes over one connection: the same bytes, however little a socket takes at a time; a send for each piece."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from logferry.client.delivery.outputs.encoding import DeliveryEncoder, PlainEncoder, open_line
from logferry.client.delivery.outputs.line_acks import plain_protocol
from logferry.client.delivery.outputs.sender import BatchSender, SendReport
from logferry.model.batch import Batch
from logferry.model.source import Source
from tests.support.running import numbered_line
from tests.support.shipping import ship_settings

LINES = b"".join(map(numbered_line, range(5)))


class Narrow:
    """A transport that takes so many bytes, then none, then so many again; without a limit all at once."""

    def __init__(self, limit: int | None = None) -> None:
        self._limit = limit
        self._is_full = True
        self.sends: list[bytes] = []
        self.is_flushed = True

    @property
    def taken(self) -> bytes:
        """All that it has taken."""
        return b"".join(self.sends)

    def send(self, parts: Sequence[bytes], *, more: bool) -> int:
        self.is_flushed = not more
        self._is_full = not self._is_full
        if self._limit is not None and self._is_full:
            return 0
        self.sends.append(b"".join(parts)[: self._limit])
        return len(self.sends[-1])

    def flush(self) -> None:
        self.is_flushed = True


def sent(transport: Narrow, *, is_plain: bool, **changes: Any) -> Narrow:
    """Send two batches of five lines and one without any, to the end; with the extension a question goes first."""
    settings = ship_settings(Path("app.log"), 1, **changes)
    encoder = PlainEncoder(settings, plain_protocol(settings)) if is_plain else DeliveryEncoder(settings)
    sender = BatchSender(transport, encoder)  # type: ignore[arg-type]  # it is asked for nothing else
    source = Source("app.log", id="s")
    batches = [Batch(source, 0, 90, LINES, 5), Batch(source, 90, 91), Batch(source, 91, 99, b"{}\n" * 5, 5)]
    if not is_plain:
        sender.add_control(open_line(source))
    for batch in batches:
        sender.add(batch)
    report = SendReport()
    while sender.has_output:
        sender.send(report)
        assert transport.is_flushed, "the peer would wait for what it was sent"
    assert report.begun == report.finished == batches
    assert report.size == len(transport.taken)
    assert sender.unsent_bytes == 0
    return transport


WAYS = pytest.mark.parametrize("is_plain", [True, False], ids=["plain", "delivery"])


@WAYS
@pytest.mark.parametrize("limit", [1, 2, 7, 100])
@pytest.mark.parametrize("changes", [{"batch_size": 1}, {"batch_size": 2}, {"batch_size": None}, {"compress": True}])
def test_however_little_a_socket_takes_the_same_bytes_are_sent(
    is_plain: bool, limit: int, changes: dict[str, Any]
) -> None:
    whole = sent(Narrow(), is_plain=is_plain, **changes)
    assert whole.taken
    assert sent(Narrow(limit), is_plain=is_plain, **changes).taken == whole.taken


@WAYS
def test_each_line_is_a_send_of_its_own_if_so_asked(is_plain: bool) -> None:
    sends = sent(Narrow(), is_plain=is_plain, batch_size=1).sends
    lines = [each.splitlines(keepends=True)[-1] for each in sends]
    assert [line for line in lines if b'"logferry"' not in line] == [
        *LINES.splitlines(keepends=True),
        *[b"{}\n"] * 5,
    ]


@WAYS
@pytest.mark.parametrize(
    ("batch_size", "plain", "delivery"),
    [(None, [10], [1, 13]), (9, [5, 5], [1, 7, 6]), (5, [5, 5], [1, 7, 6])],
    ids=["all together", "not both", "each by itself"],
)
def test_batches_go_out_in_one_send_as_far_as_they_may(
    is_plain: bool, batch_size: int | None, plain: list[int], delivery: list[int]
) -> None:
    """The lines of each send: with the delivery extension a question first, then a header for each batch."""
    sends = sent(Narrow(), is_plain=is_plain, batch_size=batch_size).sends
    assert [each.count(b"\n") for each in sends] == (plain if is_plain else delivery)
