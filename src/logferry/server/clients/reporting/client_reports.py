"""What clients last said about themselves: the state of each host, and the verdict of `verify` on each file.

Owns these reports, in memory, and their bounds. They are claims of the clients: nothing may decide by them what is
stored. The event loop writes; any thread may read the sums.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from logferry.protocol.messages.client_state import ClientState, FileVerdict

# An entry has at most 2 KiB of texts: 10 and 20 MB.
MAX_HOSTS: Final = 5_000
MAX_FILES: Final = 10_000
MAX_FILES_OF_OWNER: Final = 1_000

# A client pings every minute. One that has not for this long is not counted any more.
PRESENT_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class HostReport:
    """The last ping of a client: when it came (Unix time), and what it said."""

    at: float
    state: ClientState


@dataclass(frozen=True, slots=True)
class VerdictReport:
    """The last verdict on a file: when it came (Unix time), and what it said."""

    at: float
    verdict: FileVerdict


class ClientReports:
    """The last report of each host and of each file, by the owner that sent it."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """`clock` returns Unix time."""
        self._clock = clock
        self.hosts: OrderedDict[tuple[str, str], HostReport] = OrderedDict()  # by owner and host, the latest last
        self.files: OrderedDict[tuple[str, str, str], VerdictReport] = OrderedDict()  # by owner, host and path
        self._hosts_of: dict[str, OrderedDict[str, None]] = {}
        self.noted = 0  # how many have come: whether there is something to write
        self._files_of: dict[str, OrderedDict[tuple[str, str, str], None]] = {}

    def note_state(self, owner: str, host: str, state: ClientState, *, at: float | None = None) -> None:
        """Keep what a client says about itself now, or said `at` a time before the start.

        Of too many hosts, the one that was quiet longest is forgotten. It is one of the same owner if that
        has more than its share: others stay.
        """
        self.noted += 1
        self.hosts[owner, host] = HostReport(self._clock() if at is None else at, state)
        self.hosts.move_to_end((owner, host))
        of_owner = self._hosts_of.setdefault(owner, OrderedDict())
        of_owner[host] = None
        of_owner.move_to_end(host)
        if len(self.hosts) > MAX_HOSTS:
            has_too_many = len(of_owner) * len(self._hosts_of) > MAX_HOSTS
            self._forget_host(*((owner, next(iter(of_owner))) if has_too_many else next(iter(self.hosts))))

    def _forget_host(self, owner: str, host: str) -> None:
        del self.hosts[owner, host]
        del self._hosts_of[owner][host]
        if not self._hosts_of[owner]:
            del self._hosts_of[owner]

    def note_verdict(self, owner: str, host: str, verdict: FileVerdict, *, at: float | None = None) -> None:
        """Keep a verdict, of now or of a time before the start.

        Of too many files of one owner, its oldest is forgotten, of too many of all, the oldest.
        """
        self.noted += 1
        key = (owner, host, verdict.path)
        of_owner = self._files_of.setdefault(owner, OrderedDict())
        self._forget(key)
        if len(of_owner) >= MAX_FILES_OF_OWNER:
            self._forget(next(iter(of_owner)))
        if len(self.files) >= MAX_FILES:
            self._forget(next(iter(self.files)))
        self.files[key] = VerdictReport(self._clock() if at is None else at, verdict)
        self._files_of.setdefault(owner, of_owner)[key] = None

    def _forget(self, key: tuple[str, str, str]) -> None:
        if self.files.pop(key, None) is not None:
            of_owner = self._files_of[key[0]]
            del of_owner[key]
            if not of_owner:
                del self._files_of[key[0]]

    def sums(self) -> dict[str, int]:
        """Return the gauges of all reports, by their names in the table of metrics. Safe in any thread."""
        since = self._clock() - PRESENT_S
        present = [each.state for each in list(self.hosts.values()) if each.at >= since]
        return {
            "hosts_reporting": len(present),
            "hosts_unread_bytes": sum(state.unread_bytes for state in present),
            "hosts_unacked_bytes": sum(state.unacked_bytes for state in present),
            "files_not_proven": sum(not each.verdict.is_proven for each in list(self.files.values())),
        }
