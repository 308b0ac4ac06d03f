"""A store of many small logs: the time index says which of them must be opened, for all of them in one query."""

import os
import random
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from logferry import speedups
from logferry.model.event_times import UNREAD_TIMES
from logferry.reading.disk.ledger import LedgerDoor
from logferry.reading.query.selection import Selection
from logferry.reading.stored import Span
from logferry.server.storage.deliveries import Delivery
from logferry.server.storage.disk.disk_store import DiskStore
from logferry.server.storage.log_names import LogName
from tests.support.looking import clock, found, line, looking
from tests.support.running import wait_until
from tests.support.stores import Stored, opened

knows_times = pytest.mark.skipif(speedups.compiled is None, reason="only the compiled part knows the times of lines")

DAY = 1_705_276_800_000
LOGS = 60
LINES = 40


def store_logs(store: DiskStore, logs: dict[str, Sequence[bytes]]) -> None:
    """Store lines of many hosts, all at the same time."""
    stored = Stored()
    for host, lines in logs.items():
        data = b"".join(lines)
        times = speedups.compiled.record_run(data, 0, len(data))[2] if speedups.compiled else UNREAD_TIMES
        store.submit(Delivery(LogName(host, "/app.log"), [data], len(lines), len(data), times=times), stored)
    wait_until(lambda: len(stored.deliveries) == len(logs), "the lines are stored")


def many_logs() -> dict[str, Sequence[bytes]]:
    """Return logs that end a minute apart, in any order, with enough lines to have an index."""
    ends = random.Random(5).sample(range(LOGS), LOGS)
    return {
        f"h{number:02d}": [line(f"{end}-{each}", clock(end * 60 + each)) for each in range(LINES)]
        for number, end in enumerate(ends)
    }


@knows_times
def test_the_last_lines_of_a_store_are_found_without_opening_every_log(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store_logs(store, many_logs())
    with looking(tmp_path) as logs:
        assert found(logs, limit=LINES + 2) == ["58-38", "58-39", *(f"59-{each}" for each in range(LINES))]
        assert logs.looked.bytes < sum(size.bytes for _, size in logs.sizes()) / 15


@knows_times
def test_a_search_in_a_short_span_asks_the_ledger_a_few_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path) as store:
        store_logs(store, many_logs())
    asked: list[LedgerDoor] = []
    opened_door = LedgerDoor.opened
    with looking(tmp_path) as logs, monkeypatch.context() as patch:
        patch.setattr(LedgerDoor, "opened", lambda door, **kept: asked.append(door) or opened_door(door, **kept))  # type: ignore[func-returns-value]
        span = Span(DAY + 30 * 60_000, DAY + 30 * 60_000 + 3000)
        assert found(logs, Selection(span=span)) == ["30-0", "30-1", "30-2"]
        assert found(logs, Selection(span=span), reverse=True) == ["30-2", "30-1", "30-0"]
        assert logs.looked.bytes < 10_000
    assert len(asked) < LOGS


@pytest.mark.parametrize("is_closed", [False, True])
def test_what_the_index_says_changes_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_closed: bool
) -> None:
    """Lines without a time, logs that got more lines since the index was written, several segments, no index."""
    chance = random.Random(3)
    with opened(tmp_path, segment_bytes=1500) as store:
        for part in range(3):
            store_logs(
                store,
                {
                    f"h{number:02d}": [
                        line(
                            f"{number}-{part}-{each}",
                            "" if number % 5 == each else clock(part * 1000 + number + each),
                        )
                        for each in range(20)
                    ]
                    for number in chance.sample(range(40), 30)
                },
            )
        for file in (tmp_path / "segments").rglob("*.ndjson"):
            os.utime(file, (DAY / 1000 + 50_000,) * 2)
        if is_closed:
            store.close(10)
        limits = ((None, None), (1_020_000, None), (None, 1_015_000), (2_010_000, 2_020_000))
        spans = [Span(*(None if each is None else DAY + each for each in both)) for both in limits]
        with looking(tmp_path) as logs:
            by_index = [
                found(logs, Selection(span=span), limit=limit, reverse=reverse)
                for span in spans
                for limit in (7, None)
                for reverse in (False, True)
            ]
            monkeypatch.setattr("logferry.reading.disk.log_ends.LogEnds.of", lambda *_: None)
            assert by_index == [
                found(logs, Selection(span=span), limit=limit, reverse=reverse)
                for span in spans
                for limit in (7, None)
                for reverse in (False, True)
            ]


def test_a_damaged_end_of_the_index_is_as_if_there_was_none(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store_logs(store, many_logs())
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite3")) as ledger, ledger:
        ledger.execute("UPDATE times SET data = 'text' WHERE segment % 2")
        ledger.execute("UPDATE times SET data = x'ff' WHERE segment % 3 = 0")
    with looking(tmp_path) as logs:
        assert found(logs, limit=LINES + 2) == ["58-38", "58-39", *(f"59-{each}" for each in range(LINES))]
        assert len(found(logs)) == LOGS * LINES
