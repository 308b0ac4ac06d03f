"""Positions that servers state are claims: a server that lies, or that a third party has misled, costs no byte.

Rules E17, E18, E31 and E33. The engine's output and producer are in memory, except where files are compared.
"""

import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from logferry.client.delivery.batches.batches import Claim, Gap, RenderedRange, RenderingProducer
from logferry.client.delivery.output import BatchRejected
from logferry.client.delivery.positions.resume import StoredRanges, between
from logferry.client.readers.batch import BatchReader
from logferry.config import ShipSettings
from logferry.errors import DeliveryAbandoned
from logferry.model.batch import Batch
from logferry.model.source import Source
from logferry.protocol.messages.reports import Extent, RecordedLoss
from logferry.telemetry.metrics import Metrics
from logferry.telemetry.report_line import shortcomings
from tests.support.memory_delivery import MemoryOutput, Run, Stock, answer_nothing
from tests.support.running import numbered_line
from tests.support.shipping import append, ship_settings

LINES = [numbered_line(number) for number in range(100, 120)]
SIZE = len(LINES[0])
FAR = 10**15


def settings(**changes: Any) -> ShipSettings:
    return ship_settings(Path("app.log"), 1, **({"mode": "batch", "max_attempts": 3} | changes))


def crc32_of(lines: Sequence[bytes]) -> int:
    return zlib.crc32(b"".join(lines))


def extent(first: int, last: int, lines: Sequence[bytes] | None = None) -> Extent:
    lines = LINES[first:last] if lines is None else lines
    return Extent(first * SIZE, last * SIZE, len(lines), crc32_of(lines), "ok", "x")


def acked(lines: int) -> Source:
    """Return a source with a checkpoint behind so many lines."""
    return Source("one.log", id="one", committed=lines * SIZE, lines=lines, crc32=crc32_of(LINES[:lines]))


def all_is_stored_anew(run: Run) -> None:
    """Fail unless every line is stored as a new source."""
    (new,) = run.producer.content
    assert new.id != "one"
    assert run.stored(new) == LINES


@pytest.mark.parametrize("lines", [0, 5])
@pytest.mark.parametrize("committed", [10 * SIZE, 20 * SIZE, 20 * SIZE + 1, FAR, 2**63 - 1])
def test_bytes_that_a_third_party_has_skipped_are_shipped(lines: int, committed: int) -> None:
    """Rule E33: the skip leaves the CRC-32 as it was, and no extent."""
    one = acked(lines)
    run = Run(settings(), {one: LINES})
    run.output.stock["one"] = Stock(committed, LINES[:lines])
    run.engine.run()
    all_is_stored_anew(run)


@pytest.mark.parametrize("committed", [20 * SIZE + 1, FAR, 2**63 - 1])
def test_a_skip_beyond_the_end_of_a_file_that_is_acked_to_its_end_does_not_swallow_what_is_written_later(
    tmp_path: Path, committed: int
) -> None:
    """The CRC-32 at the end of the file is the one that the skip leaves, so the offset has to be compared, too."""
    log = append(tmp_path / "app.log", range(10))
    producer = RenderingProducer(BatchReader(ship_settings(log, 1).inputs), metrics=Metrics())
    source, size = source_of(producer)
    crc32 = producer.crc32_behind(RenderedRange(source, 0, size, 0, []))
    assert crc32 is not None
    source.go_to(size, 10, crc32)
    assert producer.crc32_behind(RenderedRange(source, size, size + committed, crc32, [])) is None


def test_a_skip_that_ends_at_the_checkpoint_is_noticed() -> None:
    one = acked(10)
    run = Run(settings(), {one: LINES})
    run.output.stock["one"] = Stock(10 * SIZE, [])
    run.engine.run()
    all_is_stored_anew(run)


def test_a_store_that_was_set_back_to_a_position_of_another_content_gets_all_of_it() -> None:
    one = acked(10)
    run = Run(settings(), {one: LINES})
    run.output.stock["one"] = Stock(4 * SIZE, LINES[10:14])
    run.engine.run()
    all_is_stored_anew(run)


