"""Whatever a client does to a source of another one, the source and its owner notice nothing (rule E36)."""

import json
import zlib
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from logferry.protocol.messages.requests import (
    BatchRequest,
    Content,
    Note,
    Open,
    Question,
    Repair,
    Report,
    Skip,
    SourcesOf,
    Window,
)
from logferry.server.clients.bridge.store_bridge import answer_to
from logferry.server.storage.deliveries import Delivery, ReleaseSources, SourceRequest
from logferry.server.storage.log_names import NO_LOG
from logferry.server.storage.memory_store import MemoryStore
from logferry.server.storage.owners import of_client
from tests.support.running import numbered_line

Message = Open | BatchRequest | Skip | Note | Window | ReleaseSources | Question

SIZE = len(numbered_line(0))

places = st.integers(0, 5).map(lambda number: number * SIZE)
ranges = st.tuples(places, places).map(sorted)


def lines_of(numbers: Sequence[int]) -> bytes:
    return b"".join(map(numbered_line, numbers))


def batch(start: int, count: int) -> BatchRequest:
    payload = lines_of(range(count))
    return BatchRequest("s1", start, start + len(payload), count, zlib.crc32(payload), payload)


def repair(start: int, count: int) -> Repair:
    payload = lines_of(range(count))
    return Repair("s1", start, start + len(payload), count, zlib.crc32(payload), payload)


messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(Open, st.just("s1"), st.just("/x/app.log")),
    st.builds(batch, places, st.integers(0, 3)),
    st.builds(repair, places, st.integers(0, 3)),
    ranges.map(lambda range_: Skip("s1", range_[0], range_[1], "gone")),
    ranges.map(lambda range_: Skip("s1", range_[0], 10**15, "gone")),
    ranges.map(lambda range_: Note("s1", range_[0], range_[1], "cut")),
    places.map(lambda place: Window("s1", place, 1, 2, "gone")),
    places.map(lambda place: Content("s1", place, 0, 10**6)),
    st.just(ReleaseSources(("s1",))),
)


class Client:
    """One client of a store, with one connection."""

    def __init__(self, store: MemoryStore, name: str, number: int) -> None:
        self._store = store
        self._name = name
        self._number = number

    def ask(self, message: Message) -> str:
        """Return the outcome of a request, or the answer to a question."""
        if isinstance(message, Question):
            return answer_to(message, of_client(self._name), self._store).decode()
        request = SourceRequest(message, self._number, of_client(self._name), "h")
        payload = message.payload if isinstance(message, BatchRequest) else b""
        lines = message.lines if isinstance(message, BatchRequest) else 0
        pieces = [payload] if payload else []
        delivery = Delivery(NO_LOG, pieces, lines, len(payload), source_request=request)
        self._store.submit(delivery, lambda _: None)
        return repr(request.outcome)


@settings(deadline=None, max_examples=60)
@given(actions=st.lists(st.tuples(st.booleans(), messages), max_size=30))
def test_a_source_is_as_if_no_other_client_were_there(actions: list[tuple[bool, Message]]) -> None:
    """Rule E36: with another client in between, the owner gets the same answers, and the same is stored."""
    alone, shared = MemoryStore(), MemoryStore()
    for store in (alone, shared):
        store.open(lambda: None)
    by_itself, owner, other = Client(alone, "a", 1), Client(shared, "a", 1), Client(shared, "b", 2)
    for is_owner, message in [(True, Open("s1", "/x/app.log")), *actions]:
        if is_owner:
            assert owner.ask(message) == by_itself.ask(message)
        else:
            answer = other.ask(message)
            assert answer == "None" or "another" in answer, answer
    for question in (Report("s1", 0), SourcesOf("h", "/x/app.log", "")):
        assert json.loads(owner.ask(question)) == json.loads(other.ask(question)) == json.loads(by_itself.ask(question))
    assert shared.records.lines == alone.records.lines
    assert shared.records.losses == alone.records.losses
