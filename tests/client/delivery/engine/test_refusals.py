"""What the log says of refused lines: safe, short, and not a line for each."""

from typing import cast

import pytest

from logferry.client.delivery.accounts.window import Window
from logferry.client.delivery.batches.batches import BatchProducer
from logferry.client.delivery.engine.refusals import Refusals
from logferry.client.state.known_losses import KnownLosses
from logferry.model.batch import Batch
from logferry.model.source import Source
from logferry.protocol.messages.reports import RecordedLoss
from logferry.telemetry.metrics import Metrics


def test_refused_lines_are_all_counted_and_the_first_ten_of_a_reason_are_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    metrics = Metrics()
    refusals = Refusals(cast("BatchProducer", None), Window(max_bytes=1), metrics)
    batch = Batch(Source("/var/log/app\n.log"), 0, 10, b"x\n", 1)
    for _ in range(1000):
        refusals.line(batch, b"\x1b[2J" * 1000, "no\nspace" * 1000)
    refusals.line(batch, b"x", "another reason")
    assert metrics.total().counters.lines_rejected == 1001
    assert len(caplog.messages) == 11
    assert all(message.isprintable() and len(message) < 600 for message in caplog.messages)
    assert "/var/log/app\\n.log, bytes 0 to 10" in caplog.messages[0]


@pytest.mark.parametrize(("start", "count"), [(0, 2), (20, 2), (40, 3)])
def test_a_line_that_an_earlier_run_passed_is_not_counted_as_a_second_loss(start: int, count: int) -> None:
    """The earlier run knew two of them, and was cut off before it knew the third."""
    known, source = KnownLosses(None), Source("app.log", id="one")
    refusals = Refusals(cast("BatchProducer", None), Window(max_bytes=1), Metrics(), known)
    for offset in (0, 20):
        refusals.line(Batch(source, offset, offset + 10, b"x\n", 1), b"x\n", "no")
    for _ in range(2):
        refusals.passed(source, RecordedLoss(start, start + 10, "refused by the server: no"))
    assert [each.count for each in known] == [count]
    refusals.passed(source, RecordedLoss(start, start + 10, "refused by the server: another reason"))
    refusals.passed(Source("app.log", id="two"), RecordedLoss(start, start + 10, "refused by the server: no"))
    assert sorted(each.count for each in known) == [1, count + 1]
