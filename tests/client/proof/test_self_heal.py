"""Which sources a running client goes on repairing when a connection, or one of the sources, fails, in memory."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from logferry.client.net.connecting.endpoint import Endpoint
from logferry.client.net.conversation.reports import ReportClient
from logferry.client.proof import self_heal
from logferry.client.proof.self_heal import SelfHealer
from logferry.client.state.checkpoints import Checkpoints
from logferry.errors import NotALogServer, PeerClosed, ProtocolError, Unreachable
from logferry.telemetry.metrics import Metrics
from tests.support.shipping import ship_settings

SOURCES = [f"source-{number}" for number in range(20)]

Heal = Callable[..., list[str]]
Error = BaseException | None


@pytest.fixture
def heal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Heal:
    """Repair SOURCES, with the errors of connections and of sources in turn; return the sources that were repaired."""

    def run(connections: Iterator[Error], of_sources: Callable[[str], Error]) -> list[str]:
        repaired: list[str] = []

        @contextmanager
        def connect(*_: Any, **__: Any) -> Iterator[None]:
            if (error := next(connections)) is not None:
                raise error
            yield

        def repair(_: SelfHealer, source: str, __: ReportClient) -> None:
            if (error := of_sources(source)) is not None:
                raise error
            repaired.append(source)

        monkeypatch.setattr(ReportClient, "connected_to", connect)
        monkeypatch.setattr(SelfHealer, "_repair", repair)
        settings = ship_settings(tmp_path / "app.log", 1)
        healer = SelfHealer(Endpoint.of(settings), settings, Checkpoints(None), metrics=Metrics())
        monkeypatch.setattr(self_heal, "_FIRST_RETRY_S", 0.0)
        for source in SOURCES:
            healer.damaged(source)
        healer.finish(is_stopping=lambda: False)
        healer.stop(5.0)
        return repaired

    return run


@pytest.mark.parametrize("error", [ProtocolError("a strange answer"), KeyError("a bug")])
def test_sources_that_cannot_be_repaired_keep_no_other_from_repair(
    heal: Heal, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    bad = SOURCES[:-1:2] + SOURCES[1:4:2]
    assert heal(itertools.repeat(None), lambda source: error if source in bad else None) == [
        source for source in SOURCES if source not in bad
    ]
    assert "does not answer" not in caplog.text


@pytest.mark.parametrize("error", [ProtocolError("strange"), NotALogServer("x"), Unreachable("x"), KeyError("x")])
def test_an_error_of_the_connection_costs_no_source(
    heal: Heal, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    assert heal(itertools.chain([error] * 5, itertools.repeat(None)), lambda _: None) == SOURCES
    assert "does not answer" not in caplog.text


def test_a_connection_that_ends_after_each_source_is_progress(heal: Heal) -> None:
    seen: set[str] = set()

    def end_at_first(source: str) -> BaseException | None:
        is_new = source not in seen
        seen.add(source)
        return PeerClosed("the server closed the connection") if is_new else None

    assert heal(itertools.repeat(None), end_at_first) == SOURCES


def test_sources_of_a_server_that_never_answers_are_counted_once(heal: Heal, caplog: pytest.LogCaptureFixture) -> None:
    assert heal(itertools.repeat(Unreachable("cannot connect")), lambda _: None) == []
    messages = [message for message in caplog.messages if "does not answer" in message]
    assert all("repair 0 files" not in message for message in messages)
    assert messages


def test_a_server_that_names_damage_without_end_keeps_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    @contextmanager
    def connect(*_: Any, **__: Any) -> Iterator[None]:
        yield

    settings = ship_settings(tmp_path / "app.log", 1)
    healer = SelfHealer(Endpoint.of(settings), settings, Checkpoints(None), metrics=Metrics())
    monkeypatch.setattr(ReportClient, "connected_to", connect)
    monkeypatch.setattr(SelfHealer, "_repair", lambda *_: healer.damaged("another"))
    monkeypatch.setattr(self_heal, "_FINISH_MOST_S", 0.0)
    healer.damaged("one")
    healer.finish(is_stopping=lambda: False)
    healer.stop(5.0)
    assert "a later run goes on" in caplog.text
