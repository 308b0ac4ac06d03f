"""The console over a data folder: searches, counts, tails, proof and storage of a store that works meanwhile."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from logferry.console.source import Counts, FileCheck, Line, Query, Stop, Stopped, UnknownPlace, Word, WrongPattern
from logferry.console.stored.stored_source import StoredSource
from logferry.errors import StoreError
from logferry.protocol.messages.client_state import FileVerdict
from logferry.server.clients.reporting.client_reports import ClientReports
from logferry.server.clients.reporting.states_file import states_of, write_states
from logferry.server.storage.disk.disk_store import DiskStore
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.records import ExtentRow, LossRow, SourceRow
from tests.support.compressing import compress_all
from tests.support.looking import clock, line, store_lines, three_hosts
from tests.support.running import DEADLINE_S, wait_until

HOUR = 3_600_000
START = 1_705_276_800_000  # 2024-01-15T00:00:00Z


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DiskStore]:
    with three_hosts(tmp_path) as running:
        yield running


@pytest.fixture
def source(store: DiskStore, tmp_path: Path) -> StoredSource:
    return StoredSource(tmp_path)


def stop(seconds: float = DEADLINE_S, max_bytes: int = 1 << 40) -> Stop:
    return Stop(seconds=seconds, max_bytes=max_bytes)


def messages(lines: Iterator[Line] | list[Line]) -> list[str]:
    return [each.content.decode().split('"message": "')[1].split('"')[0] for each in lines]


def found(source: StoredSource, *words: Word, place: str = "", backward: bool = False, **more: object) -> list[str]:
    query = Query(words=words, **more)  # type: ignore[arg-type]
    return messages(source.search(query, from_place=place, is_backward=backward, stop=stop()))


def test_a_folder_without_a_store_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"ledger\.sqlite3"):
        StoredSource(tmp_path)


class TestSearch:
    def test_lines_of_all_hosts_are_merged_in_both_directions(self, source: StoredSource) -> None:
        everything = [f"m{number}" for number in range(30)]
        assert found(source) == everything
        assert found(source, backward=True) == everything[::-1]

    def test_pages_go_on_at_a_place(self, source: StoredSource) -> None:
        lines = list(source.search(Query(), from_place="", is_backward=True, stop=stop()))
        assert found(source, place=lines[9].place, backward=True) == messages(lines[10:])
        assert found(source, place=lines[9].place) == messages(lines[:9])[::-1]

    def test_words_are_texts_patterns_and_what_must_not_be(self, store: DiskStore, source: StoredSource) -> None:
        texts = ("Payment refused", "payment accepted", "PAYMENT of \\u00fc", "other")
        store_lines(store, "d", *(line(text, clock(100 + n), user="Ann") for n, text in enumerate(texts)))
        hosts = ("d",)
        assert found(source, Word("payment"), hosts=hosts) == list(texts[:3])
        assert found(source, Word("Payment"), hosts=hosts) == ["Payment refused"]
        assert found(source, Word("payment"), Word("refused", is_unwanted=True), hosts=hosts) == list(texts[1:3])
        assert found(source, Word("pa.*ed$", is_regex=True), hosts=hosts) == ["payment accepted"]
        assert found(source, Word("p.*ed$", is_regex=True, is_unwanted=True), hosts=hosts) == [texts[0], *texts[2:]]
        assert found(source, Word("ü"), hosts=hosts) == [texts[2]]
        assert found(source, Word("user=ann"), Word("other"), hosts=hosts) == ["other"]
        assert found(source, Word("ann", is_unwanted=True), hosts=hosts) == []

    def test_levels_hosts_files_and_times_select(self, store: DiskStore, source: StoredSource) -> None:
        assert found(source, levels=("error", "fatal")) == [f"m{number}" for number in range(0, 30, 7)]
        assert found(source, hosts=("a*",)) == [f"m{number}" for number in range(0, 30, 3)]
        assert found(source, files=("nothing",)) == []
        assert found(source, since=START + 5000, until=START + 7000) == ["m5", "m6"]
        store_lines(store, "d", line("odd", clock(100), "CUSTOM"))
        assert found(source, levels=("other",)) == ["odd"]
        assert found(source, levels=("other", "error"), since=START + 28_000) == ["m28", "odd"]

    def test_a_place_that_is_not_there_is_unknown(self, source: StoredSource) -> None:
        for place in ("a/plain/2020-01-01-1.ndjson:0", "nonsense", "../../etc/passwd:0", "a:99999999999999999999"):
            with pytest.raises(UnknownPlace):
                found(source, place=place)
            with pytest.raises(UnknownPlace):
                source.raw(place, stop=stop())

    def test_context_is_of_the_same_file(self, source: StoredSource) -> None:
        (middle,) = source.search(Query(words=[Word("m15")]), from_place="", is_backward=False, stop=stop())
        assert messages(list(source.context(middle.place, before=1, after=2, stop=stop()))) == [
            *("m12", "m15", "m18", "m21")
        ]
        assert source.raw(middle.place, stop=stop()) == middle.content

    def test_limits_end_a_search(self, source: StoredSource) -> None:
        with pytest.raises(Stopped, match="time"):
            list(source.search(Query(), from_place="", is_backward=False, stop=stop(seconds=0)))
        with pytest.raises(Stopped, match="bytes"):
            list(source.search(Query(), from_place="", is_backward=False, stop=stop(max_bytes=10)))


class TestPatternsThatTakeForEver:
    EVIL = Word("(a|a|b?a)+$", is_regex=True)

    def test_time_ends_them(self, store: DiskStore, source: StoredSource) -> None:
        store_lines(store, "d", line("a" * 60 + "!", clock(100)))
        limited = stop(seconds=2)
        with pytest.raises(Stopped, match="time"):
            list(source.search(Query(words=[self.EVIL]), from_place="", is_backward=True, stop=limited))

    def test_a_reader_that_leaves_ends_them(self, store: DiskStore, source: StoredSource) -> None:
        store_lines(store, "d", line("a" * 60 + "!", clock(100)))
        leaving = stop()
        ended: list[BaseException] = []

        def search() -> None:
            try:
                list(source.search(Query(words=[self.EVIL]), from_place="", is_backward=True, stop=leaving))
            except Stopped as stopped:
                ended.append(stopped)

        thread = threading.Thread(target=search)
        thread.start()
        leaving.close()
        thread.join(DEADLINE_S)
        assert [str(each) for each in ended] == ["closed"]

    def test_errors_come_through(self, source: StoredSource) -> None:
        with pytest.raises(WrongPattern, match="look-behind requires fixed-width pattern"):
            found(source, Word("(?<=a+)b", is_regex=True))
        with pytest.raises(UnknownPlace):
            found(source, Word("x", is_regex=True), place="nonsense")

    def test_a_process_that_dies_is_not_the_end_of_a_search(
        self, source: StoredSource, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("logferry.console.stored.stored_source.search_lines", die)
        with pytest.raises(StoreError, match="ended in the middle"):
            found(source, Word("x", is_regex=True))


def die(*_: object, **__: object) -> None:
    """Do as a process without memory: this runs in one of its own."""
    os._exit(1)


class TestCounts:
    def counted(self, source: StoredSource, bucket_ms: int, query: Query | None = None) -> Counts:
        *_, last = source.counts(
            query or Query(since=START, until=START + HOUR), since=START, bucket_ms=bucket_ms, buckets=60, stop=stop()
        )
        return last

    def test_minutes_are_counted_as_whole_chunks(self, store: DiskStore, source: StoredSource) -> None:
        store_lines(store, "d", line("later", clock(61)), line("no time"), line("odd", clock(62), "CUSTOM"))
        assert self.counted(source, 60_000).rows == [[0, 5, 0, 25, 0, 0], [1, 0, 0, 2, 0, 1]]

    def test_lines_in_unusual_forms_are_counted_one_by_one(self, store: DiskStore, source: StoredSource) -> None:
        store_lines(
            store,
            "d",
            b'{"timestamp": "2024-01-15T00:00:01,500+00:00", "level": "ERROR", "message": "order"}\n',
            b'{"level": "WARN", "message": "say \\"hi\\"", "timestamp": "2024-01-15T00:00:01.999Z", "n": 1}\n',
            b'{"level": "INFO", "message": "x", "timestamp": "1705276801"}\n',
        )
        assert self.counted(source, 1000, Query(hosts=("d",), since=START, until=START + HOUR)).rows == [
            [1, 1, 1, 1, 0, 0]
        ]

    def test_seconds_are_counted_by_line(self, source: StoredSource) -> None:
        assert self.counted(source, 10_000).rows == [[0, 2, 0, 8, 0, 0], [1, 1, 0, 9, 0, 0], [2, 2, 0, 8, 0, 0]]

    def test_what_is_counted_is_what_a_search_finds(self, source: StoredSource) -> None:
        for query in (
            Query(since=START + 5000, until=START + HOUR),
            Query(levels=("error",), since=START, until=START + 20_000),
            Query(words=[Word("m1")], since=START, until=START + HOUR),
            Query(words=[Word("m.5", is_regex=True)], since=START, until=START + HOUR),
            Query(hosts=("b",), since=START, until=START + HOUR),
        ):
            lines = list(source.search(query, from_place="", is_backward=False, stop=stop()))
            for width in (1000, 60_000):
                rows = self.counted(source, width, query).rows
                assert sum(sum(row[1:]) for row in rows) == len(lines)


@pytest.mark.parametrize("word", [Word("new"), Word("n.w", is_regex=True)])
def test_a_tail_shows_what_comes_and_nothing_else(store: DiskStore, source: StoredSource, word: Word) -> None:
    ending = stop()
    lines = source.follow(Query(words=[word]), after="", stop=ending)
    taken: list[Line] = []

    def follow() -> None:
        with suppress(Stopped):
            for each in lines:
                taken.extend([each.line] if each.line else [])

    thread = threading.Thread(target=follow)
    thread.start()
    number = 0
    while not taken:  # it may not have begun yet: what came before that is not shown
        store_lines(store, "d", line(f"new {number}"), line("old"))
        number += 1
        time.sleep(0.1)
    store_lines(store, "d", line("new at last"))
    wait_until(lambda: messages(taken)[-1:] == ["new at last"], "the tail has it")
    ending.close()
    thread.join(DEADLINE_S)
    assert not thread.is_alive()
    assert len({each.place for each in taken}) == len(taken)
    assert all("new" in message for message in messages(taken))


def test_hosts_and_files_have_their_sums(source: StoredSource) -> None:
    assert [(host.host, host.files, host.lines) for host in source.hosts()] == [
        ("a", 1, 10),
        ("b", 1, 10),
        ("c", 1, 10),
    ]
    assert [(file.host, file.path, file.lines) for file in source.files()] == [
        ("a", "", 10),
        ("b", "", 10),
        ("c", "", 10),
    ]
    assert all(host.last_received is not None for host in source.hosts())


class TestProof:
    def test_nothing_is_proven_before_it_was_checked(self, source: StoredSource) -> None:
        proof = source.proof()
        assert proof.bytes == sum(file.bytes for file in proof.files) > 0
        assert (proof.checked_bytes, proof.oldest_check, proof.damaged) == (0, None, 0)

    def test_what_scrub_has_checked_is_proven_and_what_came_later_is_not(
        self, store: DiskStore, source: StoredSource, tmp_path: Path
    ) -> None:
        ledger = Ledger(tmp_path, durable=False)
        try:
            ledger.set_checked({row.id: time.time() + 1 for row in ledger.segments()})
        finally:
            ledger.close()
        proof = StoredSource(tmp_path).proof()
        assert proof.checked_bytes == proof.bytes
        assert proof.oldest_check is not None
        ledger = Ledger(tmp_path, durable=False)
        try:
            ledger.set_checked({row.id: time.time() - 1000 for row in ledger.segments()})
        finally:
            ledger.close()
        assert StoredSource(tmp_path).proof().checked_bytes == 0

    def test_damage_counts_by_file(self, source: StoredSource, tmp_path: Path) -> None:
        from logferry.server.storage.records import DamageRow

        ledger = Ledger(tmp_path, durable=False)
        try:
            first = ledger.segments()[0]
            ledger.add_damage([DamageRow("", first.id, first.id)])
        finally:
            ledger.close()
        proof = source.proof()
        assert proof.damaged == 1
        assert [file.damaged for file in proof.files] == [1, 0, 0]

    def test_bytes_of_a_file_that_the_ledger_does_not_account_for_are_missing_or_repeated(
        self, store: DiskStore, tmp_path: Path
    ) -> None:
        ledger = Ledger(tmp_path, durable=False)
        segment = ledger.segments()[0].id
        extents = [(0, 100), (100, 200), (350, 400), (390, 420), (500, 600)]
        try:
            with ledger.transaction():
                ledger.add_sources([SourceRow("s", "a", "/app.log", 600, 5, 0)])
                ledger.set_extents(("s", ExtentRow(*each, 1, 0, segment, 0, 10)) for each in extents)
                ledger.add_loss(LossRow("s", 200, 300, "rotated away"))
                ledger.add_loss(LossRow("s", 410, 450, "not asked for", is_lost=False))
        finally:
            ledger.close()
        proof = StoredSource(tmp_path).proof()
        (file,) = (each for each in proof.files if each.path == "/app.log")
        assert (file.missing_bytes, file.repeated_bytes) == (50 + 50, 10)
        assert (proof.missing_bytes, proof.repeated_bytes) == (100, 10)

    def test_the_verdict_of_the_client_is_shown(self, store: DiskStore, tmp_path: Path) -> None:
        reports = ClientReports(lambda: 1_768_464_000.0)
        reports.note_verdict("me", "a", FileVerdict("", False, "2 lines missing", 12, 10, 2, 0, 0, 0))
        write_states(tmp_path, states_of(reports))
        by_host = {each.host: each.verdict for each in StoredSource(tmp_path).proof().files}
        assert (by_host["a"]["missing"], by_host["a"]["at"]) == (2, "2026-01-15T08:00:00.000Z")
        assert "owner" not in by_host["a"]
        assert by_host["b"] == {}


class TestCheck:
    def checked(self, data_dir: Path, host: str, **limits: Any) -> FileCheck:
        *_, last = StoredSource(data_dir).check(host, "", stop=stop(**limits))
        return last

    def test_it_reads_everything_of_one_file_plain_or_compressed(self, tmp_path: Path) -> None:
        with three_hosts(tmp_path, segment_bytes=300) as store:
            compress_all(store, tmp_path, "gzip")
        found = self.checked(tmp_path, "a")
        assert (found.bytes, found.lines, found.altered_pieces) == (found.of_bytes, 10, 0)
        assert found.segments > 2
        assert list(StoredSource(tmp_path).check("nobody", "", stop=stop())) == []
        with pytest.raises(Stopped, match="time"):
            self.checked(tmp_path, "a", seconds=0)

    def test_a_flipped_byte_is_found_and_a_deleted_file(self, tmp_path: Path) -> None:
        with three_hosts(tmp_path, segment_bytes=300):
            pass
        first, second, *_ = sorted((tmp_path / "segments" / "b").rglob("*.ndjson"))
        content = bytearray(first.read_bytes())
        content[20] ^= 1
        first.write_bytes(content)
        second.unlink()
        found = self.checked(tmp_path, "b")
        assert found.altered_pieces == 2
        assert [problem.partition(" ")[2] for problem in found.problems] == [
            "has other content than was stored (checksum)",
            "is missing",
        ]
        assert self.checked(tmp_path, "a").altered_pieces == 0


def test_storage_adds_up(source: StoredSource) -> None:
    storage = source.storage()
    assert storage.segments == 3
    assert storage.bytes == sum(use.bytes for use in storage.usage) > 0
    assert storage.disk_free <= storage.disk_bytes
    assert {use.host for use in storage.usage} == {"a", "b", "c"}
    assert storage.full_at is None
