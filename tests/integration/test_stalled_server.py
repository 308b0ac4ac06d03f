"""A server whose store does not store: the client's log, its status and its health monitor say so until it stores."""

import logging
import time
from pathlib import Path

import pytest

from logferry.client.status.inspect import inspect
from logferry.server.clients.connection.patience import Patience
from logferry.server.storage.memory_store import MemoryStore
from tests.support.running import numbered_line, running_server, wait_until
from tests.support.shipping import append, once, shipping

pytestmark = pytest.mark.usefixtures("quick_backoff")


def problems(tmp_path: Path) -> str:
    return "; ".join(inspect(tmp_path / "state", now=time.time()).problems)


def test_e29_a_full_disk_shows_in_log_status_and_health_until_there_is_room(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Rule E29."""
    caplog.set_level(logging.INFO)
    log, store = append(tmp_path / "app.log", range(10)), MemoryStore()
    settings = once(tmp_path, mode="continuous", resilient=True)
    with (
        running_server(tmp_path, store=store, patience=Patience(linger_s=0.2, alive_s=0.05)) as server,
        shipping(log, server.port, **settings) as run,
    ):
        run.wait_for_acks(10)
        store.stall("No space left on device")
        append(log, range(10, 20))
        wait_until(lambda: "No space left on device" in problems(tmp_path), "the status shows it")
        assert "connected, but nothing is stored for " in problems(tmp_path)
        assert "health: the server is unhealthy: No space left on device" in caplog.text
        store.resume()
        run.wait_for_acks(20)
        wait_until(lambda: not problems(tmp_path), "the status shows that it is over")
        stored = b"".join(bytes(lines) for lines in store.records.lines.values()).splitlines(keepends=True)
        assert stored == [numbered_line(number) for number in range(20)]
    assert caplog.text.count(" stores nothing since ") == 1
    assert caplog.text.count(" stores again") == 1
    assert "health: the server is healthy again" in caplog.text
