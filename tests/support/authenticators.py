"""Authenticators for tests."""

from logferry.server.clients.identities.authenticator import (
    ANONYMOUS,
    Credentials,
    Denied,
    Everybody,
    PeerInfo,
    Principal,
)


class Noting(Everybody):
    """Admits everybody, and notes who has come."""

    def __init__(self) -> None:
        self.peers: list[PeerInfo] = []

    def check(self, credentials: Credentials | None, peer_info: PeerInfo) -> Principal | Denied:
        """See Authenticator."""
        self.peers.append(peer_info)
        return super().check(credentials, peer_info)


class ByHost(Everybody):
    """A client is the principal of its host; those of the host `free`, and plain ones, prove nothing."""

    def check(self, credentials: Credentials | None, peer_info: PeerInfo) -> Principal:
        """See Authenticator."""
        host = credentials.host if credentials else "free"
        return ANONYMOUS if host == "free" else Principal(host)
