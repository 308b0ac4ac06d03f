"""Who a client is, by the clients file: the Authenticator of a server with `--clients`.

Owns the decision. A certificate is proven by the transport before; a token is asked for (rule E40), and only where
nobody else can read it. Hashes are compared in constant time. Pure but for the file that it was made from: a changed
file makes another object (clients_file.py).
"""

import hmac
from collections.abc import Sequence
from typing import Final

from logferry.addresses import is_loopback
from logferry.server.clients.identities.authenticator import (
    TOKEN_WANTED,
    Credentials,
    Denied,
    PeerInfo,
    Principal,
    TokenWanted,
)
from logferry.server.clients.identities.entries import Identity
from logferry.server.clients.identities.networks import Networks
from logferry.server.clients.identities.tokens import hash_of

# The principal of clients of the plain protocol that are let in by their address. No entry can have this name.
PLAIN: Final = Principal("(plain)", proves_identity=False)


class ByIdentity:
    """See Authenticator. Admits the clients of these entries, and plain clients from some networks."""

    def __init__(self, identities: Sequence[Identity], plain_from: Sequence[str] = ()) -> None:
        self._principals = {identity: principal_of(identity) for identity in identities}
        self._admitted = frozenset((PLAIN, *self._principals.values()))
        self._plain_from = Networks(plain_from)

    def check(self, credentials: Credentials | None, peer_info: PeerInfo) -> Principal | Denied | TokenWanted:
        """See Authenticator."""
        if credentials is None:
            return self._check_plain(peer_info)
        found = self._find(credentials, peer_info)
        if not isinstance(found, Identity):
            return found
        if not found.may_ship_as(credentials.host):
            return Denied(f"client {found.name} may not ship as host {credentials.host!r}", "host")
        return self._principals[found]

    def _find(self, credentials: Credentials, peer: PeerInfo) -> Identity | Denied | TokenWanted:
        candidates = [each for each in self._principals if each.has_certificate_of(peer.certificate)]
        for identity in candidates:
            if not identity.tokens:
                return identity
        if not candidates:
            return Denied("no client has a certificate with such a name", "certificate")
        if not (peer.is_encrypted or is_private(peer)):
            return Denied("a token is only taken over TLS or from this machine", "not encrypted")
        if credentials.token is None:
            return TOKEN_WANTED
        given = hash_of(credentials.token)
        matching = [each for each in candidates for token in each.tokens if hmac.compare_digest(token, given)]
        return matching[0] if matching else Denied("wrong token", "token")

    def _check_plain(self, peer: PeerInfo) -> Principal | Denied:
        for identity in self._principals:
            if identity.certificate and not identity.tokens and identity.has_certificate_of(peer.certificate):
                return self._principals[identity]
        if self._plain_from.include(peer.address):
            return PLAIN
        return Denied("clients without a hello need a certificate, or an address in --plain-from", "plain")

    def still_admits(self, principal: Principal) -> bool:
        """Whether an admitted principal is still the one that it was, with the same proof, hosts and limits."""
        return principal in self._admitted


def principal_of(identity: Identity) -> Principal:
    """Return the principal for the clients of an entry."""
    return Principal(
        identity.name,
        folder=identity.folder,
        max_bytes_per_second=identity.max_bytes_per_second,
        max_sources=identity.max_sources,
        proof=identity,
    )


def is_private(peer: PeerInfo) -> bool:
    """Whether nobody but this machine can read a connection: it comes from loopback, and through no proxy."""
    return not peer.via and is_loopback(peer.address)
