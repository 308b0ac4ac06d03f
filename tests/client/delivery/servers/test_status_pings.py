"""When a client says how it is."""

from logferry.client.delivery.output import Connected, Guarantee, OutputLimits
from logferry.client.delivery.servers.status_pings import INTERVAL_S, StatusPings
from logferry.protocol.messages.client_state import ClientState
from logferry.protocol.messages.features import STATUS
from tests.support.memory_delivery import MemoryOutput, Time

STATE = ClientState("1.0", 1, 2, 3, 4, "a reason")


def connection(*features: str) -> Connected:
    return Connected("a:1", Guarantee.EXACTLY_ONCE, OutputLimits(), features=frozenset(features))


def test_a_client_pings_once_connected_and_then_every_minute() -> None:
    """Rule E38."""
    output, pings = MemoryOutput(Time()), StatusPings(lambda: STATE)
    pings.send_if_due(output, 0.0)
    assert output.pings == []
    pings.begin(connection(STATUS), 100.0)
    assert pings.next_timer == 100.0
    for now in (100.0, 101.0, 100.0 + INTERVAL_S):
        pings.send_if_due(output, now)
    assert output.pings == [STATE, STATE]
    pings.end()
    assert pings.next_timer is None
    pings.send_if_due(output, 1000.0)
    assert len(output.pings) == 2


def test_a_server_that_does_not_know_it_is_not_pinged() -> None:
    """Rule E38."""
    output, pings = MemoryOutput(Time()), StatusPings(lambda: STATE)
    pings.begin(connection("positions"), 100.0)
    pings.send_if_due(output, 1000.0)
    assert output.pings == []
