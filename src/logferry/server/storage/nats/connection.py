"""The connection to NATS: a `Wire` over the library nats-py, which this module alone imports, and only when it is used.

Owns the mapping of the library's errors and answers to those of `wire`. Answers come from other machines: they are
checked. Reconnecting is the library's; what was published meanwhile fails after a time, and is judged again.
"""

import asyncio
import base64
import contextlib
import json
import logging
import re
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from logferry.errors import StoreError
from logferry.printable import printable
from logferry.server.storage.nats.settings import NatsSettings
from logferry.server.storage.nats.wire import NO_MESSAGE, Message, NoAnswer, Refused
from logferry.telemetry.log_limits import RepeatLimit

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg

logger = logging.getLogger(__name__)

MISSING: Final = "a store on NATS needs nats-py, which is not installed: pip install 'logferry[nats]'"

# What the library holds back while the connection is down.
_PENDING_BYTES: Final = 64 * 1024 * 1024
_RECONNECT_S: Final = 0.25

# For all servers together, twice: with a certificate that is refused, the library tries for ever.
_CONNECT_S: Final = 10.0
_PING_S: Final = 10
_SILENT_S: Final = 1

# One request for a range returns at most this much, so that two of them fit into what the library buffers.
_RANGE_MESSAGES: Final = 256
_RANGE_BYTES: Final = 8 * 1024 * 1024

_API: Final = "$JS.API."


