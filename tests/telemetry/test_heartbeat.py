"""A thread that hangs is noticed; one that waits, or has not begun, is not taken for one."""

from logferry.telemetry.heartbeat import HANGS_AFTER_S, Heartbeat
from logferry.telemetry.http_pages import Pages
from logferry.telemetry.http_requests import Request
from logferry.telemetry.server_table import SERVER_COUNTERS
from logferry.telemetry.status_source import Snapshot, Verdict
from tests.support.builders import Clock
from tests.support.status_source_contract import FixedStatus


def test_healthz_says_for_how_long_a_thread_has_not_turned() -> None:
    clock = Clock()
    heartbeat = Heartbeat("the event loop", clock=clock)
    pages = Pages(FixedStatus(Snapshot(Verdict.ready())), SERVER_COUNTERS, heartbeat=heartbeat)

    def answer_after(passed_s: float) -> tuple[int, bytes]:
        clock.now += passed_s
        answer = pages.answer(Request("/healthz"))
        return answer.status, answer.body

    assert answer_after(10 * HANGS_AFTER_S) == (200, b"ok\n")  # it has not begun
    heartbeat.beat()
    assert answer_after(HANGS_AFTER_S) == (200, b"ok\n")
    assert answer_after(12.0) == (503, b"hangs: the event loop has not turned for 42 s\n")
    assert pages.answer(Request("/readyz")).status == 200
    heartbeat.beat()
    assert answer_after(1.0) == (200, b"ok\n")
    heartbeat.rest()
    assert answer_after(10 * HANGS_AFTER_S) == (200, b"ok\n")
