"""What a client learns from a server about a source: all of it, page by page, and never without end."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from logferry.client.net.connecting.endpoint import Endpoint
from logferry.client.net.conversation.reports import ReportClient
from logferry.errors import ProtocolError
from logferry.protocol.messages.features import LOSSES
from logferry.protocol.messages.reports import LossPage, RecordedLoss, RecordPlace, ReportPage, losses_line
from logferry.protocol.messages.writing import answer_line, control_line
from logferry.server.storage.memory_store import MemoryStore
from tests.support.delivery import DeliveryClient
from tests.support.fakes import FakeServer, Talk
from tests.support.running import running_server

REPORT = ReportPage("s1", True, 211, 0, 0, (), (RecordedLoss(0, 1, "the first page of the report"),), False)


@contextmanager
def asking(host: str, port: int) -> Iterator[ReportClient]:
    reports = ReportClient(
        Endpoint(host, port), client_id="c", client_host="web-1", connect_timeout_s=5, answer_timeout_s=5
    )
    try:
        yield reports
    finally:
        reports.close()


def listing(*pages: LossPage, features: tuple[str, ...] = (LOSSES,)) -> FakeServer:
    """Return a server that answers with these pages, and with the last one for ever."""

    def script(talk: Talk) -> None:
        talk.read_line()
        talk.say(
            answer_line("hello", version=1, max_batch_bytes=1000, durability="os", store="x", features=list(features))
        )
        left = list(pages)
        while talk.read_line():
            talk.say(losses_line(left.pop(0) if len(left) > 1 else left[0]))

    return FakeServer(script)


def test_e34_a_loss_behind_hundreds_of_skipped_ranges_is_listed(tmp_path: Path) -> None:
    """Rule E34."""
    with running_server(tmp_path, store=MemoryStore()) as server, DeliveryClient(server, source="s1") as client:
        for start in range(600):
            client.send(
                control_line("skip", source="s1", start=start, end=start + 1, reason="not asked for", lost=False)
            )
        client.send(control_line("skip", source="s1", start=600, end=2000, reason="cut"))
        while client.answer_after_alive()["committed"] < 2000:
            pass
        with asking(server.host, server.port) as reports:
            found = reports.losses(next(iter(reports.report("s1"))))
    assert (found.lost, len(found.skipped), found.problem) == ([RecordedLoss(600, 2000, "cut")], 600, "")


def test_a_server_that_cannot_list_losses_is_asked_for_none(tmp_path: Path) -> None:
    with listing(LossPage("s1", (), (), ()), features=()) as server, asking("127.0.0.1", server.port) as reports:
        assert reports.losses(REPORT).lost == list(REPORT.losses)


@pytest.mark.parametrize("place", [RecordPlace(0, 5, 1), RecordPlace(0, 4, 9), RecordPlace()])
def test_pages_that_do_not_advance_end_the_question(place: RecordPlace) -> None:
    pages = (LossPage("s1", (), (), (), RecordPlace(0, 5, 1)), LossPage("s1", (), (), (), place))
    with (
        listing(*pages) as server,
        asking("127.0.0.1", server.port) as reports,
        pytest.raises(ProtocolError, match="losses"),
    ):
        reports.losses(REPORT)


def test_a_list_without_end_is_cut_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("logferry.client.net.conversation.reports._MAX_LISTED", 10)
    pages = [
        LossPage("s1", 4 * (RecordedLoss(number, number + 1, "cut"),), (), (), RecordPlace(0, number, 1))
        for number in range(1, 20)
    ]
    with listing(*pages) as server, asking("127.0.0.1", server.port) as reports:
        found = reports.losses(REPORT)
    assert len(found.lost) == 12
    assert found.problem == "the server has more losses of it than the 12 that are listed"
