"""Authentication: the seam between connections and whatever proves a client's identity.

`Authenticator.check` gets what the client claims about itself and what the socket reports about the client.
`Everybody` admits all clients under one name; with `--clients`, identities/ decides. A proof of identity (a token, a
certificate of the transport) is a field of `Credentials` or `PeerInfo`; what an identity is granted (limits, folders)
is a field of `Principal`.

A check runs in the server's event loop before any of the client's data is stored: an implementation must never block.
"""

from dataclasses import dataclass, field
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
    """What a client claims about itself in its hello, none of it proven; and its token, once it has sent one."""

    client: str
    host: str
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Principal:
    """The identity that the server has assigned to a client. Clients may share a principal.

    `folder` is the identity's own tree of segments, "" for the common one. All its clients together may send
    `max_bytes_per_second` and have `max_sources` open; 0 means no limit. `proof` is what it was admitted by: if that
    changes, its clients must log in again. Clients with a principal that does not prove an identity have nothing in
    common.
    """

    name: str
    folder: str = ""
    max_bytes_per_second: int = 0
    max_sources: int = 0
    proof: object = field(default=None, repr=False)
    proves_identity: bool = True


ANONYMOUS: Final = Principal("anonymous", proves_identity=False)


@dataclass(frozen=True, slots=True)
class Denied:
    """The client may not ship. The server logs the reason and answers with it, and disconnects the client.

    `kind` is one of few words for the same, such as "token" or "host": a label of a metric.
    """

    reason: str
    kind: str = "denied"


@dataclass(frozen=True, slots=True)
class TokenWanted:
    """The client may ship if it proves its identity with a token (rule E40)."""


TOKEN_WANTED: Final = TokenWanted()


def owner_of(principal: Principal, credentials: Credentials | None) -> Owner:
    """Return who owns what a client creates: its identity, or, while it proves none, the id in its hello, if any.

    Such an id is a secret, which makes a client the owner: nothing may log or show it.
    """
    client = credentials.client if credentials else ""
    if principal == ANONYMOUS:
        return of_client(client)
    return of_identity(principal.name, client, folder=principal.folder)


class Authenticator(Protocol):
    """Decides who a client is and whether the client may ship."""

    def check(self, credentials: Credentials | None, peer_info: PeerInfo) -> Principal | Denied | TokenWanted:
        """Return the client's identity, or why it may not ship. Must never block and never raise.

        `credentials` is None for the plain protocol, which has no hello. Called once per connection, as soon as the
        client has sent enough to identify its protocol, and again with its token if that is wanted.
        """

    def still_admits(self, principal: Principal) -> bool:
        """Whether a client that was admitted as `principal` would be admitted now. Must never block and never raise."""


class Everybody:
    """Admits every client, all as one principal."""

    def check(self, credentials: Credentials | None, peer_info: PeerInfo) -> Principal | Denied:
        """Return ANONYMOUS; see Authenticator."""
        return ANONYMOUS

    def still_admits(self, principal: Principal) -> bool:
        """Return True; see Authenticator."""
        return True