def test_a_store_that_was_set_back_into_the_middle_of_a_line_gets_all_of_it() -> None:
    one = acked(10)
    run = Run(settings(), {one: LINES})
    run.output.stock["one"] = Stock(4 * SIZE + 3, LINES[:4])
    run.engine.run()
    all_is_stored_anew(run)


@pytest.mark.parametrize(
    "ranges",
    [
        StoredRanges([], []),
        StoredRanges([], [RecordedLoss(0, 10 * SIZE, "a lie")]),
        StoredRanges([extent(0, 1)], []),
        StoredRanges([extent(0, 1)], [RecordedLoss(SIZE, 9 * SIZE, "a lie")]),
        StoredRanges([extent(0, 1)], [RecordedLoss(SIZE, 10 * SIZE, "a lie of nine lines")]),
        StoredRanges([extent(0, 1, LINES[9:10])], [RecordedLoss(SIZE, 2 * SIZE, "one")]),
        StoredRanges([extent(0, 4), extent(5, 10)], []),
        StoredRanges([extent(0, 8)], [RecordedLoss(-7, 2**70, "two lines")]),
    ],
)
def test_a_report_that_leaves_a_gap_or_passes_more_than_lines_is_not_believed(ranges: StoredRanges) -> None:
    one = acked(0)
    run = Run(settings(), {one: LINES}, stored_ranges={"one": ranges})
    run.output.stock["one"] = Stock(10 * SIZE, LINES[:3])
    run.engine.run()
    all_is_stored_anew(run)


def test_a_line_that_an_earlier_run_passed_is_reported_by_the_run_that_finds_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The earlier run was killed before it saved its checkpoint."""
    one = acked(2)
    ranges = StoredRanges([extent(0, 3), extent(4, 6)], [RecordedLoss(3 * SIZE, 4 * SIZE, "refused by the server: no")])
    run = Run(settings(), {one: LINES}, stored_ranges={"one": ranges})
    run.output.stock["one"] = Stock(6 * SIZE, [*LINES[:3], *LINES[4:6]])
    run.engine.run()
    assert run.stored(one) == [*LINES[:3], *LINES[4:]]
    assert run.counters.lines_rejected == 1
    assert f"bytes {3 * SIZE} to {4 * SIZE}, which an earlier run passed: refused by the server: no" in caplog.text


@pytest.mark.parametrize(
    ("extents", "stored"),
    [([extent(0, 2), extent(8, 10)], 10), ([extent(0, 2)], 8)],
    ids=["lines behind it", "the end of the file"],
)
def test_a_range_that_the_client_itself_has_given_up_is_passed(
    extents: list[Extent], stored: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The run before dropped it, because too much was held, and was killed before it saved its checkpoint."""
    one = acked(2)
    one.given_up = (2 * SIZE, 8 * SIZE)
    ranges = StoredRanges(extents, [RecordedLoss(2 * SIZE, 8 * SIZE, "too much was held")])
    run = Run(settings(), {one: LINES}, stored_ranges={"one": ranges})
    run.output.stock["one"] = Stock(stored * SIZE, [*LINES[:2], *LINES[8:stored]])
    run.engine.run()
    assert run.stored(one) == [*LINES[:2], *LINES[8:]]
    assert (run.counters.bytes_given_up, run.counters.lines_rejected) == (6 * SIZE, 0)
    assert f"bytes {2 * SIZE} to {8 * SIZE}, which an earlier run passed: too much was held" in caplog.text


def test_a_file_that_was_given_up_whole_is_passed() -> None:
    one = acked(0)
    one.given_up = (0, 10 * SIZE)
    ranges = StoredRanges([], [RecordedLoss(0, 10 * SIZE, "too much was held")])
    run = Run(settings(), {one: LINES[:10]}, stored_ranges={"one": ranges})
    run.output.stock["one"] = Stock(10 * SIZE, [])
    run.engine.run()
    assert list(run.producer.content) == [one]
    assert run.stored(one) == []


