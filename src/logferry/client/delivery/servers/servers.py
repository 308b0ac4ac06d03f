"""The servers of one run: where they are, in the order in which this client prefers them, and which one is in use."""

from collections.abc import Callable, Sequence
from typing import Self

from logferry.client.delivery.servers.retry import Backoff
from logferry.client.delivery.servers.server_choice import Reason, ServerChoice, in_order
from logferry.client.net.connecting.endpoint import Endpoint
from logferry.config import ShipSettings


class Servers:
    """The servers and the choice among them. The engine's thread changes the choice; any thread may read `present`."""

    def __init__(self, endpoints: Sequence[Endpoint], choice: ServerChoice) -> None:
        """`endpoints` are in the order of the choice."""
        self.endpoints = tuple(endpoints)
        self.choice = choice

    @classmethod
    def of(
        cls,
        endpoints: Sequence[Endpoint],
        settings: ShipSettings,
        client_id: str,
        *,
        on_use: Callable[[str, Reason | None], object] = lambda name, reason: None,
    ) -> Self:
        """Return the servers as the client of this id prefers them; see ServerChoice for `on_use`."""
        order = in_order([str(endpoint) for endpoint in endpoints], client_id, settings.server_policy)
        preferred = [endpoints[place] for place in order]
        choice = ServerChoice(
            [str(endpoint) for endpoint in preferred],
            failback_after_s=settings.failback_after,
            backoff=Backoff(ceiling_s=settings.backoff_max),
            on_use=on_use,
        )
        return cls(preferred, choice)

    @property
    def present(self) -> Endpoint:
        """The server in use, or the one that is tried next."""
        return self.endpoints[self.choice.current]

    @property
    def are_several(self) -> bool:
        """Whether there is a choice."""
        return len(self.endpoints) > 1

    def in_turn(self) -> list[Endpoint]:
        """Return all servers, the present one first."""
        present = self.present
        return [present, *(endpoint for endpoint in self.endpoints if endpoint is not present)]
