"""Serves pages over HTTP in a thread of its own, for Prometheus, load balancers and orchestrators.

Owns the listening socket and few connections, each for one request. Bounds everything that a peer can cause: the number
of connections, the bytes and the time of a request, and the time that an answer may take. It must never delay the
thread that ships or stores, nor end the process.
"""

import contextlib
import logging
import selectors
import socket
import time
from collections.abc import Callable
from typing import Any, Final

from logferry.addresses import is_loopback
from logferry.errors import AddressError, cause_of
from logferry.printable import printable
from logferry.telemetry.http_requests import MAX_REQUEST_BYTES, Request, Response, parse
from logferry.telemetry.log_limits import RepeatLimit
from logferry.worker import Worker

logger = logging.getLogger(__name__)

# A few scrapers, probes and people. One more peer takes the place of the oldest, which had the most time.
MAX_CONNECTIONS: Final = 16

# For the whole of a connection: a peer that is slower is dropped. Prometheus itself gives up after 10 s.
REQUEST_S: Final = 5.0

# A peer closes as soon as it has the answer; what it still sends is read and forgotten, so that it gets the answer.
_MAX_FORGOTTEN_BYTES: Final = 64 * 1024

_BACKLOG: Final = 64
_RETRY_S: Final = 1.0

Answer = Callable[[Request], Response]


