"""Our client, a network that misbehaves, our server: nothing may be missing, altered or out of order.

The plain protocol may repeat lines whose ack was lost; each repeat must have been counted by the client as a retry.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.chaos_proxy import DOWN, UP, ChaosProxy, Happened, chaos_proxy
from tests.support.running import numbered_line, running_server, wait_until
from tests.support.shipping import Shipping, append, assert_conserved, conservation, shipping

pytestmark = pytest.mark.usefixtures("quick_backoff")

LINES = 4000

# Enough to be in the middle of things: a tenth of what the smallest run (gzip, large frames) puts on the wire.
SOME_BYTES = 2000


def cut(proxy: ChaosProxy, client: Shipping) -> None:
    """Close the connections three times while lines are on their way."""
    for _ in range(3):
        sent = proxy.happened.bytes_up
        wait_until(lambda: client.is_over or proxy.happened.bytes_up > sent + 100, "bytes flow")  # noqa: B023
        proxy.cut()


def reset_while_sending(proxy: ChaosProxy, client: Shipping) -> None:
    """Reset the connections after so many bytes, in the middle of a line or a frame."""
    wait_until(lambda: proxy.happened.resets >= 4, "four resets")


def lose_acks(proxy: ChaosProxy, client: Shipping) -> None:
    """Reset the connections exactly while an ack is on its way back."""
    wait_until(lambda: proxy.happened.resets >= 4, "four resets")
    assert proxy.happened.bytes_swallowed > 0


def stall_up(proxy: ChaosProxy, client: Shipping) -> None:
    """Nothing reaches the server for longer than the ack timeout."""
    failed = client.counters.reconnects
    proxy.stall(UP)
    wait_until(lambda: client.is_over or client.counters.reconnects > failed, "the client gives the connection up")
    proxy.flow(UP)


def stall_down(proxy: ChaosProxy, client: Shipping) -> None:
    """No ack reaches the client for longer than the ack timeout."""
    failed = client.counters.reconnects
    proxy.stall(DOWN)
    wait_until(lambda: client.is_over or client.counters.reconnects > failed, "the client gives the connection up")
    proxy.flow(DOWN)


def half_open(proxy: ChaosProxy, client: Shipping) -> None:
    """The server's end is gone, and nobody tells the client."""
    proxy.half_open()


def swallow_acks(proxy: ChaosProxy, client: Shipping) -> None:
    """All acks are lost for longer than the ack timeout; data goes on."""
    failed = client.counters.reconnects
    proxy.swallow_acks()
    proxy.flow(DOWN)
    wait_until(lambda: client.is_over or client.counters.reconnects > failed, "the client gives the connection up")
    proxy.swallow_acks(False)


def delay_acks(proxy: ChaosProxy, client: Shipping) -> None:
    """Acks are slow: nothing breaks, and nothing may be sent twice."""
    proxy.delay_acks(0.02)
    wait_until(lambda: client.is_over or proxy.happened.delays >= 3, "acks are late")


FORMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "gzip": {"compress": True, "batch_size": 50},
    "exactly once": {"ack": "auto"},
}

Fault = Callable[[ChaosProxy, Shipping], None]

# What is armed before the client starts, because it must hit an exact moment; and the counter that proves the fault.
ARMED: dict[Fault, Callable[[ChaosProxy], None]] = {
    reset_while_sending: lambda proxy: proxy.reset_after(SOME_BYTES, UP, times=4),
    lose_acks: lambda proxy: proxy.lose_next_ack(times=4),
    delay_acks: lambda proxy: proxy.delay_acks(0.02),
}
PROOF: dict[Fault, Callable[[Happened], int]] = {
    cut: lambda happened: happened.cuts,
    reset_while_sending: lambda happened: happened.resets,
    lose_acks: lambda happened: happened.resets,
    stall_up: lambda happened: happened.stalls,
    stall_down: lambda happened: happened.stalls,
    half_open: lambda happened: happened.half_opened,
    swallow_acks: lambda happened: happened.bytes_swallowed,
    delay_acks: lambda happened: happened.delays,
}

# What only the ack timeout can find out. It is short, so that the tests are; long enough for an honest ack on a busy
# machine, so that the client gives up no connection but the broken one over and over.
SILENT: frozenset[Fault] = frozenset({stall_up, stall_down, half_open, swallow_acks})
SILENCE_S = 0.6