@pytest.mark.parametrize("given_up", [(0, 0), (3 * SIZE, 8 * SIZE), (2 * SIZE, 7 * SIZE)])
def test_a_loss_of_more_than_the_client_has_given_up_is_not_believed(given_up: Gap) -> None:
    one = acked(2)
    one.given_up = given_up
    ranges = StoredRanges([extent(0, 2), extent(8, 10)], [RecordedLoss(2 * SIZE, 8 * SIZE, "a lie")])
    run = Run(settings(), {one: LINES}, stored_ranges={"one": ranges})
    run.output.stock["one"] = Stock(10 * SIZE, [*LINES[:2], *LINES[8:10]])
    run.engine.run()
    all_is_stored_anew(run)


@pytest.mark.parametrize("lines_per_batch", [1, 4])
def test_what_is_given_up_is_in_the_checkpoint_before_a_server_gets_it(lines_per_batch: int) -> None:
    """Otherwise the next start would not believe the server that it was this client that gave it up."""
    one = acked(0)
    run = Run(settings(), {one: LINES}, lines_per_batch=lines_per_batch)
    next_batch, register_all = run.producer.next_batch, run.progress.register_all
    saved: list[Gap] = []

    def give_up_six_lines() -> Batch | None:
        batch = next_batch()
        if batch is None or batch.start != 4 * SIZE:
            return batch
        run.producer._offsets[one] = 10 * SIZE
        return Batch(one, 4 * SIZE, 10 * SIZE, epoch=one.epoch, lost="too much was held", is_given_up=True)

    def register(sources: Iterable[Source]) -> None:
        saved.append(one.given_up)
        register_all(sources)

    run.producer.next_batch = give_up_six_lines  # type: ignore[method-assign]
    run.progress.register_all = register  # type: ignore[method-assign]
    run.engine.run()
    assert run.stored(one) == [*LINES[:4], *LINES[10:]]
    assert saved[-1] == (4 * SIZE, 10 * SIZE)
    given_up = next(batch for batch in run.output.connections[0] if batch.lost)
    submitted = run.output.connections[0].index(given_up)
    happened = run.output.happened
    of_batch = [index for index, (what, _) in enumerate(happened) if what == "submitted"][submitted]
    assert max(index for index, (what, _) in enumerate(happened) if what == "registered") < of_batch


@pytest.mark.parametrize("committed", [1, SIZE, 20 * SIZE, FAR])
def test_a_server_that_has_something_of_a_source_that_is_new_is_not_believed(committed: int) -> None:
    one = acked(0)
    run = Run(settings(), {one: LINES})
    run.progress.known = {}
    run.output.stock["one"] = Stock(committed, LINES)
    with pytest.raises(DeliveryAbandoned, match=f"has {committed} bytes of a source that is new; gave up after 3 fail"):
        run.engine.run()
    assert run.output.attempts == [1000.0, 1000.5, 1001.5]  # every attempt backs off
    assert run.producer.sent_back == []


@pytest.mark.parametrize("committed", [-7, 0, 3, 5 * SIZE, 20 * SIZE, FAR, 2**70])
@pytest.mark.parametrize("is_final", [False, True])
def test_a_refusal_never_moves_a_source_forward(committed: int, is_final: bool) -> None:
    one = acked(0)
    lies = [BatchRejected("one", committed, "a lie", is_final)]

    def refuse_once(output: MemoryOutput) -> None:
        answer_nothing(output)
        if output.arrived:
            output.events += lies
            output.break_off()

    run = Run(settings(), {one: LINES}, lines_per_batch=2)
    run.output.behaviours.appendleft(refuse_once)
    run.engine.run()
    assert run.stored(one) == LINES
    assert all(offset is not None and offset <= 0 for _, offset in run.producer.sent_back)


def test_a_final_refusal_of_another_place_gives_up_no_line() -> None:
    one = acked(0)

    def refuse_another(output: MemoryOutput) -> None:
        answer_nothing(output)
        if output.arrived:
            output.events.append(BatchRejected("one", SIZE, "a lie", is_final=True))

    run = Run(settings(), {one: LINES[:1]})
    run.output.behaviours.appendleft(refuse_another)
    run.engine.run()
    assert run.stored(one) == LINES[:1]
    assert run.counters.lines_rejected == 0


