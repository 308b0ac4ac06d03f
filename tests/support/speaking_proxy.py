"""A proxy that says something to the server before what the client sends, as one that speaks the PROXY protocol."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.running import DEADLINE_S


class SpeakingProxy:
    """Begins each connection to the server with `greeting`, which may change."""

    def __init__(self, server_port: int, greeting: bytes) -> None:
        self.greeting = greeting
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        """Take no more connections, and wait for the end of those that are open."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(DEADLINE_S)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._server_port))
                self.connections += 1
                server.sendall(self.greeting)
                self._threads.append(threading.Thread(target=self._relay, args=(client, server), daemon=True))
                self._threads[-1].start()

    def _relay(self, client: socket.socket, server: socket.socket) -> None:
        with client, server:
            back = threading.Thread(target=_pump, args=(server, client), daemon=True)
            back.start()
            _pump(client, server)
            back.join(DEADLINE_S)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@contextmanager
def speaking_proxy(server_port: int, greeting: bytes) -> Iterator[SpeakingProxy]:
    """Run a proxy for the length of a `with`."""
    proxy = SpeakingProxy(server_port, greeting)
    try:
        yield proxy
    finally:
        proxy.close()