@pytest.mark.parametrize("mode", ["batch", "continuous"])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("resilient", [False, True], ids=["basic", "resilient"])
@pytest.mark.parametrize("fault", list(PROOF), ids=[fault.__name__ for fault in PROOF])
def test_every_line_survives(tmp_path: Path, fault: Fault, resilient: bool, form: dict[str, Any], mode: str) -> None:
    """Rules C2, C5 and E15."""
    log = append(tmp_path / "app.log", range(LINES // 2 if mode == "continuous" else LINES))
    settings = {"resilient": resilient, "mode": mode, "max_attempts": 0, **form}
    settings["ack_timeout"] = SILENCE_S if fault in SILENT else 5.0
    with running_server(tmp_path) as server, chaos_proxy(server.port) as proxy:
        if fault in ARMED:
            ARMED[fault](proxy)
        else:
            proxy.stall(DOWN)  # so that the client cannot be done before the fault comes
        with shipping(log, proxy.port, **settings) as client:
            if fault not in ARMED:
                wait_until(lambda: proxy.happened.bytes_up > 100, "it has begun")
            fault(proxy, client)
            proxy.flow(DOWN)
            if mode == "continuous":
                append(log, range(LINES // 2, LINES))
                client.wait_for_acks(LINES)
                client.request_stop()
            assert client.result().problems == ()
        happened, counters = proxy.happened, client.counters
        assert PROOF[fault](happened) > 0, happened
        assert counters.lines_acked == counters.lines_read == LINES
        allowed = 0 if "ack" in form else counters.lines_retried
        assert_conserved(range(LINES), server.stored_lines(), retried=allowed)
        assert (counters.reconnects > 0) == (fault is not delay_acks)


def test_repeats_are_exactly_what_was_stored_and_not_acked(tmp_path: Path) -> None:
    """One connection, all acks lost: each line is stored once by it, and once by the next one."""
    log = append(tmp_path / "app.log", range(500))
    with running_server(tmp_path) as server, chaos_proxy(server.port) as proxy:
        proxy.swallow_acks()
        with shipping(log, proxy.port, ack_timeout=0.3, max_attempts=0) as client:
            wait_until(lambda: server.stats.lines_stored == 500, "all is stored")
            wait_until(lambda: client.counters.reconnects > 0, "the client gives the connection up")
            proxy.swallow_acks(False)
            client.result()
        found = conservation(range(500), server.stored_lines())
        assert found.repeated == client.counters.lines_retried
        assert found.repeated % 500 == 0
        assert found.repeated > 0
        assert_conserved(range(500), server.stored_lines(), retried=client.counters.lines_retried)


@pytest.mark.parametrize("resilient", [False, True], ids=["basic", "resilient"])
def test_a_server_that_comes_late_gets_everything(tmp_path: Path, resilient: bool) -> None:
    log = append(tmp_path / "app.log", range(1000))
    with running_server(tmp_path) as server, chaos_proxy(server.port) as proxy:
        proxy.refuse()
        with shipping(log, proxy.port, resilient=resilient, max_attempts=0) as client:
            wait_until(lambda: client.counters.reconnects >= 2, "it has tried more than once")
            proxy.refuse(False)
            client.result()
        assert proxy.happened.refused >= 2
        assert_conserved(range(1000), server.stored_lines(), retried=client.counters.lines_retried)


def test_two_clients_share_a_network_and_each_keeps_its_order(tmp_path: Path) -> None:
    logs = [append(tmp_path / f"{name}.log", range(start, start + LINES)) for name, start in (("a", 0), ("b", LINES))]
    with running_server(tmp_path) as server, chaos_proxy(server.port) as proxy:
        proxy.reset_after(SOME_BYTES, UP, times=6)
        with (
            shipping(logs[0], proxy.port, max_attempts=0) as first,
            shipping(logs[1], proxy.port, max_attempts=0, compress=True, batch_size=50) as second,
        ):
            first.result()
            second.result()
        assert proxy.happened.resets >= 6
        for client, start in ((first, 0), (second, LINES)):
            numbers = range(start, start + LINES)
            own = set(map(numbered_line, numbers))
            mine = [line for line in server.stored_lines() if line in own]
            assert_conserved(numbers, mine, retried=client.counters.lines_retried)
        assert server.stats.lines_rejected <= 6  # beginnings of lines and frames that a reset cut off
