"""A TCP proxy that does on request what networks do by themselves.

Each fault is a method that returns once the fault has happened, or is armed; `happened` counts what really came to
pass, so that a test can show that it tested something. One event loop in one thread serves all connections.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

_READ_BYTES: Final = 16 * 1024
_ANSWER_S: Final = 15.0


class Direction(Enum):
    """Which way bytes go through the proxy."""

    UP = "from client to server"
    DOWN = "from server to client"


UP, DOWN = Direction.UP, Direction.DOWN


@dataclass(slots=True)
class Happened:
    """What the proxy has done so far."""

    connections: int = 0
    refused: int = 0  # accepted and closed because the proxy was told so, or because the server was not there
    cuts: int = 0
    resets: int = 0
    half_opened: int = 0
    stalls: int = 0
    delays: int = 0
    prefaced: int = 0  # connections that began with bytes of the proxy's own
    bytes_up: int = 0
    bytes_down: int = 0
    bytes_swallowed: int = 0
    flips: int = 0


@dataclass(eq=False)
class _Side:
    """One end of a connection through the proxy."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def close(self) -> None:
        """Say goodbye (FIN), after what is still to be written."""
        self.writer.close()

    def reset(self) -> None:
        """Vanish (RST), with all that is still to be written."""
        sock = self.writer.get_extra_info("socket")
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@dataclass(eq=False)
class _Link:
    client: _Side
    server: _Side
    pumps: list[asyncio.Task[None]] = field(default_factory=list)
    has_lost_acks: bool = False


