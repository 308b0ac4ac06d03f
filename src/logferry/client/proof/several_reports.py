"""Asks all servers of a client what they have of a source, and returns the union as if one server had it.

Owns what the union is: extents of all servers, and as lost whatever no server has although one says that another has
it. docs/protocol.md, rule E41. Must never hide that a server could not be asked.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from logferry import checksum
from logferry.client.net.connecting.endpoint import Endpoint
from logferry.client.net.conversation.reports import ReportClient, SourceLosses
from logferry.client.proof.proof_source import ProofSource
from logferry.client.state.checkpoints import Checkpoints
from logferry.config import RepairSettings, ShipSettings
from logferry.errors import DeliveryError
from logferry.protocol.messages.client_state import FileVerdict
from logferry.protocol.messages.elsewhere import store_of
from logferry.protocol.messages.reports import Extent, NamedSource, RecordedLoss, ReportPage

Span = tuple[int, int]
_Pages = Sequence[tuple[ReportClient, Sequence[ReportPage]]]


class SeveralReports:
    """See ProofSource."""

    store = ""

    def __init__(
        self, clients: Sequence[ReportClient], problems: Sequence[str] = (), servers: dict[str, str] | None = None
    ) -> None:
        """`servers` says which server had which store, by the id of the store, as far as this client knows."""
        self.clients = clients
        self.problems = problems
        self._servers = {**(servers or {}), **{client.store: client.server for client in clients}}
        self._of_segment: dict[str, ReportClient] = {}  # by the segments of the last report
        self._losses: dict[str, SourceLosses] = {}  # of the last report
        self._foreign: set[str] = set()  # sources that belong to other clients on all servers that know them

    @property
    def can_heal(self) -> bool:
        """See ProofSource."""
        return all(client.can_heal for client in self.clients)

    def report(self, source_id: str) -> Iterator[ReportPage]:
        """See ProofSource. Everything is in one page."""
        reports = [(client, list(client.report(source_id))) for client in self.clients]
        known = self._of_this_client(source_id, [each for each in reports if each[1][0].is_known])
        self._of_segment = {}
        extents = sorted(self._extents(known), key=lambda extent: (extent.start, extent.end))
        losses = self._union_of_losses([(pages[0], client.losses(pages[0])) for client, pages in known], extents)
        self._losses = {source_id: losses}
        counted = [(client.store, pages[0].lines, pages[0].crc32) for client, pages in known]
        yield ReportPage(
            source=source_id,
            is_known=bool(known),
            committed=max((pages[0].committed for _, pages in known), default=0),
            lines=sum(pages[0].lines for _, pages in known),
            crc32=counted[0][2] if len(counted) == 1 else checksum.crc32(repr(counted).encode()),
            extents=tuple(extents),
            losses=(*losses.lost, *losses.skipped),
            has_more=False,
            windows=tuple(losses.windows),
            skipped=tuple((loss.start, loss.end) for loss in losses.skipped),
        )

    def is_foreign(self, source_id: str) -> bool:
        """See ProofSource. Only of a source whose report was asked for: the report has the servers where it is not."""
        return source_id in self._foreign

    def _of_this_client(self, source_id: str, known: _Pages) -> _Pages:
        """Leave out servers where a source belongs to another client, unless it does on all of them."""
        own = [(client, pages) for client, pages in known if not client.is_foreign(source_id)]
        if known and not own:
            self._foreign.add(source_id)
        return own or known

    def losses(self, report: ReportPage) -> SourceLosses:
        """See ProofSource. Only of the last report."""
        return self._losses[report.source]

    def sources_of(self, path: str) -> Iterator[NamedSource]:
        """See ProofSource."""
        found: dict[str, NamedSource] = {}
        for source in (source for client in self.clients for source in client.sources_of(path)):
            other = found.setdefault(source.source, source)
            if other is not source:
                found[source.source] = NamedSource(
                    source.source,
                    max(other.committed, source.committed),
                    other.lines + source.lines,
                    min(other.opened_at, source.opened_at),
                )
        yield from (found[source_id] for source_id in sorted(found))

    def content_of(self, source_id: str, extent: Extent) -> Iterator[bytes]:
        """See ProofSource. As the server has it whose extent that is."""
        return self._of_segment[extent.segment].content(source_id, extent.start)

    def server_of(self, extent: Extent) -> str:
        """See ProofSource."""
        return self._of_segment[extent.segment].server

    def explained(self, elsewhere: Sequence[RecordedLoss]) -> Sequence[RecordedLoss]:
        """See ProofSource."""
        return [loss._replace(reason=self._explained(loss.reason)) for loss in elsewhere]

    def send_verdict(self, verdict: FileVerdict) -> None:
        """See ProofSource. Every server gets it."""
        for client in self.clients:
            client.send_verdict(verdict)

    def _explained(self, reason: str) -> str:
        server = self._servers.get(store_of(reason))
        if server is None:
            return f"{reason}, which none of the servers has"
        is_asked = any(client.server == server for client in self.clients)
        return f"{server} had it, and has it no more" if is_asked else f"{server} has it, and could not be asked"

    def _extents(self, known: Iterable[tuple[ReportClient, Iterable[ReportPage]]]) -> Iterator[Extent]:
        """Yield the extents of all servers; those of one store once, although it has several names."""
        seen: set[tuple[str, Extent]] = set()
        for client, extent in (
            (client, extent) for client, pages in known for page in pages for extent in page.extents
        ):
            if client.store and (client.store, extent) in seen:
                continue
            seen.add((client.store, extent))
            segment = f"{client.server}: {extent.segment}"
            self._of_segment[segment] = client
            yield extent._replace(segment=segment)

    @staticmethod
    def _union_of_losses(known: Sequence[tuple[ReportPage, SourceLosses]], extents: Sequence[Extent]) -> SourceLosses:
        """Return what is lost, or skipped, of all that servers know of a source."""
        union, elsewhere, there = SourceLosses(), list[RecordedLoss](), list[Span]()
        for page, found in known:
            own = [loss for loss in found.skipped if store_of(loss.reason)]
            elsewhere += own
            there += _Covered((loss.start, loss.end) for loss in own).rest_of(0, page.committed)
            union.skipped += [loss for loss in found.skipped if not store_of(loss.reason)]
            union.windows += found.windows
            union.problem = union.problem or found.problem
        stored = _Covered((extent.start, extent.end) for extent in extents if extent.state == "ok")
        for _, found in known:
            union.lost += [loss for loss in found.lost if stored.rest_of(loss.start, loss.end)]
        somewhere = _Covered(there)
        nowhere = dict.fromkeys(
            RecordedLoss(*span, loss.reason) for loss in elsewhere for span in somewhere.rest_of(loss.start, loss.end)
        )
        union.lost = sorted({*union.lost, *nowhere})
        union.skipped = sorted({*union.skipped})
        union.windows = sorted({*union.windows})
        return union


class _Covered:
    """The bytes that some ranges cover together. A server may name 100,000 of them: each question takes a bisection."""

    def __init__(self, spans: Iterable[Span]) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        for start, end in sorted(spans):
            if self._ends and start <= self._ends[-1]:
                self._ends[-1] = max(self._ends[-1], end)
            else:
                self._starts.append(start)
                self._ends.append(end)

    def rest_of(self, start: int, end: int) -> list[Span]:
        """Return what of a range is not covered."""
        rest, index = [], bisect_right(self._ends, start)
        while start < end and index < len(self._starts) and self._starts[index] < end:
            if start < self._starts[index]:
                rest.append((start, self._starts[index]))
            start = self._ends[index]
            index += 1
        return [*rest, (start, end)] if start < end else rest


@contextmanager
def asking_all(settings: ShipSettings | RepairSettings, checkpoints: Checkpoints) -> Iterator[ProofSource]:
    """Give a connection to each server of these settings that answers, for the length of a `with`.

    Raises DeliveryError if none of them does.
    """
    endpoints = Endpoint.all_of(settings)
    with ExitStack() as stack:
        clients: list[ReportClient] = []
        failures: dict[str, DeliveryError] = {}
        for endpoint in endpoints:
            connecting = ReportClient.connected_to(endpoint, settings, checkpoints.client_id)
            try:
                clients.append(stack.enter_context(connecting))
            except DeliveryError as error:
                failures[str(endpoint)] = error
        if not clients:
            raise next(iter(failures.values()))
        if len(endpoints) == 1:
            yield clients[0]
            return
        problems = [f"{server} could not be asked: {error}" for server, error in failures.items()]
        servers = {checkpoints.store_of(str(endpoint)): str(endpoint) for endpoint in endpoints}
        yield SeveralReports(clients, problems, servers)
