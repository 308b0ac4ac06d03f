"""The delivery extension: turns requests into deliveries for the store, and outcomes into answers.

This module must never judge offsets: the store does, in the order in which it stores everything (admission.py).
"""

import hashlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from logferry.protocol.delivery.server import DeliveryServerProtocol
from logferry.protocol.messages.answers import BatchRefused, Position
from logferry.protocol.messages.client_state import FileVerdict
from logferry.protocol.messages.features import HEAL, SERVER_FEATURES
from logferry.protocol.messages.repairs import notice_line
from logferry.protocol.messages.requests import (
    Auth,
    BatchRequest,
    Content,
    Damaged,
    End,
    Hello,
    Locate,
    Losses,
    Note,
    Open,
    Ping,
    Repair,
    Report,
    Request,
    Skip,
    SourcesOf,
    Violation,
    Window,
)
from logferry.protocol.messages.writing import MAX_SOURCES, VERSION, answer_line, denial_line
from logferry.protocol.plain.acks import error_ack
from logferry.server.clients.identities.authenticator import Credentials, Denied, TokenWanted, owner_of
from logferry.server.clients.memory.flow_control import SOURCE_BYTES
from logferry.server.clients.sessions.base import (
    NOTHING,
    Answers,
    Channel,
    ClientDelivery,
    SessionOver,
    SessionTerms,
    Turn,
)
from logferry.server.clients.sessions.outcomes import Outcomes
from logferry.server.storage.deliveries import ReleaseSources, SourceRequest
from logferry.server.storage.log_names import NO_LOG
from logferry.server.storage.owners import of_client

# Roughly what a request without lines costs in memory.
_OVERHEAD_BYTES: Final = 2048

# Of a path, as a string in memory: a position that is kept in memory has one. Longer paths end with their hash.
_MAX_PATH_BYTES: Final = 1024
_HASH_CHARS: Final = 16

# The store decides where it keeps the lines of a source.

_NO_TOKEN: Final = Denied("it has no token (--token-file), and this server wants one", "no token")


