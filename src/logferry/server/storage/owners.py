"""Who owns sources: which sources are open to a client, and under which ids the records keep them (rules E36, E37).

A source belongs to the identity that created it, or, where clients prove none, to the id of the client that did. Owns
the form of owners' names and of recorded ids; never decides who a client is.
"""

from typing import Final, NamedTuple

# Begins the names of identities as owners. A client chooses its own id, which must never be taken for an identity's.
_IDENTITY: Final = "@"


class Owner(NamedTuple):
    """Who creates sources. Make one with `of_client` or `of_identity`.

    `name` is what the records say. `client` is the id of the client: an identity may also use the sources that its
    client created while it proved none. `folder` is the identity's own tree below `segments`, "" for the common one.
    """

    name: str
    client: str
    is_identity: bool = False
    folder: str = ""

    @property
    def names(self) -> frozenset[str]:
        """The recorded owners whose sources are this one's."""
        return frozenset((self.name, self.client))

    def may_use(self, recorded: str) -> bool:
        """Whether a source whose recorded owner is `recorded` is open to this one; "": nobody owns it yet."""
        return recorded in ("", self.name, self.client)

    def recorded_id(self, source: str) -> str:
        """Return the id under which this identity's source is recorded if `source` is somebody else's.

        So a client learns nothing about a source whose id it knows: it gets one of its own. No client can send such an
        id, because ids have no slash (rule E6).
        """
        return f"{self.name}/{source}"

    def own_id(self, recorded: str) -> str:
        """Return the id by which the client knows a source."""
        return recorded.removeprefix(f"{self.name}/")


def of_client(client: str) -> Owner:
    """Return the owner for a client that proves no identity: the id in its hello."""
    name = _IDENTITY + client if client.startswith(_IDENTITY) else client
    return Owner(name, name)


def of_identity(identity: str, client: str, *, folder: str = "") -> Owner:
    """Return the owner for a client with a proven identity, whose name does not begin with "@"."""
    return Owner(_IDENTITY + identity, of_client(client).name, is_identity=True, folder=folder)
