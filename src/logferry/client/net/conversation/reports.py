"""Asking a server what it has stored of a source, on a connection separate from any delivery."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final, Self

from logferry.client.net.connecting.connect import dial
from logferry.client.net.connecting.endpoint import Endpoint
from logferry.client.net.conversation.hello import ask, greet
from logferry.client.net.conversation.pages import Pages
from logferry.client.net.transports.transport import Transport
from logferry.client.net.waiting.readiness import Wait, poll
from logferry.client.net.waiting.steps import Steps, run
from logferry.config import RepairSettings, ShipSettings
from logferry.errors import NotALogServer, ProtocolError, QuestionRefused
from logferry.names import text_of_name
from logferry.protocol.delivery.client import DeliveryClientProtocol
from logferry.protocol.messages.answers import Answer, Failed, InvalidAnswer, VerdictNoted, Welcome
from logferry.protocol.messages.client_state import FileVerdict
from logferry.protocol.messages.features import HEAL, LOSSES, SOURCES, STATUS
from logferry.protocol.messages.repairs import (
    CONTENT_BYTES,
    EXTENT_BYTES,
    MAX_REPAIR_BYTES,
    DamagedExtent,
    DamagePage,
    RepairOutcome,
    StoredContent,
)
from logferry.protocol.messages.reports import (
    Extent,
    LossPage,
    NamedSource,
    RecordedLoss,
    RecordedWindow,
    RecordPlace,
    ReportPage,
    SourcesPage,
)
from logferry.protocol.messages.writing import FOREIGN, control_line

# At most this many losses and windows of one source are listed: nobody reads further.
_MAX_LISTED: Final = 100_000


@dataclass(slots=True)
class SourceLosses:
    """The losses and windows that a server has recorded of a source; `problem` says what is not listed."""

    lost: list[RecordedLoss] = field(default_factory=list)
    skipped: list[RecordedLoss] = field(default_factory=list)  # not asked for, or stored elsewhere
    windows: list[RecordedWindow] = field(default_factory=list)
    problem: str = ""

    def __len__(self) -> int:
        return len(self.lost) + len(self.skipped) + len(self.windows)

    def add(self, page: LossPage) -> None:
        """Add a page."""
        self.lost += page.lost
        self.skipped += page.skipped
        self.windows += page.windows


class ReportClient:
    """A connection for requests. Every method raises DeliveryError if the server does not answer."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        client_id: str,
        client_host: str,
        token_file: Path | None = None,
        connect_timeout_s: float,
        answer_timeout_s: float,
        wait: Wait = poll,
    ) -> None:
        """`client_id` is what the state folder says: only its sources' lines may be read and repaired.

        `client_host` is this client's name; `wait` lets callers do other things meanwhile.
        """
        self.server = str(endpoint)
        self.problems: Sequence[str] = ()  # see ProofSource
        self._client_id = client_id
        self._client_host = client_host
        self._token_file = token_file
        self._answer_timeout_s = answer_timeout_s
        self._wait = wait
        self._protocol = DeliveryClientProtocol()
        self._transport: Transport = run(dial(endpoint, timeout_s=connect_timeout_s), wait=wait, clock=time.monotonic)
        try:
            answer = run(self._hello(), wait=wait, clock=time.monotonic)
            if not isinstance(answer, Welcome):
                raise ProtocolError(f"{endpoint} does not speak the delivery extension, so it cannot prove anything")
            self.store, self.features = answer.store, answer.features  # see Welcome
            self.max_repair_bytes = min(answer.max_batch_bytes + EXTENT_BYTES, MAX_REPAIR_BYTES)
        except NotALogServer as error:
            self.close()
            raise NotALogServer(error.what, str(endpoint)) from None
        except BaseException:
            self.close()
            raise

    @classmethod
    @contextmanager
    def connected_to(
        cls, endpoint: Endpoint, settings: ShipSettings | RepairSettings, client_id: str, *, wait: Wait = poll
    ) -> Iterator[Self]:
        """Give a connection for the length of a `with`, with the time limits of `settings`. Raises DeliveryError."""
        reports = cls(
            endpoint,
            client_id=client_id,
            client_host=settings.host,
            token_file=settings.token_file,
            connect_timeout_s=settings.connect_timeout,
            answer_timeout_s=settings.ack_timeout,
            wait=wait,
        )
        try:
            yield reports
        finally:
            reports.close()

    def report(self, source_id: str) -> Iterator[ReportPage]:
        """Yield everything that the server knows about a source, page by page."""
        pages, has_more = Pages("extents"), True
        while has_more:
            page = self._ask(control_line("report", source=source_id, after=pages.after))
            if not isinstance(page, ReportPage) or page.source != source_id:
                raise _mismatch(page, "a report request")
            has_more = pages.take_ranges(((each.start, each.end) for each in page.extents), has_more=page.has_more)
            yield page

    def losses(self, report: ReportPage) -> SourceLosses:
        """Return the losses and windows of a source, whose report begins with the page `report`."""
        if LOSSES not in self.features:
            skipped = [loss for loss in report.losses if loss not in report.lost]
            return SourceLosses(report.lost, skipped, list(report.windows))
        found = SourceLosses()
        place: RecordPlace | None = RecordPlace()
        while place is not None and len(found) <= _MAX_LISTED:
            page = self._ask(control_line("losses", source=report.source, first=place))
            if not isinstance(page, LossPage) or page.source != report.source:
                raise _mismatch(page, "a request for losses")
            listed = len(found)
            found.add(page)
            if page.next is not None and (page.next <= place or len(found) == listed):
                raise ProtocolError("the server has sent a page of losses that does not advance")
            place = page.next
        if place is not None:
            found.problem = f"the server has more losses of it than the {len(found)} that are listed"
        return found

    def sources_of(self, path: str) -> Iterator[NamedSource]:
        """Yield the sources of this client's host that had a path, by id; none if the server cannot tell."""
        pages, has_more = Pages("sources"), SOURCES in self.features
        while has_more:
            fields = {"host": self._client_host, "path": text_of_name(path), "after": pages.after_id}
            page = self._ask(control_line("sources", **fields))
            if not isinstance(page, SourcesPage):
                raise _mismatch(page, "a request for sources")
            has_more = pages.take_ids((each.source for each in page.sources), has_more=page.has_more)
            yield from page.sources

    def content(self, source_id: str, start: int) -> Iterator[bytes]:
        """Yield the bytes that the server has of the extent that begins at `start`, as they are on its disk now."""
        position = 0
        while position <= MAX_REPAIR_BYTES:
            fields = {"source": source_id, "start": start, "position": position, "bytes": CONTENT_BYTES}
            answer = self._ask(control_line("content", **fields))
            if not isinstance(answer, StoredContent) or answer[:3] != (source_id, start, position):
                raise _mismatch(answer, "a request for stored bytes")
            if not answer.data:
                return
            yield answer.data
            position += len(answer.data)
        raise ProtocolError(f"the server says that it has more than {MAX_REPAIR_BYTES} bytes of an extent")

    def content_of(self, source_id: str, extent: Extent) -> Iterator[bytes]:
        """See ProofSource."""
        return self.content(source_id, extent.start)

    def is_foreign(self, source_id: str) -> bool:
        """Whether the server has a source of this id that belongs to another client: only an owner sees its lines.

        Another client that has opened it may have sent anything, with the CRC-32 that everybody can ask for.
        """
        if not self.can_heal:
            return False
        try:
            self._ask(control_line("content", source=source_id, start=0, position=0, bytes=1))
        except QuestionRefused as error:
            return str(error).endswith(FOREIGN)
        return False

    def damaged(self, source_id: str) -> Iterator[DamagedExtent]:
        """Yield the extents of a source that the server knows to be damaged."""
        pages, has_more = Pages("damaged extents"), True
        while has_more:
            page = self._ask(control_line("damaged", source=source_id, after=pages.after))
            if not isinstance(page, DamagePage) or page.source != source_id:
                raise _mismatch(page, "a request for damaged extents")
            has_more = pages.take_ranges(((each.start, each.end) for each in page.extents), has_more=page.has_more)
            yield from page.extents

    def repair(self, source_id: str, extent: DamagedExtent, payload: bytes) -> RepairOutcome:
        """Send the NDJSON of a damaged extent; return what became of it."""
        fields = {"start": extent.start, "end": extent.end, "lines": extent.lines, "bytes": len(payload)}
        header = control_line("repair", source=source_id, **fields, encoding="identity", crc32=extent.crc32)
        outcome = self._ask(header + payload)
        if not isinstance(outcome, RepairOutcome) or (outcome.source, outcome.start) != (source_id, extent.start):
            raise _mismatch(outcome, "a repair")
        return outcome

    def send_verdict(self, verdict: FileVerdict) -> None:
        """Send what was found about a file, unless the server does not know verdicts."""
        if STATUS not in self.features:
            return
        fields = asdict(verdict)
        answer = self._ask(control_line("verdict", proven=fields.pop("is_proven"), **fields))
        if not isinstance(answer, VerdictNoted):
            raise _mismatch(answer, "a verdict")

    @property
    def clients(self) -> "Sequence[ReportClient]":
        """See ProofSource."""
        return (self,)

    def server_of(self, _: Extent) -> str:
        """See ProofSource."""
        return self.server

    def explained(self, elsewhere: Sequence[RecordedLoss]) -> Sequence[RecordedLoss]:
        """See ProofSource."""
        return elsewhere

    @property
    def can_heal(self) -> bool:
        """Whether the server shows stored bytes and accepts repairs."""
        return HEAL in self.features

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    def _hello(self) -> Steps[Answer]:
        return greet(
            self._transport,
            self._protocol,
            client_id=self._client_id,
            client_host=self._client_host,
            encodings=(),
            timeout_s=self._answer_timeout_s,
            token_file=self._token_file,
        )

    def _ask(self, question: bytes) -> Answer:
        steps = ask(self._transport, self._protocol, question, timeout_s=self._answer_timeout_s, what="a request")
        answer = run(steps, wait=self._wait, clock=time.monotonic)
        if isinstance(answer, Failed):
            raise QuestionRefused(f"the server answered: {answer.reason}")
        return answer


def _mismatch(answer: Answer, question: str) -> ProtocolError:
    """Return the error for an answer that belongs to something else."""
    what = answer.reason if isinstance(answer, InvalidAnswer) else f"a {type(answer).__name__}"
    return ProtocolError(f"the server's answer to {question} is something else: {what}")
