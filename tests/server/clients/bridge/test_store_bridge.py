"""The bridge between the event loop and the store, at its edges: reports that fail and reports that come too late."""

import asyncio
import json

import pytest

from logferry.protocol.messages.requests import Locate, Question, Report
from logferry.server.clients.bridge.store_bridge import StoreBridge
from logferry.server.storage.memory_store import MemoryStore
from logferry.server.storage.owners import of_client
from logferry.server.storage.store import StoreHealth
from tests.support.running import DEADLINE_S

REPORT = Report("s1", 0)
ANYBODY = of_client("c")


def new_bridge(store: MemoryStore) -> StoreBridge:
    return StoreBridge(store, asyncio.get_running_loop(), answer=lambda _: None)


def test_a_report_requested_after_the_close_is_ignored() -> None:
    async def scenario() -> list[bytes]:
        reports: list[bytes] = []
        bridge = new_bridge(MemoryStore())
        bridge.close()
        bridge.ask(REPORT, ANYBODY, reports.append)
        return reports

    assert asyncio.run(scenario()) == []


def test_a_report_that_cannot_be_made_is_answered_with_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    async def scenario() -> bytes:
        store = MemoryStore()
        monkeypatch.setattr(store, "report", fail)
        bridge = new_bridge(store)
        made: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        bridge.ask(REPORT, ANYBODY, made.set_result)
        line = await asyncio.wait_for(made, DEADLINE_S)
        bridge.close()
        return line

    assert b"cannot report: " in asyncio.run(scenario())


@pytest.mark.parametrize("question", [REPORT, Locate(("s1",))])
def test_an_error_that_nobody_expected_is_logged_and_answered(
    question: Question, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    async def scenario() -> bytes:
        store = MemoryStore()
        monkeypatch.setattr(store, "report", fail)
        monkeypatch.setattr(store, "positions", fail)
        bridge = new_bridge(store)
        made: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        bridge.ask(question, ANYBODY, made.set_result)
        line = await asyncio.wait_for(made, DEADLINE_S)
        bridge.close()
        return line

    assert b"the server has failed; its log says why" in asyncio.run(scenario())
    assert caplog.messages == [
        "unexpected error while answering a client: ZeroDivisionError()",
        "its traceback:",
    ]


def test_e22_positions_that_cannot_be_read_are_answered_and_end_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule E22."""

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    async def scenario() -> bytes:
        store = MemoryStore()
        monkeypatch.setattr(store, "positions", fail)
        bridge = new_bridge(store)
        made: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        bridge.ask(Locate(("s1",)), ANYBODY, made.set_result)
        line = await asyncio.wait_for(made, DEADLINE_S)
        bridge.close()
        return line

    assert json.loads(asyncio.run(scenario())) == {
        "status": "ok",
        "message": "positions",
        "failed": "Input/output error",
    }


def test_thousands_of_pings_ask_the_store_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> list[int]:
        store, asked = MemoryStore(), 0
        health = store.health

        def counted() -> StoreHealth:
            nonlocal asked
            asked += 1
            return health()

        monkeypatch.setattr(store, "health", counted)
        loop = asyncio.get_running_loop()
        now = loop.time()
        monkeypatch.setattr(loop, "time", lambda: now)
        bridge, counts = new_bridge(store), []
        for _ in range(2):
            assert {bridge.sign_of_life() for _ in range(1000)} == {b'{"status": "ok", "message": "alive"}\n'}
            counts.append(asked)
            now += 1.0
        return counts

    assert asyncio.run(scenario()) == [1, 2]