class DeliverySession(SessionOver[DeliveryServerProtocol]):
    """Batches of sources, each answered with its source's position. `number` is unique among connections."""

    protocol = "delivery"
    expects_signs_of_life = True
    answers_on_receipt = False  # a reported position must hold after a restart, whatever the durability

    def __init__(self, channel: Channel, number: int, *, terms: SessionTerms) -> None:
        protocol = DeliveryServerProtocol(
            max_batch_bytes=terms.max_batch_bytes, max_inflated_bytes=terms.limits.max_inflated_bytes
        )
        super().__init__(protocol)
        self._channel = channel
        self._number = number
        self._terms = terms
        self._hello: Credentials | None = None  # of an admitted client
        self._awaits_token: Hello | None = None  # the hello of a client that must prove its identity
        self._owner = of_client("")  # of the sources that this client creates; only its sources are open to it
        self._outcomes = Outcomes(durability=terms.durability)
        self._takes_notices = False

    @property
    def open_sources(self) -> int:
        """See Session; likewise below."""
        return len(self._protocol.sources)

    def take(self, data: bytes) -> Turn:
        return self._take_requests(self._protocol.receive_data(data))

    def hold(self, data: bytes) -> None:
        self._protocol.hold_data(data)

    @property
    def work(self) -> float:
        return self._protocol.step.used

    def take_more(self) -> Turn:
        return self._take_requests(self._protocol.next_requests())

    def _take_requests(self, requests: Iterable[Request]) -> Turn:
        deliveries: list[ClientDelivery] = []
        for request in requests:
            problem = self._take_request(request, deliveries)
            if problem:
                self._channel.record.note_rejected(problem)
                last = self._delivery(None, b"")
                last.answers = [(error_ack(problem), 1)]  # after the answers to all that came before it
                return Turn([*deliveries, last], is_broken=True)
            if not self._hello and not self._awaits_token:  # denied: rule A7
                return Turn([], is_broken=True)
            if isinstance(request, End):
                return Turn(deliveries, has_ended=True)
        return Turn(deliveries)

    def take_end(self) -> Turn:
        self.discard()  # an incomplete batch is not stored; the client will resend it
        return NOTHING

    def stored(self, delivery: ClientDelivery) -> int:
        self._outcomes.add(delivery)
        request = delivery.source_request
        if request is None:
            return 0
        if isinstance(request.outcome, BatchRefused):
            if isinstance(request.message, Open):
                self._channel.record.note_rejected(request.outcome.reason)
            return 0
        if not isinstance(request.message, BatchRequest):
            self._note(request)
        return delivery.lines

    def _note(self, request: SourceRequest) -> None:
        """Log what an operator should know about a file."""
        message, outcome = request.message, request.outcome
        match message:
            case Open() if isinstance(outcome, Position) and outcome.committed > message.known:
                self._channel.record.note_repeat(message.path, message.known, outcome.committed)
            case Skip(lost=False):
                pass
            case Skip() | Note() if request.path is not None:
                self._channel.record.note_loss(request.path, message)
            case Window() if request.path is not None:
                self._channel.record.note_window(request.path, message)

    def take_answers(self) -> Answers:
        return self._outcomes.take_answers()

    def discard(self) -> None:
        self._protocol.discard()

    def leave(self) -> ClientDelivery | None:
        if self._awaits_token:  # a client without --token-file ends the connection when it is asked for its token
            self._channel.record.identified(_NO_TOKEN, host=self._awaits_token.host, protocol=self.protocol)
            self._awaits_token = None
        if not self._hello or not self._protocol.sources:
            return None
        farewell = self._delivery(self._source_request(ReleaseSources(tuple(self._protocol.sources))), b"")
        farewell.overhead += len(self._protocol.sources) * SOURCE_BYTES
        self._protocol.sources = {}
        return farewell

    def notify_damage(self, sources: Mapping[str, Sequence[str]]) -> None:
        if not self._hello or not self._takes_notices:
            return
        for owner in self._owner.names:
            for source in sources.get(owner, ()):
                self._channel.answer_now(notice_line(self._owner.own_id(source)))

    def _take_request(self, request: Request, deliveries: list[ClientDelivery]) -> str | None:
        """Act on a request; return what is wrong with the request if it breaks the rules."""
        if isinstance(request, Violation):
            return request.reason
        if self._awaits_token and not isinstance(request, Auth):
            return "not authorised: this server wants a token (--token-file)"
        if isinstance(request, Hello) != (self._hello is None and self._awaits_token is None):
            return "the first control line, and no other, is a hello"
        match request:
            case Hello():
                self._take_hello(request)
            case Auth() if self._awaits_token:
                hello, self._awaits_token = self._awaits_token, None
                self._take_hello(hello, token=request.token)
            case Auth():
                return "a token that the server has not asked for"
            case Ping():
                if request.state:
                    self._channel.record.note_state(self._owner.name, request.state)
                self._channel.send_sign_of_life()
            case FileVerdict():
                verdict = replace(request, path=kept_path(request.path))
                self._channel.record.note_verdict(self._owner.name, verdict)
                self._channel.answer_now(answer_line("verdict"))
            case SourcesOf():
                return self._channel.ask(replace(request, path=kept_path(request.path)), self._owner)
            case Report() | Losses() | Locate() | Content() | Damaged() | Repair():
                return self._channel.ask(request, self._owner)
            case Open():
                return self._take_open(request, deliveries)
            case BatchRequest() | Skip() | Note() | Window():
                deliveries.append(self._source_delivery(request))
        return None

    def _take_hello(self, hello: Hello, *, token: str | None = None) -> None:
        """Authenticate the client and welcome it. For a denied client, `_hello` stays None."""
        credentials = Credentials(hello.client, hello.host, token)
        principal = self._channel.identify(credentials)
        if isinstance(principal, Denied):
            self._channel.answer_now(denial_line(principal.reason))
            return
        if isinstance(principal, TokenWanted):
            self._awaits_token = hello
            self._answer_hello(auth="token")
            return
        self._hello, self._owner = replace(credentials, token=None), owner_of(principal, credentials)
        self._answer_hello(
            max_sources=min(MAX_SOURCES, principal.max_sources or MAX_SOURCES),
            store=self._terms.store_id,
            features=SERVER_FEATURES,
        )
        self._takes_notices = HEAL in hello.features
        if self._takes_notices:
            self.notify_damage({owner: self._channel.damaged_sources(owner) for owner in self._owner.names})

    def _answer_hello(self, **more: object) -> None:
        limits = {"max_batch_bytes": self._terms.max_batch_bytes, "durability": self._terms.durability}
        self._channel.answer_now(answer_line("hello", version=VERSION, encodings=["gzip"], **limits, **more))

    def _take_open(self, request: Open, deliveries: list[ClientDelivery]) -> str | None:
        if not self._protocol.sources[request.source] and (problem := self._channel.take_source()):
            return problem
        self._protocol.sources[request.source] = True
        request = replace(request, path=kept_path(request.path))
        delivery = self._delivery(self._source_request(request), b"")
        delivery.overhead += sys.getsizeof(request.path)
        deliveries.append(delivery)
        return None

    def _source_delivery(self, request: BatchRequest | Skip | Note | Window) -> ClientDelivery:
        if isinstance(request, BatchRequest):
            if request.refusal and request.lines == 1:  # the client resends a larger batch line by line
                self._channel.record.note_rejected(request.refusal)
            delivery = self._delivery(self._source_request(request), request.payload, request.lines)
            delivery.times = request.times
            return delivery
        return self._delivery(self._source_request(request), b"")

    def _source_request(self, message: Open | BatchRequest | Skip | Note | Window | ReleaseSources) -> SourceRequest:
        assert self._hello
        return SourceRequest(message, self._number, self._owner, self._hello.host)

    def _delivery(self, source_request: SourceRequest | None, payload: bytes, lines: int = 0) -> ClientDelivery:
        pieces = [payload] if payload else []
        return ClientDelivery(
            *(NO_LOG, pieces, lines, len(payload), self._channel, []),
            overhead=_OVERHEAD_BYTES,
            source_request=source_request,
        )


def kept_path(path: str) -> str:
    """Return `path` as the server keeps it; a long path is cut, and ends with a hash so that it differs from others."""
    if sys.getsizeof(path) <= _MAX_PATH_BYTES:
        return path
    kept = path[: _MAX_PATH_BYTES - _HASH_CHARS - 1]
    while sys.getsizeof(kept) > _MAX_PATH_BYTES - _HASH_CHARS * 4:
        kept = kept[: len(kept) * 3 // 4]
    return f"{kept}~{hashlib.blake2b(path.encode(), digest_size=_HASH_CHARS // 2).hexdigest()}"