class ChaosProxy:
    """Listens on a free loopback port and passes everything on to `port`, until told otherwise."""

    def __init__(self, port: int, *, host: str = "127.0.0.1") -> None:
        self.target = (host, port)
        self.happened = Happened()
        self._links: set[_Link] = set()
        self._half_open: list[_Link] = []
        self._refuses = False
        self._swallows_acks = False
        self._delay_s = 0.0
        self._preface = b""
        self._bytes_left: dict[Direction, int] = {}
        self._times_left = 0
        self._batch_acks_to_lose = 0
        self._flips: set[Direction] = set()
        self._loop = asyncio.new_event_loop()
        self._flows = {direction: asyncio.Event() for direction in Direction}
        self._thread = threading.Thread(target=self._loop.run_forever, name="chaos-proxy", daemon=True)
        self._thread.start()
        self._listener = self._do(self._listen())
        self.port: int = self._listener.sockets[0].getsockname()[1]

    # --- faults -------------------------------------------------------------------------------------------------------

    def cut(self) -> None:
        """Close all connections at both ends, in good order, in the middle of whatever they carry."""
        self._call(lambda: self._break_all(_Side.close, "cuts"))

    def reset(self) -> None:
        """Reset all connections at both ends."""
        self._call(lambda: self._break_all(_Side.reset, "resets"))

    def half_open(self) -> None:
        """Lose the server's ends: the client's ends stay open, and nothing ever moves there again."""
        self._call(self._half_open_all)

    def stall(self, direction: Direction) -> None:
        """Stop passing bytes on in one direction, on all connections, those to come too."""
        self._call(lambda: self._set_flow(direction, False))

    def flow(self, direction: Direction) -> None:
        """End a stall."""
        self._call(lambda: self._set_flow(direction, True))

    def swallow_acks(self, on: bool = True) -> None:
        """Throw away what servers answer; a connection that has lost something gets no answer any more, ever.

        A stream with a hole in it is not what networks do.
        """
        self._call(lambda: setattr(self, "_swallows_acks", on))

    def delay_acks(self, seconds: float) -> None:
        """Hold what servers answer for so long; 0 ends it."""
        self._call(lambda: setattr(self, "_delay_s", seconds))

    def reset_after(self, size: int, direction: Direction, *, times: int = 1) -> None:
        """Reset a connection once it has passed on exactly `size` more bytes in one direction; the next ones too."""
        self._call(lambda: self._arm(direction, size, times))

    def lose_next_ack(self, *, times: int = 1) -> None:
        """Reset a connection exactly while an answer is on its way back: the server has sent it, nobody gets it."""
        self.reset_after(0, DOWN, times=times)

    def lose_next_acks_of_batches(self, times: int) -> None:
        """Likewise, but only answers that say that something of a source is stored (docs/protocol.md, rule E8)."""
        self._call(lambda: setattr(self, "_batch_acks_to_lose", times))

    def flip_next(self, direction: Direction) -> None:
        """Flip a bit of what passes next in one direction."""
        self._call(lambda: self._flips.add(direction))

    def disarm(self) -> None:
        """Forget resets and flips that were armed and have not happened."""
        self._call(self._bytes_left.clear)
        self._call(self._flips.clear)

    def refuse(self, on: bool = True) -> None:
        """Accept new connections and close them at once, as a proxy whose server is away."""
        self._call(lambda: setattr(self, "_refuses", on))

    def speak_first(self, preface: bytes) -> None:
        """Send the server these bytes before anything of a new connection; none ends it."""
        self._call(lambda: setattr(self, "_preface", preface))

    def close(self) -> None:
        """End all connections and the proxy."""
        self._call(self._end)
        self._do(self._cancel_tasks())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_ANSWER_S)
        self._loop.close()

    # --- inside the loop ----------------------------------------------------------------------------------------------

    def _do(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_ANSWER_S)

    def _call(self, action: Callable[[], object]) -> None:
        async def act() -> None:
            action()

        self._do(act())

    async def _listen(self) -> asyncio.Server:
        for flow in self._flows.values():
            flow.set()
        return await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = _Side(reader, writer)
        try:
            if self._refuses:
                raise ConnectionRefusedError
            server = _Side(*await asyncio.open_connection(*self.target))
        except OSError:
            self.happened.refused += 1
            client.close()
            return
        self.happened.connections += 1
        if self._preface:
            self.happened.prefaced += 1
            server.writer.write(self._preface)
        link = _Link(client, server)
        self._links.add(link)
        link.pumps = [
            asyncio.create_task(self._pump(link, client, server, UP)),
            asyncio.create_task(self._pump(link, server, client, DOWN)),
        ]
        await asyncio.wait(link.pumps)
        self._links.discard(link)
        if link not in self._half_open:
            client.close()
        server.close()

    async def _pump(self, link: _Link, source: _Side, target: _Side, direction: Direction) -> None:
        with contextlib.suppress(OSError):
            while data := await source.reader.read(_READ_BYTES):
                await self._flows[direction].wait()
                if direction is DOWN and self._delay_s:
                    self.happened.delays += 1
                    await asyncio.sleep(self._delay_s)
                if not await self._pass_on(link, data, target, direction):
                    return
            target.writer.write_eof()

    async def _pass_on(self, link: _Link, data: bytes, target: _Side, direction: Direction) -> bool:
        """Pass `data` on, as far as the armed faults let it; False when the connection is broken by that."""
        if direction is DOWN and (self._swallows_acks or link.has_lost_acks):
            link.has_lost_acks = True
            self.happened.bytes_swallowed += len(data)
            return True
        if direction is DOWN and self._batch_acks_to_lose and b'"received"' in data:
            self._batch_acks_to_lose -= 1
            self.happened.bytes_swallowed += len(data)
            self._break(link, _Side.reset, "resets")
            return False
        if direction in self._flips:
            self._flips.discard(direction)
            self.happened.flips += 1
            data = bytes([*data[:-1], data[-1] ^ 1])
        is_last = direction in self._bytes_left and len(data) >= self._bytes_left[direction]
        if is_last:
            self.happened.bytes_swallowed += len(data) - self._bytes_left[direction]
            data = data[: self._bytes_left[direction]]
        if direction in self._bytes_left:
            self._bytes_left[direction] -= len(data)
        target.writer.write(data)
        await target.writer.drain()
        self._count(direction, len(data))
        if is_last:
            self._reset_as_armed(link, direction)
        return not is_last

    def _count(self, direction: Direction, size: int) -> None:
        if direction is UP:
            self.happened.bytes_up += size
        else:
            self.happened.bytes_down += size

    def _arm(self, direction: Direction, size: int, times: int) -> None:
        self._bytes_left = {direction: size}
        self._armed_size = size
        self._times_left = times

    def _reset_as_armed(self, link: _Link, direction: Direction) -> None:
        self._times_left -= 1
        self._bytes_left = {direction: self._armed_size} if self._times_left else {}
        self._break(link, _Side.reset, "resets")

    def _set_flow(self, direction: Direction, flows: bool) -> None:
        if flows:
            self._flows[direction].set()
        else:
            self.happened.stalls += 1
            self._flows[direction].clear()

    def _break_all(self, how: Callable[[_Side], None], counter: str) -> None:
        for link in list(self._links):
            self._break(link, how, counter)

    def _break(self, link: _Link, how: Callable[[_Side], None], counter: str) -> None:
        self._links.discard(link)
        setattr(self.happened, counter, getattr(self.happened, counter) + 1)
        for side in (link.client, link.server):
            how(side)
        self._stop_pumps(link)

    def _half_open_all(self) -> None:
        for link in list(self._links):
            self._links.discard(link)
            self._half_open.append(link)
            self.happened.half_opened += 1
            link.client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # of every socket transport
            link.server.reset()
            self._stop_pumps(link)

    def _stop_pumps(self, link: _Link) -> None:
        for pump in link.pumps:
            if pump is not asyncio.current_task():
                pump.cancel()

    def _end(self) -> None:
        self._listener.close()
        self._break_all(_Side.reset, "resets")
        for link in self._half_open:
            link.client.reset()

    async def _cancel_tasks(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def chaos_proxy(port: int) -> Iterator[ChaosProxy]:
    """Run a proxy in front of a loopback port for the length of a `with`."""
    proxy = ChaosProxy(port)
    try:
        yield proxy
    finally:
        proxy.close()
