"""Builds the output that a client's settings ask for.

Outputs are imported when they are chosen: a client starts without the modules of the others.
"""

from logferry.client.delivery.output import Output
from logferry.client.delivery.outputs.establish import Dial, KnownServers
from logferry.client.delivery.outputs.server_output import ServerOutput
from logferry.client.delivery.resume import StoredRanges
from logferry.client.net.connect import connect
from logferry.client.net.readiness import Wait
from logferry.client.net.steps import Steps
from logferry.client.net.transport import Transport
from logferry.config import ShipSettings


def output_for(settings: ShipSettings, servers: KnownServers) -> Output:
    """Return the output to the server of `settings`, by `--ack`."""
    server = f"{settings.server_host}:{settings.server_port}"
    dial = _dialing(settings)
    match settings.ack:
        case "none":
            from logferry.client.delivery.outputs import unacknowledged

            return ServerOutput(server, lambda: unacknowledged.establish(dial, settings))
        case "line":
            from logferry.client.delivery.outputs import line_acks

            return ServerOutput(server, line_acks.LineAckEstablish(dial, settings))
        case _:
            from logferry.client.delivery.outputs.auto import AutoEstablish

            return ServerOutput(server, AutoEstablish(dial, settings, servers, server=server))


def stored_extents(settings: ShipSettings, client_id: str, source_id: str, *, wait: Wait) -> StoredRanges:
    """Ask the server of `settings` what it holds of a source, on a connection of its own beside the output's.

    Raises DeliveryError.
    """
    from logferry.client.net.reports import ReportClient

    with ReportClient.for_server_of(settings, client_id, wait=wait) as reports:
        pages = list(reports.report(source_id))
        recorded = reports.losses(pages[0])
    losses = sorted((*recorded.lost, *recorded.skipped))
    return StoredRanges([extent for page in pages for extent in page.extents], losses)


def _dialing(settings: ShipSettings) -> Dial:
    def dial() -> Steps[Transport]:
        return connect(settings.server_host, settings.server_port, timeout_s=settings.connect_timeout)

    return dial
