"""Journals are written anew and completed with bounded memory, and say the same afterwards."""

import random
import tracemalloc
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from logferry.server.storage.disk.journals import compaction, journal_reading, own_journals
from logferry.server.storage.disk.journals.compaction import compacted
from logferry.server.storage.disk.journals.journal import (
    NOTHING,
    Origin,
    State,
    begin_entry,
    extent_entry,
    journal_path,
    loss_entry,
    source_entry,
    state_entry,
    total_entry,
    window_entry,
)
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.disk.recovery.rebuild import rebuild
from logferry.server.storage.loss_limits import REASON, WINDOW_REASON
from logferry.server.storage.records import ExtentRow, LossRow, WindowRow
from tests.server.storage.disk.integrity.test_repair import ship
from tests.server.storage.disk.journals.test_journals import give_own_journals
from tests.support.journals import journal_of, read_journal
from tests.support.stores import opened, parts_of, problems, segments_of


def groups(choose: random.Random, count: int) -> Iterator[bytes]:
    """Yield the lines of a journal to which groups of a few sources were added, some of them more than once."""
    yield begin_entry("store", "web-1/app.log/2024-01-15-1.ndjson") + NOTHING
    for number in range(count):
        source = f"s{choose.randrange(3)}"
        start = choose.randrange(5) * 10
        extent = ExtentRow(start, start + choose.randrange(1, 11), 1, number, 0, number, 1)
        is_lost = choose.random() < 0.5
        one, many = LossRow(source, start, start + 5, "gone", is_lost), LossRow(source, 0, number, REASON, is_lost)
        entries = [
            source_entry(source, Origin("client", "web-1", "/var/log/app.log")),
            extent_entry(source, extent),
            state_entry(source, State(number, number, number)),
            loss_entry(choose.choice((one, many))),
            window_entry(WindowRow(source, start, 1, 2, "unseen")),
            b"damaged\n",
            begin_entry("store", "web-1/app.log/2024-01-15-1.ndjson"),
            total_entry(number, number, number),
        ]
        yield b"".join(entries[: choose.choice((3, 8, 8, 8))])


def lines_of(pieces: Iterable[bytes]) -> list[bytes]:
    return b"".join(pieces).splitlines(keepends=True)


@pytest.mark.parametrize("held", [1, 700, 1 << 20])
@pytest.mark.parametrize("seed", range(10))
def test_a_journal_means_the_same_once_it_is_compacted(monkeypatch: pytest.MonkeyPatch, seed: int, held: int) -> None:
    monkeypatch.setattr(compaction, "_HELD_BYTES", held)
    lines = lines_of(groups(random.Random(seed), 60))
    before, after = journal_of(lines), journal_of(compacted(lines))
    assert before
    assert after
    before.damaged_lines = 0
    before.states = {source: states[-1:] for source, states in before.states.items()}
    after.states = {source: states[-1:] for source, states in after.states.items()}
    joined = sorted((loss for loss in before.losses if loss.reason == REASON), key=lambda loss: loss.end)
    last_joined = {(loss.source, loss.is_lost): loss for loss in joined}  # each covers those before
    assert {loss for loss in before.losses if loss.reason != REASON} | set(last_joined.values()) <= set(after.losses)
    assert set(after.losses) <= set(before.losses)
    before.losses = after.losses = {}
    assert before == after


def test_rows_that_stand_for_several_losses_replace_only_what_they_cover() -> None:
    """Each is about the losses of its own group, and a client may send the same reason."""
    losses = [LossRow("s1", start, end, REASON) for start, end in ((0, 10), (50, 60), (40, 70), (80, 90))]
    windows = [WindowRow("s1", start, look, 9, WINDOW_REASON) for start, look in ((20, 5), (30, 4), (10, 5), (10, 4))]
    entries = [loss_entry(loss) for loss in losses] + [window_entry(window) for window in windows]
    lines = [begin_entry("store", "a/b/c"), *(line for entry in entries for line in (entry, NOTHING))]
    left = journal_of(compacted(lines))
    assert left
    assert set(left.losses) == {losses[0], losses[2], losses[3]}
    assert set(left.windows) == {windows[0], windows[1], windows[3]}


def test_a_journal_of_a_later_version_is_not_written_anew() -> None:
    later = begin_entry("store", "a/b/c").replace(b'["j",1', b'["j",2')
    with pytest.raises(OSError, match="later version"):
        list(compacted([rechecked(later)]))


def rechecked(line: bytes) -> bytes:
    return b"%08x %s\n" % (zlib.crc32(line[9:-1]), line[9:-1])


def peak_of(work: Callable[[], object]) -> int:
    """Return how many bytes were held at most, beyond what was held before."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_large_journal_is_written_anew_with_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "_HELD_BYTES", 16 * 1024)
    with opened(tmp_path) as store:
        ship(store, 10, 12)
        give_own_journals(store)
        segment = segments_of(tmp_path)[0]
        journal = journal_path(segment)
        total = journal.read_bytes().splitlines(keepends=True)[-1]
        losses = (loss_entry(LossRow("s1", n, n + 1, f"gone {n} " + 300 * "x", is_lost=True)) for n in range(3000))
        with journal.open("ab") as file:
            file.writelines(line + total for line in losses)
        size = journal.stat().st_size
        own = parts_of(store).journals._own
        assert isinstance(own, own_journals.OwnJournals)
        own.must_be_written_anew(1, str(segment.relative_to(tmp_path / "segments")))
        assert peak_of(parts_of(store).journals._compact_some) < 300_000 < size / 3
        assert size / 2 < journal.stat().st_size < size
    found = read_journal(segment)
    assert found
    assert len(found.losses) == 3000


def test_a_large_journal_is_completed_with_little_memory(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        for number in range(20):
            ship(store, 10, 12, source=f"s{number}")
        give_own_journals(store)
    segment = segments_of(tmp_path)[0]
    with closing(Ledger(tmp_path, durable=False)) as ledger, ledger.transaction():
        for number in range(6000):
            reason = f"gone {number} " + 300 * "x"
            ledger.add_loss(LossRow(f"s{number % 20}", number, number + 1, reason, is_lost=True))
    journal_path(segment).write_bytes(b"")

    def start() -> None:
        with opened(tmp_path):
            pass

    start()  # imports and caches
    journal_path(segment).write_bytes(b"")
    assert peak_of(start) < 700_000
    assert journal_path(segment).stat().st_size > 1_900_000
    found = read_journal(segment)
    assert found
    assert len(found.losses) == 6000


@pytest.mark.parametrize("work", ["start", "rebuild"])
def test_a_large_journal_is_entered_with_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, work: str
) -> None:
    monkeypatch.setattr(journal_reading, "_PIECE_ENTRIES", 100)
    with opened(tmp_path) as store:
        ship(store, 10, 12)
    kept = (tmp_path / "ledger.sqlite3").read_bytes()
    with opened(tmp_path) as store:
        ship(store, 12, 14)
        give_own_journals(store)
    journal = journal_path(segments_of(tmp_path)[0])
    total = journal.read_bytes().splitlines(keepends=True)[-1]
    with journal.open("ab") as file:
        file.writelines(state_entry("s1", State(1 << 50, 1 << 50, 0)) for _ in range(30_000))
        file.write(total)
    size = journal.stat().st_size
    (tmp_path / "ledger.sqlite3").write_bytes(kept)

    def start() -> None:
        with opened(tmp_path):
            pass

    action = start if work == "start" else lambda: rebuild(tmp_path)
    assert peak_of(action) < 700_000 < size / 2
    assert problems(tmp_path) == [""]
