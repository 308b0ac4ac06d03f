"""A server that takes nothing of a source because it belongs to another client (rule E36)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from logferry.client.delivery.output import SourceRefused
from logferry.config import ShipSettings
from logferry.errors import DeliveryAbandoned
from logferry.model.batch import Batch
from logferry.model.source import Source
from logferry.model.unknown_window import UnknownWindow
from tests.support.memory_delivery import MemoryOutput, Run, answer_all
from tests.support.running import numbered_line
from tests.support.shipping import ship_settings

LINES = [numbered_line(number) for number in range(100, 120)]


def settings(**changes: Any) -> ShipSettings:
    return ship_settings(Path("app.log"), 1, **({"mode": "batch", "max_attempts": 3} | changes))


def refusing(is_refused: Callable[[str], bool]) -> Callable[[MemoryOutput], None]:
    def behave(output: MemoryOutput) -> None:
        for source_id in filter(is_refused, list(output.opened)):
            output.opened.remove(source_id)
            output.events.append(SourceRefused(source_id, "the source belongs to\nanother client"))
        answer_all(output)

    return behave


def test_a_file_whose_source_belongs_to_another_client_is_shipped_as_a_new_source(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Rule E36: on the same connection, beside others, and the log says why."""
    foreign = Source("app.log", id="foreign", committed=len(b"".join(LINES[:5])), lines=5)
    other = Source("other.log", id="other")
    run = Run(settings(), {foreign: LINES, other: LINES})
    run.output.behaviours[0] = refusing("foreign".__eq__)
    run.engine.run()
    assert run.output.stock["foreign-new"].data == run.output.stock["other"].data == b"".join(LINES)
    assert "foreign" not in run.output.stock
    assert len(run.output.attempts) == 1
    assert r"app.log: the server refuses to continue it (the source belongs to\nanother client)" in caplog.text


def test_a_server_that_refuses_every_source_is_left_alone_for_longer_and_longer() -> None:
    """Rule E36: a new source belongs to nobody, so such a server would refuse every other one, too."""
    run = Run(settings(), {Source("app.log", id="new"): LINES})
    run.output.behaviours[0] = refusing(lambda _: True)
    with pytest.raises(DeliveryAbandoned):
        run.engine.run()
    assert len(run.output.attempts) == 3
    assert not run.output.stock


def test_a_window_of_a_file_that_is_gone_is_not_reported_to_a_server_that_refuses_its_source() -> None:
    """Rule E36: nothing can be read again, and the client's own record stays."""
    one, other = Source("gone.log", id="gone", committed=10, lines=1), Source("other.log", id="other")
    run = Run(settings(), {other: LINES})
    batches = [
        Batch(one, 10, 10, epoch=one.epoch, unknown=UnknownWindow("gone", "gone.log", 10, 1.0, 2.0, "it is gone"))
    ]
    produce = run.producer.next_batch
    run.producer.next_batch = lambda: batches.pop() if batches else produce()  # type: ignore[method-assign]
    run.output.behaviours[0] = refusing("gone".__eq__)
    run.engine.run()
    assert run.producer.sent_back == []
    assert set(run.output.stock) == {"other"}