class HttpServer:
    """An HTTP server on one address, from `start` to `close`. Only its own thread touches the connections."""

    def __init__(self, host: str, port: int, answer: Answer, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Listen, so that nothing is lost that connects before the thread runs; port 0 is any free port.

        Raises AddressError if it cannot listen. `answer` is called in the server's thread.
        """
        self._answer = answer
        self._clock = clock
        self._listening = _listen(host, port)
        self._host = host
        self._port = int(self._listening.getsockname()[1])
        self._woken, self._waker = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._connections: dict[socket.socket, _Connection] = {}  # the oldest first
        self._accepts_again_at: float | None = None  # after a failure
        self._failures = RepeatLimit(logger)
        self._accept_failures = RepeatLimit(logger)
        self._worker = Worker(self._run, name="http", on_stop=self._wake)

    @property
    def url(self) -> str:
        """The address of the metrics."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}/metrics"

    def start(self) -> None:
        """Start the thread."""
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._selector.register(self._listening, selectors.EVENT_READ)
        self._worker.start()
        logger.info("metrics at %s", printable(self.url))
        if not is_loopback(self._listening.getsockname()[0]):
            logger.warning(
                "everybody who can reach %s can read the metrics: there is no login and no encryption. Serve them on "
                "loopback (--http 127.0.0.1:%d), or let a firewall decide who can connect",
                *(printable(self.url), self._port),
            )

    def close(self) -> None:
        """End the thread and close every socket."""
        self._worker.ask_to_stop()
        self._worker.wait_for_end()
        for connection in list(self._connections.values()):
            self._drop(connection)
        self._selector.close()
        for sock in (self._listening, self._woken, self._waker):
            sock.close()
        self._failures.flush()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            self._waker.send(b"\0")

    def _run(self, worker: Worker) -> None:
        while not worker.is_stopping:
            try:
                self._turn()
            except Exception as error:  # the top of the thread: the client or server goes on without the scrape
                self._log_failure(error)
                worker.wait(_RETRY_S)

    def _log_failure(self, error: Exception) -> None:
        if self._failures.log(logging.ERROR, type(error).__name__, "unexpected error while serving metrics: %r", error):
            logger.error("its traceback:", exc_info=error)

    def _answer_safely(self, request: Request) -> Response:
        try:
            return self._answer(request)
        except Exception as error:  # one page that fails must not end the others
            self._log_failure(error)
            return Response(500, b"the page could not be made; the log says why\n")

    def _turn(self) -> None:
        for key, _ in self._selector.select(self._patience_s()):
            if key.fileobj is self._listening:
                self._accept()
            elif isinstance(key.data, _Connection):
                self._proceed(key.data)
        now = self._clock()
        for connection in [each for each in self._connections.values() if each.deadline <= now]:
            self._drop(connection)
        if self._accepts_again_at is not None and self._accepts_again_at <= now:
            self._accepts_again_at = None
            self._selector.register(self._listening, selectors.EVENT_READ)

    def _patience_s(self) -> float | None:
        times = [connection.deadline for connection in self._connections.values()]
        times += [self._accepts_again_at] if self._accepts_again_at is not None else []
        return max(0.0, min(times) - self._clock()) if times else None

    def _accept(self) -> None:
        try:
            accepted, _ = self._listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:  # no descriptors or memory: an immediate retry would fail, too
            self._accept_failures.log(
                logging.WARNING, error.errno, "cannot accept connections for metrics, retrying: %s", cause_of(error)
            )
            self._selector.unregister(self._listening)
            self._accepts_again_at = self._clock() + _RETRY_S
            return
        self._accept_failures.all_over()
        accepted.setblocking(False)
        if len(self._connections) >= MAX_CONNECTIONS:
            self._drop(next(iter(self._connections.values())))
        connection = _Connection(accepted, self._answer_safely, deadline=self._clock() + REQUEST_S)
        self._connections[accepted] = connection
        self._selector.register(accepted, selectors.EVENT_READ, connection)

    def _proceed(self, connection: "_Connection") -> None:
        try:
            connection.proceed()
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:  # the peer has gone
            connection.is_over = True
        if connection.is_over:
            self._drop(connection)
        else:
            self._selector.modify(connection.sock, connection.interest, connection)

    def _drop(self, connection: "_Connection") -> None:
        if self._connections.pop(connection.sock, None) is not None:
            self._selector.unregister(connection.sock)
            connection.sock.close()


class _Connection:
    """One peer: its request, then the answer, then its end."""

    def __init__(self, sock: socket.socket, answer: Answer, *, deadline: float) -> None:
        self.sock = sock
        self.deadline = deadline
        self.is_over = False
        self._answer = answer
        self._received = bytearray()
        self._to_send: memoryview | None = None  # once there is an answer
        self._forgotten = 0

    @property
    def interest(self) -> int:
        """What to wait for."""
        return selectors.EVENT_WRITE if self._to_send else selectors.EVENT_READ

    def proceed(self) -> None:
        """Receive, answer or send what is possible now. Raises OSError."""
        if self._to_send is None:
            self._receive()
        elif not self._to_send:
            self._forget()
        if self._to_send:
            self._to_send = self._to_send[self.sock.send(self._to_send) :]
            if not self._to_send:
                self.sock.shutdown(socket.SHUT_WR)

    def _receive(self) -> None:
        data = self.sock.recv(MAX_REQUEST_BYTES + 1 - len(self._received))
        self._received += data
        found = parse(self._received)
        if isinstance(found, Request):
            self._to_send = memoryview(self._answer(found).encode(is_head=found.is_head))
        elif found is not None:
            self._to_send = memoryview(found.encode())
        elif not data:
            self.is_over = True

    def _forget(self) -> None:
        data = self.sock.recv(_MAX_FORGOTTEN_BYTES)
        self._forgotten += len(data)
        self.is_over = not data or self._forgotten > _MAX_FORGOTTEN_BYTES


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on the first address of `host` that can be bound. Raises AddressError."""
    problem = OSError(0, "the name has no address")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        found, problem = [], error
    for family, kind, protocol, _, address in found:
        try:
            return _bound(family, kind, protocol, address)
        except OSError as error:
            problem = error
    where = f"{printable(host)} port {port}"
    raise AddressError(f"cannot serve metrics on {where}: {cause_of(problem)}; choose another address with --http")


def _bound(family: int, kind: int, protocol: int, address: Any) -> socket.socket:
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock
