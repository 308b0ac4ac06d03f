"""Receivers that follow a script: what a client can meet instead of a server that works.

A script is a function that gets a `Talk`, one connection, and ends it by returning. The server keeps what every
connection has read, whatever became of it.
"""

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Final, Self

from logferry.protocol.compressor import inflate
from logferry.protocol.plain.acks import ACK_OK, error_ack
from tests.support.running import DEADLINE_S

_INFLATED_BYTES: Final = 64 * 1024 * 1024


class Talk:
    """One connection as a script sees it; `number` counts from 1. Any failure of the socket ends the script."""

    def __init__(self, sock: socket.socket, number: int, may_end: threading.Event, begun: bytes = b"") -> None:
        self._socket = sock
        self._socket.settimeout(DEADLINE_S)
        self._buffer = bytearray(begun)
        self.number = number
        self.may_end = may_end
        self.lines: list[bytes] = []  # all that was read as lines, plain or in frames
        self.frames: list[list[bytes]] = []
        self.is_over = False

    def read(self) -> bytes:
        """Return what has come; `b""` at the end."""
        return self._socket.recv(65536)

    def read_line(self) -> bytes:
        """Return the next line, newline included; `b""` at the end."""
        searched = 0
        while (end := self._buffer.find(b"\n", searched) + 1) == 0:
            searched = len(self._buffer)
            data = self.read()
            if not data:
                return b""
            self._buffer += data
        self.lines.append(self._take(end))
        return self.lines[-1]

    def read_lines(self, count: int) -> list[bytes]:
        """Return the next `count` lines, fewer at the end."""
        return [line for line in (self.read_line() for _ in range(count)) if line]

    def read_frame(self) -> list[bytes]:
        """Return the lines of the next frame; none at the end."""
        header = self._read_exactly(4)
        if not header:
            return []
        body = self._read_exactly(int.from_bytes(header, "big"))
        lines = inflate(body, max_inflated_bytes=_INFLATED_BYTES).splitlines(keepends=True)
        self.frames.append(lines)
        self.lines += lines
        return lines

    def _read_exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            data = self.read()
            if not data:
                return b""
            self._buffer += data
        return self._take(size)

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def has_more(self) -> bool:
        """Whether something has come that no `read_*` has returned yet."""
        if self._buffer:
            return True
        self._socket.setblocking(False)
        try:
            return bool(self._socket.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return False
        finally:
            self._socket.settimeout(DEADLINE_S)

    def say(self, data: bytes) -> None:
        """Send `data`."""
        self._socket.sendall(data)

    def ack(self, lines: int = 1) -> None:
        """Send `lines` ok acks."""
        self.say(ACK_OK * lines)

    def stay_until_told(self) -> None:
        """Keep the connection open, do nothing, until the server is closed or `may_end` is set."""
        self.may_end.wait(DEADLINE_S)

    def reset(self) -> None:
        """End the connection with a reset, at once."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        """End the connection; with unread data this is a reset too."""
        self.is_over = True
        self._socket.close()


Script = Callable[[Talk], None]


class FakeServer:
    """Listens on a loopback port, a free one unless told otherwise; runs `script` for each connection in a thread."""

    def __init__(
        self,
        script: Script,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        receive_buffer: int | None = None,
        takes_silent: bool = False,
        context: ssl.SSLContext | None = None,
    ) -> None:
        """A connection on which the client sends nothing is only closed, unless it `takes_silent` ones too.

        With a `context`, the server speaks TLS; it keeps what has failed in handshakes.
        """
        self._context = context
        self.handshake_failures: list[OSError] = []
        self._script = script
        self._takes_silent = takes_silent
        self._listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        if receive_buffer:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind((host, port))
        self._listener.listen()
        self._threads: list[threading.Thread] = []
        self._failures: list[BaseException] = []
        self.host = host
        self.port: int = self._listener.getsockname()[1]
        self.may_end = threading.Event()
        self.talks: list[Talk] = []
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    @property
    def lines(self) -> list[bytes]:
        """What all connections have read, oldest connection first."""
        return [line for talk in self.talks for line in talk.lines]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.may_end.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join(DEADLINE_S)
        self._listener.close()
        for thread in self._threads:
            thread.join(DEADLINE_S)
        if self._failures and error is None:
            raise self._failures[0]

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self._threads.append(threading.Thread(target=self._run, args=(sock,), daemon=True))
                self._threads[-1].start()

    def _run(self, sock: socket.socket) -> None:
        begun = b""
        if self._context:
            sock.settimeout(DEADLINE_S)
            try:
                sock = self._context.wrap_socket(sock, server_side=True)
                begun = b"" if self._takes_silent else sock.recv(1)
            except OSError as error:
                self.handshake_failures.append(error)
                sock.close()
                return
        if not (self._takes_silent or begun) and (self._context or _ends_in_silence(sock)):
            sock.close()
            return
        talk = Talk(sock, len(self.talks) + 1, self.may_end, begun)
        self.talks.append(talk)
        try:
            self._script(talk)
        except OSError:
            pass  # the client has gone; what it left behind is judged by the test
        except BaseException as failure:
            self._failures.append(failure)
        finally:
            talk.close()


def _ends_in_silence(sock: socket.socket) -> bool:
    """Whether a client ends its data before it has sent any; it waits for the close (rule C8)."""
    sock.settimeout(DEADLINE_S)
    try:
        return not sock.recv(1, socket.MSG_PEEK)
    except OSError:
        return True


# --- scripts ----------------------------------------------------------------------------------------------------------


def ack_every_line(talk: Talk) -> None:
    """Do what a server does."""
    while talk.read_line():
        talk.ack()


def ack_every_frame(talk: Talk) -> None:
    """Do what a server does, for a client that compresses."""
    while lines := talk.read_frame():
        talk.ack(len(lines))


def swallow(talk: Talk) -> None:
    """Read everything, answer nothing."""
    while talk.read_line():
        pass


def never_read(talk: Talk) -> None:
    """Take the connection and leave it alone."""
    talk.stay_until_told()


def accept_and_close(talk: Talk) -> None:
    """Take the connection and end it."""
    talk.close()


def answer_rubbish(talk: Talk) -> None:
    """Speak another protocol."""
    talk.read_line()
    talk.say(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
    talk.stay_until_told()


def half_an_ack(talk: Talk) -> None:
    """Die in the middle of an answer."""
    talk.read_line()
    talk.say(ACK_OK[:17])
    talk.reset()


def refuse(is_refused: Callable[[bytes], bool], reason: str = "no") -> Script:
    """Answer lines with an error if `is_refused` says so, else with ok."""

    def script(talk: Talk) -> None:
        while line := talk.read_line():
            talk.say(error_ack(reason) if is_refused(line) else ACK_OK)

    return script


def in_turn(*scripts: Script) -> Script:
    """Follow the n-th script on the n-th connection, the last one on all that come after."""

    def script(talk: Talk) -> None:
        scripts[min(talk.number, len(scripts)) - 1](talk)

    return script


def ack_then_reset(lines: int) -> Script:
    """Answer so many lines, then break off."""

    def script(talk: Talk) -> None:
        talk.read_lines(lines)
        talk.ack(lines)
        talk.reset()

    return script


def ack_in_pieces(sizes: Iterator[int], *, lines_at_once: int) -> Script:
    """Answer so many lines together, in sends of odd sizes."""

    def script(talk: Talk) -> None:
        while lines := talk.read_lines(lines_at_once):
            acks = ACK_OK * len(lines)
            while acks:
                size = next(sizes)
                talk.say(acks[:size])
                acks = acks[size:]

    return script