class NatsWire:
    """A connection. Made with `connect`."""

    def __init__(self, client: "Client", timeout_s: float) -> None:
        self._client = client
        self._timeout_s = timeout_s
        self._looking: asyncio.Task[None] | None = None

    @property
    def max_payload(self) -> int:
        """See Wire; likewise below."""
        return self._client.max_payload

    @property
    def server_version(self) -> tuple[int, int, int]:
        version = self._client.connected_server_version
        return version.major, version.minor, version.patch

    async def publish(
        self, subject: str, pieces: Sequence[bytes], headers: Mapping[str, str], *, stream: str, after: int
    ) -> int:
        payload = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        condition = {"Nats-Expected-Last-Subject-Sequence": str(after)}
        answer = _answer(await self._request(subject, payload, {**headers, **condition}))
        sequence = answer.get("seq")
        if not isinstance(sequence, int) or sequence <= after or answer.get("stream") != stream:
            raise NoAnswer("NATS answered with something else than an ack")
        return sequence

    async def api(self, operation: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        return _answer(await self._request(_API + operation, json.dumps(body).encode() if body else b"", None))

    async def last(self, stream: str, subject: str) -> Message | None:
        return await self._get(stream, {"last_by_subj": subject})

    async def following(self, stream: str, subject: str, sequence: int) -> Message | None:
        return await self._get(stream, {"seq": sequence, "next_by_subj": subject})

    async def last_of_any(self, stream: str, subject: str) -> Message | None:
        question = json.dumps({"last_by_subj": subject}).encode()
        found = await self._request(f"{_API}DIRECT.GET.{stream}", question, None)
        return None if _status(found) else _direct(found)

    async def last_of_many(self, stream: str, subjects: Sequence[str]) -> Mapping[str, Message | None]:
        question = {"multi_last": list(subjects), "max_bytes": _RANGE_BYTES, "batch": len(subjects)}
        found: dict[str, Message | None] = {}
        is_all = False
        async for message in self._answers(stream, question):
            if _status(message):
                is_all = _is_all(message)
            else:
                stored = _direct(message)
                found[stored.subject] = stored
        return dict.fromkeys(subjects) | found if is_all else found

    async def range(self, stream: str, subject: str, sequence: int) -> AsyncIterator[Message]:
        question = {"batch": _RANGE_MESSAGES, "max_bytes": _RANGE_BYTES, "seq": sequence, "next_by_subj": subject}
        async for message in self._answers(stream, question):
            if not _status(message):
                yield _direct(message)

    async def _answers(self, stream: str, question: Mapping[str, Any]) -> AsyncIterator["Msg"]:
        """Yield the answers to a direct get of several messages; the last one is not a message."""
        with _mapped_errors():
            inbox = self._client.new_inbox()
            subscription = await self._client.subscribe(inbox)
        try:
            with _mapped_errors():
                await self._client.publish(f"{_API}DIRECT.GET.{stream}", json.dumps(question).encode(), reply=inbox)
            while True:
                with _mapped_errors():
                    message = await subscription.next_msg(self._timeout_s)
                yield message
                if _status(message):
                    return
        finally:
            with contextlib.suppress(Exception):  # the connection may be down; then the subscription is over anyway
                await subscription.unsubscribe()

    async def close(self) -> None:
        with contextlib.suppress(Exception):  # whatever it is, the connection is over
            await asyncio.wait_for(self._client.close(), 1)

    async def _get(self, stream: str, question: Mapping[str, Any]) -> Message | None:
        try:
            answer = await self.api(f"STREAM.MSG.GET.{stream}", question)
        except Refused as refused:
            if refused.code == NO_MESSAGE:
                return None
            raise
        return _stored(answer.get("message"))

    async def _request(self, subject: str, payload: bytes, headers: dict[str, str] | None) -> "Msg":
        try:
            with _mapped_errors():
                return await self._client.request(subject, payload, timeout=self._timeout_s, headers=headers)
        except NoAnswer:
            if self._looking is None or self._looking.done():
                self._looking = asyncio.get_running_loop().create_task(self._leave_if_silent())
            raise

    async def _leave_if_silent(self) -> None:
        """Connect to another server if this one answers no ping: the library would wait for half a minute."""
        try:
            await self._client.flush(_SILENT_S)
        except Exception:  # whatever it is, this server is of no use
            logger.warning("the NATS server that is connected does not answer; trying another one")
            await self._client.force_reconnect()


async def connect(settings: NatsSettings) -> NatsWire:
    """Connect to one of the servers. Raises StoreError with a sentence that says what to do."""
    try:
        from nats.aio.client import Client
    except ImportError:
        raise StoreError(MISSING) from None
    failures = RepeatLimit(logger)

    errors: list[Exception] = []

    async def on_error(error: Exception) -> None:
        errors[:] = [error]
        failures.log(logging.WARNING, type(error).__name__, "the connection to NATS: %s", _told(error))

    async def on_lost() -> None:
        if client.is_reconnecting:
            logger.warning("the connection to NATS is lost; trying again")

    async def on_back() -> None:
        failures.all_over()
        logger.info("connected to NATS again")

    client = Client()
    try:
        connecting = client.connect(
            list(settings.urls),
            name="logferry",
            error_cb=on_error,
            disconnected_cb=on_lost,
            reconnected_cb=on_back,
            allow_reconnect=True,
            max_reconnect_attempts=2,  # for the first connection; below, for those that follow
            reconnect_time_wait=_RECONNECT_S,  # type: ignore[arg-type]  # seconds, and it takes fractions of them
            ping_interval=_PING_S,
            pending_size=_PENDING_BYTES,
            tls=_tls(settings),
            user_credentials=str(settings.creds) if settings.creds else None,
        )
        await asyncio.wait_for(connecting, _CONNECT_S)
    except ImportError:
        raise StoreError("--nats-creds needs the module nkeys, which is not installed: pip install nkeys") from None
    except Exception as error:  # the library's own errors have no root but Exception
        with contextlib.suppress(Exception):
            await asyncio.wait_for(client.close(), 1)
        cause = errors[0] if errors and isinstance(error, TimeoutError) else error
        raise StoreError(f"cannot connect to NATS at {shown(settings.urls)}: {_told(cause)}") from None
    client.options["max_reconnect_attempts"] = -1
    return NatsWire(client, settings.request_timeout_s)


def shown(urls: Sequence[str]) -> str:
    """Return addresses for messages, without the names and passwords in them."""
    return printable(", ".join(re.sub(r"//[^/@]*@", "//", url) for url in urls))


def _tls(settings: NatsSettings) -> ssl.SSLContext | None:
    if settings.tls_ca is not None:
        try:
            return ssl.create_default_context(cafile=str(settings.tls_ca))
        except (OSError, ssl.SSLError) as error:
            raise StoreError(f"--nats-tls-ca: cannot use {settings.tls_ca}: {error}") from None
    return ssl.create_default_context() if any(url.startswith("tls:") for url in settings.urls) else None


@contextlib.contextmanager
def _mapped_errors() -> Any:
    """Raise NoAnswer for what the library raises: whatever it is, it has no answer."""
    try:
        yield
    except (asyncio.CancelledError, GeneratorExit):
        raise
    except Exception as error:
        raise NoAnswer(_REASONS.get(type(error).__name__) or f"NATS: {_told(error)}") from error


_REASONS: Final = {
    "NoRespondersError": "no NATS server leads the stream: there is no quorum, or JetStream is not running",
    "TimeoutError": "NATS does not answer: there may be no quorum",
    "OutboundBufferLimitError": "not connected to NATS",
    "ConnectionClosedError": "the connection to NATS is closed",
}


def _told(error: BaseException) -> str:
    return printable(str(error) or type(error).__name__)[:300]


def _answer(message: "Msg") -> dict[str, Any]:
    try:
        answer = json.loads(message.data)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise NoAnswer("NATS answered with something else than JSON")
    error = answer.get("error")
    if isinstance(error, dict):
        code = error.get("err_code")
        raise Refused(code if isinstance(code, int) else 0, printable(str(error.get("description", "")))[:300])
    return answer


def _stored(found: Any) -> Message:
    try:
        headers = _headers(base64.b64decode(found.get("hdrs", "")))
        payload = base64.b64decode(found.get("data", ""))
        return Message(int(found["seq"]), str(found["subject"]), headers, payload, str(found.get("time", "")))
    except (AttributeError, KeyError, TypeError, ValueError):
        raise NoAnswer("NATS answered with something else than a message") from None


def _headers(raw: bytes) -> dict[str, str]:
    lines = raw.decode("utf-8", "replace").split("\r\n")[1:]
    pairs = (line.partition(":") for line in lines if line)
    return {key.strip(): value.strip() for key, _, value in pairs}


def _direct(message: "Msg") -> Message:
    headers = message.headers or {}
    try:
        sequence = int(headers["Nats-Sequence"])
        return Message(sequence, headers["Nats-Subject"], headers, message.data, headers.get("Nats-Time-Stamp", ""))
    except (KeyError, ValueError):
        raise NoAnswer("NATS answered with something else than a message") from None


def _is_all(end: "Msg") -> bool:
    """Whether everything that was asked for came before the end of the answers; 404: nothing was found."""
    headers = end.headers or {}
    return headers.get("Status") == "404" or headers.get("Nats-Num-Pending") == "0"


def _status(message: "Msg") -> str:
    """Return the status of an answer that is not a message: that there is none, or that there are no more."""
    headers = message.headers or {}
    return "" if "Nats-Sequence" in headers else headers.get("Status", "")
