"""From a server's address to a connection on which both sides speak the same dialect.

The extension is asked for with a hello; docs/protocol.md, rule E2, says when a server is spoken to in plain instead.
"""

import contextlib
from typing import Final

from logferry.client.delivery.outputs.dialect import Dialect, PlainDialect, answers_a_blank_line, greet
from logferry.client.net.connect import Connection, Wait, connect
from logferry.client.state.checkpoints import Checkpoints
from logferry.config import ShipSettings
from logferry.errors import PeerClosed, PeerConfused

# After so many connections in a row that were closed on the hello, the client finds out whether that is its fault.
_HELLO_ATTEMPTS: Final = 3


class Doorway:
    """The way into one server, and what is known of the dialect behind it."""

    def __init__(self, settings: ShipSettings, checkpoints: Checkpoints, *, wait: Wait) -> None:
        self._settings = settings
        self._checkpoints = checkpoints
        self._wait = wait
        self._closed_hellos = 0
        self.server = f"{settings.server_host}:{settings.server_port}"
        self.is_plain = settings.ack != "auto"

    def enter(self) -> tuple[Connection, Dialect]:
        """Connect and agree on a dialect. Raises DeliveryError."""
        connection = self._open_connection()
        try:
            return connection, self._find_dialect(connection)
        except BaseException:
            connection.close()
            raise

    def _open_connection(self) -> Connection:
        settings = self._settings
        return connect(settings.server_host, settings.server_port, timeout_s=settings.connect_timeout, wait=self._wait)

    def _find_dialect(self, connection: Connection) -> Dialect:
        """Say hello, unless it is known to be useless; a server that was welcome once is never spoken to in plain."""
        if self.is_plain:
            return PlainDialect(self._settings)
        is_known = self._checkpoints.knows_extension(self.server)
        try:
            dialect = self._greet(connection)
        except PeerClosed:
            self._closed_hellos += 1
            self.is_plain = not is_known and self._closed_hellos >= _HELLO_ATTEMPTS and self._closes_on_hello()
            raise
        self._closed_hellos = 0
        if dialect.needs_open:
            self._checkpoints.learn_extension(self.server)
        elif is_known:
            raise PeerConfused("the server does not speak the delivery extension any more; without it lines may repeat")
        self.is_plain = not dialect.needs_open
        return dialect

    def _greet(self, connection: Connection) -> Dialect:
        return greet(connection, self._settings, client_id=self._checkpoints.client_id, wait=self._wait)

    def _closes_on_hello(self) -> bool:
        """Whether it is the hello that the server does not like.

        A server that is away behind a proxy closes every connection too. Taking that for a server without the extension
        would cost exactly-once, so the server must be seen alive right before and right after it closes on a hello.
        """
        return self._answers_a_blank_line() and self._closes_on_one_hello() and self._answers_a_blank_line()

    def _answers_a_blank_line(self) -> bool:
        with contextlib.closing(self._open_connection()) as connection:
            return answers_a_blank_line(connection, self._settings, wait=self._wait)

    def _closes_on_one_hello(self) -> bool:
        with contextlib.closing(self._open_connection()) as connection:
            try:
                self._greet(connection)
            except PeerClosed:
                return True
        return False
