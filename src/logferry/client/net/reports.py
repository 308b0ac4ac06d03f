"""Asking a server what it holds of a source, outside of any delivery."""

import select
import socket
import time
from collections.abc import Iterator
from typing import Final

from logferry.client.net.connect import READ, WRITE, Connection, Wait, connect
from logferry.client.net.poller import poll_mask
from logferry.errors import PeerConfused, PeerSilent
from logferry.protocol.delivery import VERSION, Alive, Answer, ReportPage, Welcome, control_line
from logferry.protocol.delivery_client import DeliveryClientProtocol

_CLIENT_ID: Final = "verify"


class ReportClient:
    """A connection for questions. Raises DeliveryError wherever the server does not answer them."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        client_host: str,
        connect_timeout_s: float,
        answer_timeout_s: float,
        wait: Wait | None = None,
    ) -> None:
        """`client_host` is this client's name; `wait` is for callers that have other things to do meanwhile."""
        self._answer_timeout_s = answer_timeout_s
        self._wait = wait or _wait
        self._session = DeliveryClientProtocol()
        self._connection: Connection = connect(host, port, timeout_s=connect_timeout_s, wait=self._wait)
        hello = {"version": VERSION, "client": _CLIENT_ID, "host": client_host, "encodings": []}
        try:
            answer = self._ask(control_line("hello", **hello))
            if not isinstance(answer, Welcome):
                raise PeerConfused(f"{host}:{port} does not speak the delivery extension, so it cannot prove anything")
        except BaseException:
            self.close()
            raise

    def report(self, source_id: str) -> Iterator[ReportPage]:
        """Give all that the server knows of a source, page by page."""
        after, has_more = 0, True
        while has_more:
            page = self._ask(control_line("report", source=source_id, after=after))
            if not isinstance(page, ReportPage):
                raise PeerConfused(f"the server has not answered the question but: {page}")
            yield page
            has_more = page.has_more
            after = page.extents[-1].end if page.extents else 0

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def _ask(self, question: bytes) -> Answer:
        rest = memoryview(question)
        while rest:
            rest = rest[self._connection.send(rest) :]
            if rest and not self._wait(self._connection.sock, WRITE, self._answer_timeout_s):
                raise PeerSilent("the server takes no data")
        while True:
            if not self._wait(self._connection.sock, READ, self._answer_timeout_s):
                raise PeerSilent(f"no answer within {self._answer_timeout_s:g} s")
            for answer in self._session.receive_data(self._connection.receive()):
                if not isinstance(answer, Alive):
                    return answer


def _wait(sock: socket.socket | None, events: int, timeout_s: float) -> int:
    if sock is None:
        time.sleep(timeout_s)
        return 0
    poll = select.poll()
    poll.register(sock, poll_mask(events))
    return events if poll.poll(timeout_s * 1000) else 0
