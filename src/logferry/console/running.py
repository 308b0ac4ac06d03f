"""Runs the console: its socket, uvicorn, and a clean stop.

Owns the socket, and how long a connection may take for its handshake and for a request; how many there may be is the
business of connections.py. Ends every query before it ends the connections, so that a stop never waits for a reader.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from logferry.console.connections import Door, Place, Places
from logferry.console.queries.queries import Queries
from logferry.errors import LogferryError, cause_of
from logferry.tls_files import TlsContext

_MAX_CONNECTIONS: Final = 200
_MAX_HEADER_BYTES: Final = 32 * 1024
_REQUEST_S: Final = 10.0
_KEEP_ALIVE_S: Final = 30
_CLOSE_S: Final = 3


class _Protocol(H11Protocol):
    """A connection that must send a whole request in time: uvicorn itself waits for the first one forever."""

    _deadline: asyncio.TimerHandle | None = None

    def __init__(self, *, places: Places, place: Place, **others: Any) -> None:
        super().__init__(**others)
        self._places = places
        self._place = place
        self._is_stalled = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio."""
        super().connection_made(transport)
        self._place.end = transport.abort
        self._deadline = self.loop.call_later(_REQUEST_S, self._give_up)

    def handle_events(self) -> None:
        """See uvicorn. What is left of a request that is not whole has a deadline; a request that is whole has none."""
        super().handle_events()
        self._note_waiting()
        if not self._is_between_requests:
            self._forget_deadline()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(_REQUEST_S, self._give_up)

    def on_response_complete(self) -> None:
        """See uvicorn: it gives the next request its own time."""
        self._forget_deadline()
        self._note_waiting()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """See asyncio."""
        super().pause_writing()
        self._is_stalled = True
        self._note_waiting()

    def resume_writing(self) -> None:
        """See asyncio."""
        super().resume_writing()
        self._is_stalled = False
        self._note_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self._forget_deadline()
        self._places.give_back(self._place)
        super().connection_lost(exc)

    @property
    def _is_between_requests(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _note_waiting(self) -> None:
        self._places.waits(self._place, is_waiting=self._is_stalled or self._is_between_requests)

    def _give_up(self) -> None:
        self._deadline = None
        if not self.transport.is_closing():
            self.transport.abort()

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class _Server(uvicorn.Server):
    """A server that leaves signals to the command."""

    def __init__(self, config: uvicorn.Config, listening: socket.socket, tls: ssl.SSLContext | None) -> None:
        super().__init__(config)
        self.stop_requested = asyncio.Event()
        self._listening = listening
        self._tls = tls
        self._places = Places(_MAX_CONNECTIONS)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn, which bounds neither handshakes nor connections that send nothing."""
        await self.lifespan.startup()
        door = Door(self._listening, self._places, self._protocol, tls=self._tls, handshake_s=_REQUEST_S)
        self.servers = [door]  # type: ignore[list-item]  # closed as a server is
        self.started = True

    def _protocol(self, place: Place) -> asyncio.Protocol:
        return _Protocol(
            places=self._places,
            place=place,
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )

    async def main_loop(self) -> None:
        """See uvicorn, which looks ten times a second whether it must stop."""
        while not self.stop_requested.is_set():
            await self.on_tick(0)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self.stop_requested.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


class ConsoleServer:
    """A console that listens. `address` is where; `stop` may be called by any thread, once it runs."""

    def __init__(self, host: str, port: int, tls: TlsContext | None = None) -> None:
        """Listen. Raises LogferryError."""
        self._socket = _listening(host, port)
        self._tls = tls
        self.address: tuple[str, int] = self._socket.getsockname()[:2]
        self._server: _Server | None = None

    @property
    def url(self) -> str:
        """Where a browser finds it."""
        host, port = self.address
        return f"{'https' if self._tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}/"

    async def run(self, app: ASGIApp, queries: Queries, stop_requested: asyncio.Event) -> None:
        """Serve until a stop is requested."""
        config = uvicorn.Config(app, **_CONFIGURATION)
        config.load()
        server = _Server(config, self._socket, _changing(self._tls) if self._tls is not None else None)
        serving = asyncio.create_task(server.serve(sockets=[self._socket]))
        stopping = asyncio.create_task(stop_requested.wait())
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        queries.close()
        server.stop_requested.set()
        await serving

    def close(self) -> None:
        """Close the socket of a console that was never run."""
        self._socket.close()


_CONFIGURATION: Final[dict[str, Any]] = {
    "http": _Protocol,
    "ws": "none",
    "lifespan": "off",
    "loop": "asyncio",
    "interface": "asgi3",
    "log_config": None,
    "access_log": False,
    "log_level": "warning",
    "proxy_headers": False,
    "server_header": False,
    "h11_max_incomplete_event_size": _MAX_HEADER_BYTES,
    "timeout_keep_alive": _KEEP_ALIVE_S,
    "timeout_graceful_shutdown": _CLOSE_S,
}


def _listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens. Raises LogferryError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(128)
            listening.setblocking(False)
        except BaseException:
            listening.close()
            raise
    except OSError as error:
        raise LogferryError(f"cannot listen on {host} port {port}: {cause_of(error)}") from error
    return listening


def _changing(tls: TlsContext) -> ssl.SSLContext:
    """Return a context for the listener; each connection uses the files as they are when it begins."""
    first = tls.current

    def choose(connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        if connection.context is not tls.current:
            connection.context = tls.current

    first.sni_callback = choose
    return first
