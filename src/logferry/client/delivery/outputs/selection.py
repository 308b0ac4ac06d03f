"""Builds the output that a client's settings ask for.

Outputs are imported when they are chosen: a client starts without the modules of the others.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from logferry.client.delivery.output import Output
from logferry.client.delivery.outputs.establish import Dial, Establish, KnownServers
from logferry.client.delivery.outputs.server_output import ServerOutput
from logferry.client.delivery.positions.resume import StoredRanges
from logferry.client.delivery.servers.server_choice import ServerChoice
from logferry.client.net.connecting.connect import dial
from logferry.client.net.connecting.endpoint import Endpoint
from logferry.client.net.waiting.readiness import Wait
from logferry.client.net.waiting.steps import Steps
from logferry.client.state.checkpoints import Checkpoints
from logferry.config import ShipSettings

# With several servers, the client leaves one that is silent for this long while it owes an answer, and one whose
# addresses do not answer in time: lines flow again within half a minute. A server sends a heartbeat every few seconds.
_SILENCE_S: Final = 12.0
_DIAL_S: Final = 10.0


def output_for(
    endpoint: Endpoint, settings: ShipSettings, servers: KnownServers, *, most_s: float = math.inf
) -> ServerOutput:
    """Return the output to a server, by `--ack`; all its addresses together have `most_s` to answer."""
    server = str(endpoint)
    dial_server: Dial = partial(dial, endpoint, timeout_s=settings.connect_timeout, most_s=most_s)
    output: Callable[[str, Establish], ServerOutput] = ServerOutput
    if settings.max_bytes_per_second:
        from logferry.client.delivery.outputs import pacing

        bucket = pacing.TokenBucket(settings.max_bytes_per_second)
        dial_server = pacing.paced(dial_server, bucket)
        output = partial(pacing.PacedOutput, bucket=bucket)
    match settings.ack:
        case "none":
            from logferry.client.delivery.outputs import unacknowledged

            return output(server, lambda: unacknowledged.establish(dial_server, settings))
        case "line":
            from logferry.client.delivery.outputs import line_acks

            return output(server, line_acks.LineAckEstablish(dial_server, settings))
        case _:
            from logferry.client.delivery.outputs.auto import AutoEstablish

            return output(server, AutoEstablish(dial_server, settings, servers, server=server))


def output_for_several(
    endpoints: Sequence[Endpoint], settings: ShipSettings, checkpoints: Checkpoints, choice: ServerChoice
) -> Output:
    """Return the output to one of several servers, which are in the order of the choice.

    None of them may keep the others waiting: each must show signs of life sooner than a single server must.
    """
    from logferry.client.delivery.outputs.several import SeveralServersOutput
    from logferry.client.net.conversation.probing import examined, lacking

    def check(endpoint: Endpoint) -> Steps[int]:
        store = checkpoints.store_of(str(endpoint))
        expected = checkpoints.acked_by(store) if store else []
        return (yield from lacking(endpoint, hurried, checkpoints.client_id, store, expected)) if expected else 0

    hurried = replace(settings, ack_timeout=min(settings.ack_timeout, _SILENCE_S))
    outputs = [output_for(endpoint, hurried, checkpoints, most_s=_DIAL_S) for endpoint in endpoints]
    probes = [partial(examined, endpoint, hurried, checkpoints.client_id) for endpoint in endpoints]
    can_send_again = settings.mode == "continuous" and settings.ack == "auto"
    checks = [partial(check, endpoint) for endpoint in endpoints] if can_send_again else []
    return SeveralServersOutput(outputs, probes, choice, checks=checks)


def stored_extents(
    present: Callable[[], Endpoint], settings: ShipSettings, client_id: str, source_id: str, *, wait: Wait
) -> StoredRanges:
    """Ask the present server what it holds of a source, on a connection of its own beside the output's.

    Raises DeliveryError.
    """
    from logferry.client.net.conversation.reports import ReportClient

    with ReportClient.connected_to(present(), settings, client_id, wait=wait) as reports:
        pages = list(reports.report(source_id))
        recorded = reports.losses(pages[0])
    losses = sorted((*recorded.lost, *recorded.skipped))
    return StoredRanges([extent for page in pages for extent in page.extents], losses)
