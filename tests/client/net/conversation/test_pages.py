"""Lists that a server sends in pages must advance, and end; whatever it sends, a request ends with a sentence."""

from collections.abc import Callable, Iterable, Iterator
from itertools import count
from typing import Any

import pytest

from logferry.client.net.conversation import pages, reports
from logferry.client.net.conversation.pages import Pages
from logferry.client.net.conversation.reports import ReportClient
from logferry.errors import ProtocolError
from logferry.protocol.messages.answers import Answer, InvalidAnswer, Position
from logferry.protocol.messages.features import HEAL, LOSSES, SOURCES
from logferry.protocol.messages.repairs import DamagedExtent, DamagePage, RepairOutcome, StoredContent
from logferry.protocol.messages.reports import (
    Extent,
    LossPage,
    NamedSource,
    RecordedLoss,
    RecordPlace,
    ReportPage,
    SourcesPage,
)


class Scripted(ReportClient):
    """A client whose questions get the answers of a script, in turn; `asked` counts them."""

    def __init__(self, answers: Iterable[Answer]) -> None:
        self._answers = iter(answers)
        self._client_host = "web-1"
        self.features = frozenset({HEAL, SOURCES})
        self.asked = 0

    def _ask(self, question: bytes) -> Answer:
        self.asked += 1
        return next(self._answers)


def page(*ranges: tuple[int, int], more: bool = True, source: str = "s") -> ReportPage:
    extents = tuple(Extent(start, end, 1, 0, "ok", "x") for start, end in ranges)
    return ReportPage(source, True, 100, 1, 0, extents, (), more)


def damage(*ranges: tuple[int, int], more: bool = True) -> DamagePage:
    return DamagePage("s", tuple(DamagedExtent(start, end, 1, 0) for start, end in ranges), more)


def sources(*ids: str, more: bool = True) -> SourcesPage:
    return SourcesPage(tuple(NamedSource(each, 1, 1, 1) for each in ids), more)


def for_ever(answer: Answer) -> Iterator[Answer]:
    while True:
        yield answer


def one_by_one() -> Iterator[ReportPage]:
    return (page((start, start + 1)) for start in count())


QUESTIONS: dict[str, Callable[[ReportClient], Iterable[Any]]] = {
    "report": lambda client: client.report("s"),
    "damaged": lambda client: client.damaged("s"),
    "sources": lambda client: client.sources_of("/var/log/app.log"),
    "content": lambda client: client.content("s", 0),
}


def test_pages_that_advance_are_all_yielded() -> None:
    assert len(list(Scripted([page((0, 5), (5, 9)), page((20, 30), more=False)]).report("s"))) == 2
    assert len(list(Scripted([damage((0, 5)), damage((7, 9), more=False)]).damaged("s"))) == 2
    assert len(list(Scripted([sources("a", "b"), sources("c", more=False)]).sources_of("x"))) == 3


@pytest.mark.parametrize(
    "pages",
    [
        [LossPage("s", (), (), (), RecordPlace(0, 1, 1))],
        [LossPage("s", (RecordedLoss(0, 1, "x"),), (), (), RecordPlace(0, 0, 0))],
        [LossPage("another", (), (), ())],
        [page(more=False)],
    ],
)
def test_pages_of_losses_must_advance_too(pages: list[Answer]) -> None:
    client = Scripted(pages)
    client.features = frozenset({LOSSES})
    with pytest.raises(ProtocolError, match="the server"):
        client.losses(page(more=False))


@pytest.mark.parametrize(
    ("question", "answers"),
    [
        ("report", [page()]),
        ("report", [page((0, 5)), page((0, 5))]),
        ("report", [page((0, 5)), page()]),
        ("report", [page((0, 5), (4, 9))]),
        ("report", [page((5, 5))]),
        ("report", [page((9, 5))]),
        ("report", [page((0, 5), source="another")]),
        ("report", [damage()]),
        ("report", [InvalidAnswer("no\nsense")]),
        ("damaged", [damage()]),
        ("damaged", [damage((0, 5)), damage((0, 5))]),
        ("damaged", [page()]),
        ("sources", [sources()]),
        ("sources", [sources("b"), sources("b")]),
        ("sources", [sources("b", "a")]),
        ("sources", [Position("s", 0, 0, 0, True)]),
        ("content", [StoredContent("s", 0, 1, b"x")]),
        ("content", [StoredContent("s", 0, 0, b"x"), StoredContent("s", 0, 0, b"x")]),
        ("content", [StoredContent("s", 1, 0, b"x")]),
        ("content", [StoredContent("another", 0, 0, b"x")]),
        ("content", [RepairOutcome("s", 0, True)]),
    ],
)
def test_a_page_that_does_not_advance_or_belongs_to_something_else_ends_the_request(
    question: str, answers: list[Answer]
) -> None:
    client = Scripted([*answers, *answers[-1:] * 3])
    with pytest.raises(ProtocolError, match="the server"):
        list(QUESTIONS[question](client))
    assert client.asked == len(answers)


def test_a_list_without_an_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MAX_LISTED", 100)
    with pytest.raises(ProtocolError, match="lists more than 100 extents"):
        list(Scripted(one_by_one()).report("s"))


def test_stored_bytes_without_an_end_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "MAX_REPAIR_BYTES", 100)
    answers = (StoredContent("s", 0, position, b"x" * 10) for position in count(0, 10))
    with pytest.raises(ProtocolError, match="more than 100 bytes of an extent"):
        list(Scripted(answers).content("s", 0))


def test_a_message_never_repeats_what_a_server_sent() -> None:
    with pytest.raises(ProtocolError) as raised:
        list(Scripted(for_ever(StoredContent("s", 0, 0, b"x" * 100_000))).report("s"))
    assert len(str(raised.value)) < 200


def test_an_empty_last_page_ends_a_list() -> None:
    listed = Pages("extents")
    assert listed.take_ranges([(0, 5)], has_more=True)
    assert not listed.take_ranges([], has_more=False)
