"""The other programs that take part."""

from collections.abc import Mapping
from typing import Final

from benchmarks.peers.filebeat import FILEBEAT
from benchmarks.peers.fluent_bit import FLUENT_BIT
from benchmarks.peers.peer import Peer
from benchmarks.peers.rsyslog import RSYSLOG
from benchmarks.peers.syslog_ng import SYSLOG_NG
from benchmarks.peers.vector import VECTOR

PEERS: Final = (RSYSLOG, SYSLOG_NG, FLUENT_BIT, VECTOR, FILEBEAT)


def find_peers(given: Mapping[Peer, str | None]) -> dict[Peer, str]:
    """Return the installed programs, with their binaries; `given` names some binaries."""
    found = {peer: peer.find(given.get(peer)) for peer in PEERS}
    return {peer: binary for peer, binary in found.items() if binary}
