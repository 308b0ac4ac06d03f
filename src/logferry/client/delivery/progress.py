"""What the delivery engine needs of whoever remembers how far each source is: of the checkpoints, in a client."""

from collections.abc import Iterable
from typing import Protocol

from logferry.model.source import Source


class DeliveryProgress(Protocol):
    """Remembers sources. Called in the engine's thread."""

    @property
    def patience_s(self) -> float:
        """For how many seconds `save_if_due` need not be called."""

    def register_all(self, sources: Iterable[Source]) -> None:
        """Remember sources, and how they are rendered, on disk, before this returns: it syncs if one of them is new."""

    def follow(self, source: Source) -> None:
        """Remember, when a save is due, where a source is by then."""

    def save_if_due(self) -> None:
        """Save what has moved, if it is time."""
