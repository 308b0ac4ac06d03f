"""A server that is connected and stores nothing: the client says why, once, and when it ends. No real time passes."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from logferry.client.delivery.output import Guarantee, Withheld
from logferry.client.delivery.servers.stalls import UNACKED_S
from logferry.config import ShipSettings
from logferry.model.source import Source
from tests.support.memory_delivery import STALL_S, MemoryOutput, Run, answer_all, answer_nothing
from tests.support.running import numbered_line
from tests.support.shipping import ship_settings

LINES = [numbered_line(number) for number in range(100, 110)]
FULL = "No space left on device"


class Gate:
    """Lets everything through, and notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def connection_failed(self) -> None:
        self.told.append("failed")

    def stalled(self, reason: str) -> None:
        self.told.append(reason)

    def may_connect(self) -> bool:
        return True


def settings(**changes: Any) -> ShipSettings:
    return ship_settings(Path("app.log"), 1, mode="continuous", max_attempts=0, **changes)


def heartbeats(run: Run, behaviour: Callable[[MemoryOutput], None], *, until_s: float, reason: str = FULL) -> None:
    """Send a heartbeat every five seconds that says why nothing is stored; after that, answer everything."""
    end, next_one = run.time.now + until_s, [run.time.now + 5.0]

    def behave(output: MemoryOutput) -> None:
        if run.time.now >= end:
            answer_all(output)
            return
        behaviour(output)
        if run.time.now >= next_one[0]:
            next_one[0] += 5.0
            output.events.append(Withheld(reason, 1700000000.0))

    run.output.behaviours[0] = behave


def test_e29_what_the_server_says_is_logged_once_and_its_end(caplog: pytest.LogCaptureFixture) -> None:
    """Rule E29."""
    caplog.set_level(logging.INFO)
    gate = Gate()
    run = Run(settings(), {Source("one.log"): LINES}, gate=gate)
    heartbeats(run, answer_nothing, until_s=60.0)
    run.engine.run()
    said = [record.message for record in caplog.records if "memory" in record.message]
    assert said[0] == "connected to memory"
    assert said[1].startswith("memory stores nothing since 2023-11-1")
    assert said[1].endswith(f": {FULL}; 10 lines in flight are not acked")
    assert said[2:] == ["memory stores again"]
    assert run.observed == ["connected: exactly once", f"stalled: {FULL}", "stalled: ", "closed"]
    assert gate.told == [FULL, ""]


def test_e29_a_reason_is_cut_and_escaped(caplog: pytest.LogCaptureFixture) -> None:
    """Rule E29."""
    run = Run(settings(), {Source("one.log"): LINES})
    heartbeats(run, answer_nothing, until_s=20.0, reason="\x1b[31m" + "x" * 1000)
    run.engine.run()
    (message,) = [record.message for record in caplog.records if "stores nothing" in record.message]
    assert "\\x1b[31mxxx" in message
    assert "\x1b" not in message
    assert len(message) < 350


@pytest.mark.parametrize("guarantee", list(Guarantee))
def test_a_client_that_is_connected_and_not_acked_says_so(
    guarantee: Guarantee, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    run = Run(settings(), {Source("one.log"): LINES}, guarantee=guarantee)
    silent_until = run.time.now + UNACKED_S + 5

    def slow(output: MemoryOutput) -> None:
        (answer_all if run.time.now >= silent_until else answer_nothing)(output)

    run.output.behaviours[0] = slow
    run.engine.run()
    said = [record.message for record in caplog.records if "memory" in record.message]
    assert said[1:] == [
        "memory is connected, but it has acked nothing for 10 s; 10 lines in flight are not acked",
        "memory stores again",
    ]
    assert run.observed[1:] == ["stalled: it has acked nothing for 10 s", "stalled: ", "closed"]


def test_a_server_that_never_acks_is_logged_once_however_often_the_client_reconnects(
    caplog: pytest.LogCaptureFixture,
) -> None:
    run = Run(settings(), {Source("one.log"): LINES})
    run.output.behaviours[0] = answer_nothing
    run.time.at(10 * STALL_S, run.stop.request)
    with pytest.raises(Exception, match="stopped; 10 lines in flight"):
        run.engine.run()
    assert run.observed.count("stalled: it has acked nothing for 10 s") > 3
    assert caplog.text.count("has acked nothing") == 1


def test_acks_that_trickle_in_are_no_stall(caplog: pytest.LogCaptureFixture) -> None:
    run = Run(settings(), {Source("one.log"): LINES}, guarantee=Guarantee.AT_LEAST_ONCE)
    next_one = [run.time.now]

    def trickle(output: MemoryOutput) -> None:
        if output.arrived and run.time.now >= next_one[0]:
            next_one[0] = run.time.now + 0.9 * UNACKED_S
            output.store(output.arrived[0])

    run.output.behaviours[0] = trickle
    run.engine.run()
    assert caplog.records == []


def test_a_quiet_client_is_owed_nothing(caplog: pytest.LogCaptureFixture) -> None:
    run = Run(settings(), {}, is_endless=True)
    run.time.at(100.0, run.stop.request)
    run.engine.run()
    assert caplog.records == []