# --- the accounts of a run


@pytest.mark.parametrize("unread", [0, 3])
def test_a_run_whose_accounts_do_not_balance_says_so(unread: int, caplog: pytest.LogCaptureFixture) -> None:
    run = Run(settings(), {acked(0): LINES})
    run.metrics.add(lines_read=len(LINES) + 2 + unread, lines_blank=1, lines_filtered=1)
    run.engine.run()
    assert run.counters.lines_unaccounted == unread
    assert ("the accounts do not balance" in caplog.text) is bool(unread)
    sentences = "".join(shortcomings(run.counters))
    assert ("3 lines were read, and neither acked nor refused" in sentences) is bool(unread)


@pytest.mark.parametrize("stored", [0, 4, 10, 20])
@pytest.mark.parametrize("lines_per_batch", [1, 3])
def test_the_accounts_balance_whatever_is_read_again(stored: int, lines_per_batch: int) -> None:
    """What is discarded when a source is read again is counted as read twice."""
    one = acked(10)
    run = Run(settings(), {one: LINES}, lines_per_batch=lines_per_batch)
    next_batch = run.producer.next_batch

    def count_and_return() -> Batch | None:
        batch = next_batch()
        run.metrics.add(lines_read=batch.lines if batch else 0)
        return batch

    run.producer.next_batch = count_and_return  # type: ignore[method-assign]
    run.output.stock["one"] = Stock(stored * SIZE, LINES[:stored] if stored != 4 else LINES[5:9])
    run.engine.run()
    counters = run.counters
    assert counters.lines_read == counters.lines_acked + counters.lines_discarded
    assert counters.lines_unaccounted == 0


def test_a_file_that_is_not_acked_to_its_end_is_named(tmp_path: Path) -> None:
    log = append(tmp_path / "app.log", range(10))
    reader = BatchReader(ship_settings(log, 1).inputs)
    chunk = reader.read(max_lines=None)
    assert chunk is not None
    chunk.source.committed = chunk.end - 1
    reader.poll()
    assert reader.unacked() == [f"{log} is acked only up to byte {chunk.end - 1} of {chunk.end}"]
    chunk.source.committed = chunk.end
    reader.poll()
    assert reader.unacked() == []


# --- what covers a range


@pytest.mark.parametrize(
    ("extents", "losses", "passed", "gaps"),
    [
        ([(0, 10)], [], [], []),
        ([(0, 4), (4, 10)], [], [], []),
        ([(0, 4), (6, 10)], [(4, 6)], [(4, 6)], []),
        ([(0, 4), (6, 10)], [(0, 100)], [(4, 6)], []),
        ([(0, 4)], [(4, 6), (6, 10)], [(4, 6), (6, 10)], []),
        ([(4, 10)], [(0, 4)], [(0, 4)], []),
        ([(2, 4), (6, 8)], [(-5, 1), (3, 7), (3, 9)], [(0, 1), (4, 6), (8, 9)], [(1, 2), (9, 10)]),
        ([(0, 4), (6, 10)], [(4, 5)], [(4, 5)], [(5, 6)]),
        ([(0, 4), (6, 10)], [(5, 6)], [(5, 6)], [(4, 5)]),
        ([(0, 4), (8, 10)], [(5, 6), (7, 7)], [(5, 6)], [(4, 5), (6, 7), (7, 8)]),
        ([(0, 9)], [], [], [(9, 10)]),
        ([], [(0, 10)], [(0, 10)], []),
        ([], [], [], [(0, 10)]),
    ],
)
def test_what_extents_do_not_cover_is_lost_or_a_gap(
    extents: list[Gap], losses: list[Gap], passed: list[Gap], gaps: list[Gap]
) -> None:
    found, between_all = between(
        0, 10, [Extent(*each, 1, 0, "ok", "x") for each in extents], [RecordedLoss(*each, "why") for each in losses]
    )
    assert [each[:2] for each in found] == passed
    assert between_all == gaps


