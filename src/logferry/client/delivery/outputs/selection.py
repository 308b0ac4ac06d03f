"""Builds the output that a client's settings ask for.

Outputs are imported when they are chosen: a client starts without the modules of the others.
"""

from collections.abc import Callable
from functools import partial

from logferry.client.delivery.output import Output
from logferry.client.delivery.outputs.establish import Dial, Establish, KnownServers
from logferry.client.delivery.outputs.server_output import ServerOutput
from logferry.client.delivery.resume import StoredRanges
from logferry.client.net.connect import dial
from logferry.client.net.endpoint import Endpoint
from logferry.client.net.readiness import Wait
from logferry.config import ShipSettings


def output_for(endpoint: Endpoint, settings: ShipSettings, servers: KnownServers) -> Output:
    """Return the output to a server, by `--ack`."""
    server = str(endpoint)
    dial_server: Dial = partial(dial, endpoint, timeout_s=settings.connect_timeout)
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


def stored_extents(
    endpoint: Endpoint, settings: ShipSettings, client_id: str, source_id: str, *, wait: Wait
) -> StoredRanges:
    """Ask a server what it holds of a source, on a connection of its own beside the output's.

    Raises DeliveryError.
    """
    from logferry.client.net.reports import ReportClient

    with ReportClient.connected_to(endpoint, settings, client_id, wait=wait) as reports:
        pages = list(reports.report(source_id))
        recorded = reports.losses(pages[0])
    losses = sorted((*recorded.lost, *recorded.skipped))
    return StoredRanges([extent for page in pages for extent in page.extents], losses)
