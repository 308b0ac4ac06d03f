"""Authentication: the seam between connections and whatever proves a client's identity.

`Authenticator.check` gets what the client claims about itself and what the socket reports about the client. Today's
clients prove nothing, and `Everybody` admits all of them under one name. A future proof of identity (a token in the
hello, a certificate of the transport) becomes a field of `Credentials` or `PeerInfo`; what an identity is granted
(limits, folders) becomes a field of `Principal`.

A check runs in the server's event loop before any of the client's data is stored: an implementation must never block.
"""

from dataclasses import dataclass
from typing import Final, Protocol

from logferry.server.storage.owners import Owner, of_client, of_identity


@dataclass(frozen=True, slots=True)
class PeerInfo:
    """The IP address and port of the client's end, as the socket reports them, or the proxy at `via`.

    `certificate` has the names of the client's certificate, proven by the handshake: those of its subject alternative
    name, then its common name. It is empty without a certificate, and without --tls-client-ca.
    """

    address: str
    port: int
    via: str = ""
    is_encrypted: bool = False
    certificate: tuple[str, ...] = ()

    def __str__(self) -> str:
        via = f" via {self.via}" if self.via else ""
        return f"{self.address} port {self.port}{via}"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client claims about itself in its hello; none of it is proven."""

    client: str
    host: str


@dataclass(frozen=True, slots=True)
class Principal:
    """The identity that the server has assigned to a client. Clients may share a principal.

    `folder` is the identity's own tree of segments, "" for the common one.
    """

    name: str
    folder: str = ""


ANONYMOUS: Final = Principal("anonymous")


@dataclass(frozen=True, slots=True)
class Denied:
    """The client may not ship. The server logs the reason and disconnects the client without an answer.

    `kind` is one of few words for the same, such as "token" or "host": a label of a metric.
    """

    reason: str
    kind: str = "denied"


def owner_of(principal: Principal, credentials: Credentials) -> Owner:
    """Return who owns what a client creates: its identity, or, while it proves none, the id in its hello.

    Such an id is a secret, which makes a client the owner: nothing may log or show it.
    """
    if principal == ANONYMOUS:
        return of_client(credentials.client)
    return of_identity(principal.name, credentials.client, folder=principal.folder)


class Authenticator(Protocol):
    """Decides who a client is and whether the client may ship."""

    def check(self, credentials: Credentials | None, peer_info: PeerInfo) -> Principal | Denied:
        """Return the client's identity, or why it may not ship. Must never block and never raise.

        `credentials` is None for the plain protocol, which has no hello. Called once per connection, as soon as the
        client has sent enough to identify its protocol.
        """


class Everybody:
    """Admits every client, all as one principal."""

    def check(self, credentials: Credentials | None, peer_info: PeerInfo) -> Principal | Denied:
        """Return ANONYMOUS; see Authenticator."""
        return ANONYMOUS