# --- the file is compared


@pytest.fixture
def producer(tmp_path: Path) -> RenderingProducer:
    log = append(tmp_path / "app.log", range(10))
    return RenderingProducer(BatchReader(ship_settings(log, 1).inputs), metrics=Metrics())


def source_of(producer: RenderingProducer) -> tuple[Source, int]:
    """Return the source of the only file, and the size of that."""
    batch = producer.next_batch()
    assert batch is not None
    return batch.source, batch.end


@pytest.mark.parametrize("beyond", [1, FAR, 2**63 - 1, 2**70])
def test_a_file_has_no_crc_behind_its_end(producer: RenderingProducer, beyond: int) -> None:
    source, size = source_of(producer)
    assert producer.crc32_behind(RenderedRange(source, 0, size, 0, [])) is not None
    assert producer.crc32_behind(RenderedRange(source, 0, size + beyond, 0, [])) is None
    assert producer.crc32_behind(RenderedRange(source, size, size + beyond, 0, [])) is None


def test_nothing_is_held_without_an_extent_nor_beyond_the_end(producer: RenderingProducer) -> None:
    source, size = source_of(producer)
    crc32 = producer.crc32_behind(RenderedRange(source, 0, size, 0, []))
    assert crc32 is not None
    whole = Extent(0, size, 10, crc32, "ok", "x")
    assert producer.holds(Claim(source, [whole], [], []))
    assert not producer.holds(Claim(source, [], [], []))
    assert not producer.holds(Claim(source, [whole, Extent(size, FAR, 0, 0, "ok", "x")], [], []))
    assert not producer.holds(Claim(source, [whole._replace(end=FAR)], [], []))
    assert not producer.holds(Claim(source, [whole], [RecordedLoss(size, FAR, "a lie")], []))
    assert not producer.holds(Claim(source, [whole], [RecordedLoss(0, size, "ten lines are not one")], []))
    assert producer.holds(Claim(source, [whole], [RecordedLoss(0, size // 10, "one line")], []))
    assert not producer.holds(Claim(source, [whole], [], [(0, size // 10)]))
    assert not producer.holds(Claim(source, [whole], [], [(size, FAR)]))


@pytest.mark.parametrize("reason", ["stop", "deadline"])
def test_a_client_that_compares_a_long_file_is_stopped_between_two_chunks(reason: str) -> None:
    """The store was set back, so all that was acked since is rendered again, in the engine's thread."""
    one = acked(20)
    run = Run(settings(deadline=50.0 if reason == "deadline" else None, shutdown_timeout=5.0), {one: LINES})
    run.output.stock["one"] = Stock(10 * SIZE, LINES[:10])
    chunks: list[int] = []

    def compare(*_: Any, between: Callable[[], object], **__: Any) -> None:
        for number in range(1000):
            chunks.append(number)
            run.time.now += 1.0
            if reason == "stop" and number == 10:
                run.stop.request()
            between()

    run.producer.crc32_behind = compare  # type: ignore[method-assign, assignment]
    one.committed = 20 * SIZE
    run.producer.content[one] = [*LINES, LINES[0]]
    with pytest.raises(DeliveryAbandoned, match="stopped" if reason == "stop" else "deadline"):
        run.engine.run()
    assert 10 < len(chunks) < 60


def test_something_else_can_be_done_after_each_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("logferry.client.files.lines.line_reader.CHUNK_BYTES", 1000)
    log = append(tmp_path / "app.log", range(200))
    producer = RenderingProducer(BatchReader(ship_settings(log, 1).inputs), metrics=Metrics())
    (source, _), size, calls = source_of(producer), log.stat().st_size, list[int]()

    def count() -> None:
        calls.append(1)

    crc32 = producer.crc32_behind(RenderedRange(source, 0, size, 0, []), between=count)
    assert crc32 is not None
    assert len(calls) >= 6
    assert producer.holds(Claim(source, [Extent(0, size, 200, crc32, "ok", "x")], [], []), between=count)
    assert len(calls) >= 12
