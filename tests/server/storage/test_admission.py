"""What is decided about sources, against a small model, with a disk that fails at any moment."""

import errno
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logferry.protocol.messages.answers import BatchRefused, Position
from logferry.protocol.messages.requests import BatchRequest, Note, Open, Skip
from logferry.server.storage.admission import SourceTable
from logferry.server.storage.deliveries import Delivery, ReleaseSources, SourceRequest
from logferry.server.storage.disk.integrity.fsck import fsck
from logferry.server.storage.disk.integrity.source_report import report
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.log_names import LogName, log_of_source
from logferry.server.storage.owners import of_client
from tests.support.running import numbered_line, stored_lines, wait_until
from tests.support.stores import FailingFiles, Stored, opened, parts_of

NO_LOG = LogName("", "")  # a source's is known to the store


@dataclass
class Model:
    """One source as the rules describe it, one step after the other."""

    committed: int = 0
    owner: int = 0
    lines: list[bytes] = field(default_factory=list)

    def apply(self, request: SourceRequest) -> tuple[bool, int] | None:
        """Return what the answer must be: whether it is a refusal, and the position."""
        message = request.message
        if isinstance(message, Open):
            self.owner = request.connection
        elif isinstance(message, Note):
            return None
        elif isinstance(message, BatchRequest | Skip) and request.connection != self.owner:
            return True, self.committed
        elif isinstance(message, BatchRequest | Skip) and message.end > self.committed:
            if message.start != self.committed or (isinstance(message, BatchRequest) and message.refusal):
                return True, self.committed
            self.committed = message.end
            if isinstance(message, BatchRequest):
                self.lines += message.payload.splitlines(keepends=True)
        return False, self.committed


actions = st.lists(
    st.one_of(
        st.tuples(st.just("batch"), st.integers(-6, 6), st.integers(0, 4)),
        st.tuples(st.just("batch"), st.just(0), st.integers(1, 4)),  # so that most of them are stored
        st.tuples(st.just("refused"), st.integers(-2, 0), st.integers(1, 3)),
        st.tuples(st.just("skip"), st.integers(-3, 3), st.integers(1, 9)),
        st.tuples(st.just("open"), st.integers(1, 2), st.just(0)),
        st.tuples(st.just("note"), st.just(0), st.integers(1, 3)),
        st.tuples(st.sampled_from(["write", "sync", "truncate"]), st.integers(1, 2), st.just(0)),
        st.tuples(st.just("restart"), st.just(0), st.just(0)),
    ),
    max_size=30,
)


@settings(deadline=None, max_examples=80)
@given(actions=actions)
def test_whatever_is_sent_and_whatever_fails_the_store_does_what_the_rules_say(
    tmp_path_factory: pytest.TempPathFactory, actions: list[tuple[str, int, int]]
) -> None:
    """Rules E5, E8, E9, E10 and E12."""
    data_dir = tmp_path_factory.mktemp("data")
    model, files = Model(), FailingFiles()
    expected: list[tuple[bool, int] | None] = []
    requests: list[SourceRequest] = []
    number = 0
    runs: list[list[tuple[str, int, int]]] = [[]]
    for action in actions:
        runs += [[]] if action[0] == "restart" else []
        runs[-1].append(action)
    for run in runs:
        with opened(data_dir, file_system=files, segment_bytes=300, first_retry_s=0.0001) as store:
            for kind, first, second in [("open", 1, 0), *run]:
                start = max(0, model.committed + first)
                payload = b"".join(numbered_line(number + n) for n in range(second))
                owner = model.owner
                if kind in files.failures or kind in ("write", "sync", "truncate"):
                    files.failures.setdefault(kind, []).extend([errno.EIO] * first)
                    continue
                if kind == "restart":
                    continue
                message: Open | BatchRequest | Skip | Note
                if kind == "open":
                    message, owner, payload = Open("s1", "/x/app.log"), first, b""
                elif kind in ("batch", "refused"):
                    refusal = "no" if kind == "refused" else None
                    message = BatchRequest("s1", start, start + second, second, zlib.crc32(payload), payload, refusal)
                    number += second
                else:
                    message = (Skip if kind == "skip" else Note)("s1", start, start + second, "gone")
                    payload = b""
                request = SourceRequest(message, owner, of_client("c"), "h")
                pieces = [payload] if payload else []
                store.submit(
                    Delivery(NO_LOG, pieces, second if pieces else 0, len(payload), source_request=request),
                    Stored(),
                )
                requests.append(request)
                expected.append(model.apply(request))
    assert [_answer(request) for request in requests] == expected
    assert stored_lines(data_dir) == model.lines
    assert [finding.problem for finding in fsck(data_dir) if finding.problem] == []
    page = report(data_dir, "s1", after=0)
    assert (page.committed, page.lines, page.crc32) == (
        model.committed,
        len(model.lines),
        zlib.crc32(b"".join(model.lines)),
    )
    assert {extent.state for extent in page.extents} <= {"ok"}
    assert sum(extent.lines for extent in page.extents) == len(model.lines)


@pytest.mark.parametrize("most", [4, 1000])
def test_sources_keep_their_positions_even_if_memory_holds_only_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr("logferry.server.storage.admission.MAX_ROWS", most)
    names, line = [f"s{number}" for number in range(20)], numbered_line(0)
    requests: list[SourceRequest] = []
    stored = Stored()
    with opened(tmp_path) as store:
        for turn in range(3):
            for name in names:
                if turn:
                    batch = BatchRequest(name, turn - 1, turn, 1, zlib.crc32(line), line)
                    requests.append(SourceRequest(batch, 1, of_client("c"), "h"))
                    store.submit(Delivery(NO_LOG, [line], 1, len(line), source_request=requests[-1]), stored)
                else:
                    opening = SourceRequest(Open(name, "/x/a.log"), 1, of_client("c"), "h")
                    store.submit(Delivery(NO_LOG, [], 0, 0, source_request=opening), stored)
            wait_until(lambda turn=turn: len(stored.deliveries) == 20 * (turn + 1), "all are stored")  # type: ignore[misc]
        assert len(parts_of(store).commit._sources.rows) <= most
    crc32 = zlib.crc32(line * 2)
    assert [request.outcome for request in requests[20:]] == [Position(name, 2, 2, crc32, False) for name in names]


def test_a_connection_that_has_ended_leaves_nothing_in_memory(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, durable=False)
    table = SourceTable(ledger)
    messages: list[Open | ReleaseSources] = [
        *(Open(f"s{number}", "/x/app.log") for number in range(10)),
        ReleaseSources(tuple(f"s{n}" for n in range(10))),
    ]
    for message in messages:
        changes = table.begin_group()
        changes.decide(SourceRequest(message, 1, of_client("c"), "h"))
        with ledger.transaction():
            changes.save(ledger)
        table.apply(changes)
        assert bool(table.owners) == isinstance(message, Open)
    assert table.rows == {}
    ledger.close()


def _answer(request: SourceRequest) -> tuple[bool, int] | None:
    outcome = request.outcome
    if isinstance(outcome, Position | BatchRefused):
        return isinstance(outcome, BatchRefused), outcome.committed
    return None


def test_the_lines_of_a_source_stay_together_although_its_file_was_renamed() -> None:
    assert log_of_source("web-1", "/var/log/app.log") == LogName("web-1", "/var/log/app.log")
