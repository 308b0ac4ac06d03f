"""Authenticators for tests."""

from logferry.server.clients.authenticator import Credentials, Denied, Everybody, PeerInfo, Principal


class Noting(Everybody):
    """Admits everybody, and notes who has come."""

    def __init__(self) -> None:
        self.peers: list[PeerInfo] = []

    def check(self, credentials: Credentials | None, peer_info: PeerInfo) -> Principal | Denied:
        """See Authenticator."""
        self.peers.append(peer_info)
        return super().check(credentials, peer_info)
