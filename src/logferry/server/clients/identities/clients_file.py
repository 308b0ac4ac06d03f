"""The clients file of a running server: read at the start, and again when it changes or at SIGHUP.

Owns which entries are in force. A file that has a problem, or cannot be read, leaves the old entries in force: it is
logged once with the reason, and counted. Only the event loop's thread changes what is in force.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from logferry.errors import ConfigError
from logferry.printable import printable, quoted
from logferry.server.clients.identities.authenticator import Credentials, Denied, PeerInfo, Principal, TokenWanted
from logferry.server.clients.identities.entries import Identity, read_identities
from logferry.server.clients.identities.login import ByIdentity
from logferry.small_files import file_stamp

logger = logging.getLogger(__name__)

# How often to look whether the file has changed, in seconds.
LOOK_S: Final = 2.0


class ClientsFile:
    """See Authenticator. Call `read` in any thread, and `apply` with what it returned in the event loop."""

    def __init__(self, path: Path, plain_from: Sequence[str] = ()) -> None:
        """Read the file. Raises ConfigError."""
        self._path = path
        self._plain_from = tuple(plain_from)
        self._stamp = file_stamp(self._path)
        self._login = ByIdentity(read_identities(path), self._plain_from)
        self._problem = ""
        self.reload_failures = 0

    def check(self, credentials: Credentials | None, peer_info: PeerInfo) -> Principal | Denied | TokenWanted:
        """See Authenticator; likewise below."""
        return self._login.check(credentials, peer_info)

    def still_admits(self, principal: Principal) -> bool:
        return self._login.still_admits(principal)

    @property
    def has_changed(self) -> bool:
        """Whether the file is another one than the one that was last read."""
        return file_stamp(self._path) != self._stamp

    def read(self) -> tuple[Identity, ...] | ConfigError:
        """Read the file; return its entries, or what is wrong with it."""
        self._stamp = file_stamp(self._path)
        try:
            return read_identities(self._path)
        except ConfigError as error:
            return error

    def apply(self, found: tuple[Identity, ...] | ConfigError) -> bool:
        """Put entries in force; return whether anything may have changed. Logs what is wrong once."""
        path = quoted(str(self._path))
        if isinstance(found, ConfigError):
            if str(found) != self._problem:
                self._problem = str(found)
                self.reload_failures += 1
                for problem in found.problems:
                    logger.error("the old clients stay in force: %s", printable(problem))
            return False
        self._problem = ""
        self._login = ByIdentity(found, self._plain_from)
        logger.info("read %s: %d clients", path, len(found))
        return True
