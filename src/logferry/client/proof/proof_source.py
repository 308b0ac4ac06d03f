"""The seam through which proofs ask what is stored: one server, or all servers of a client together."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from logferry.client.net.conversation.reports import ReportClient, SourceLosses
from logferry.protocol.messages.client_state import FileVerdict
from logferry.protocol.messages.reports import Extent, NamedSource, RecordedLoss, ReportPage


class ProofSource(Protocol):
    """What is stored of sources. Every method raises DeliveryError if a server does not answer."""

    @property
    def store(self) -> str:
        """The id of the store; "" if it is not known, or of several."""

    @property
    def clients(self) -> Sequence[ReportClient]:
        """The connections, one to each server that answers."""

    @property
    def problems(self) -> Sequence[str]:
        """A sentence for each server that could not be asked."""

    @property
    def can_heal(self) -> bool:
        """Whether stored bytes are shown and repairs accepted."""

    def report(self, source_id: str) -> Iterator[ReportPage]:
        """Yield everything that is known about a source, page by page."""

    def is_foreign(self, source_id: str) -> bool:
        """Whether what is known of a source belongs to another client, so that it proves nothing."""

    def losses(self, report: ReportPage) -> SourceLosses:
        """Return the losses and windows of a source, whose report begins with the page `report`."""

    def sources_of(self, path: str) -> Iterator[NamedSource]:
        """Yield the sources of this client's host that had a path, by id."""

    def content_of(self, source_id: str, extent: Extent) -> Iterator[bytes]:
        """Yield the stored bytes of an extent of the last report."""

    def server_of(self, extent: Extent) -> str:
        """Return the name of the server that has an extent of the last report."""

    def explained(self, elsewhere: Sequence[RecordedLoss]) -> Sequence[RecordedLoss]:
        """Return ranges that lie in other stores, with reasons that say which server that is, if it is known."""

    def send_verdict(self, verdict: FileVerdict) -> None:
        """Send what was found about a file."""
