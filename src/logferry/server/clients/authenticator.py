"""Who a client is: the seam between connections and whatever proves an identity.

`Authenticator.check` gets what the client says about itself and what the socket says about the client. Today's clients
prove nothing, and `Everybody` lets all of them in under one name. What proves an identity later (a token in the hello,
a certificate of the transport) becomes a field of `Credentials` or `PeerInfo`, and what is granted to an identity
(limits, folders) a field of `Principal`.

A check runs in the server's event loop before anything of the client is stored, so an implementation must never wait.
"""

from dataclasses import dataclass
from typing import Final, Protocol


@dataclass(frozen=True, slots=True)
class PeerInfo:
    """What the socket says about a client: the IP address and the port at the client's end."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"{self.address} port {self.port}"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client says about itself in its hello; nothing of it is proven."""

    client: str
    host: str


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a client is, as far as the server is concerned. Clients with the same principal are not told apart."""

    name: str


@dataclass(frozen=True, slots=True)
class Denied:
    """The client may not ship. The reason is for the server's log: the client is disconnected without an answer."""

    reason: str


class Authenticator(Protocol):
    """Decides who a client is and whether the client may ship."""

    def check(self, credentials: Credentials | None, peer_info: PeerInfo) -> Principal | Denied:
        """Return who the client is, or why it may not ship. Never wait and never raise.

        `credentials` is None for the plain protocol, which has no hello. Called once for each connection that has sent
        enough to tell its protocol.
        """


ANONYMOUS: Final = Principal("anonymous")


class Everybody:
    """Lets every client in, all as one principal."""

    def check(self, credentials: Credentials | None, peer_info: PeerInfo) -> Principal | Denied:
        """Return ANONYMOUS; see Authenticator."""
        return ANONYMOUS
