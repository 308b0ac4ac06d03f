"""The seam through which the delivery engine saves the position of each source; a client's checkpoints implement it."""

from collections.abc import Iterable
from typing import Protocol

from logferry.model.source import Source


class DeliveryProgress(Protocol):
    """Remembers sources. Called in the engine's thread."""

    @property
    def patience_s(self) -> float:
        """For how many seconds `save_if_due` need not be called."""

    def register_all(self, sources: Iterable[Source]) -> None:
        """Save sources, and how they are rendered, on disk before this returns; syncs if one of them is new."""

    def note(self, source: Source) -> None:
        """Take note of a source's position now, in memory: another store may have less of it, or it may go back."""

    def known_ids(self) -> list[str]:
        """Return the ids of all sources that the client remembers, whether or not it reads them now."""

    def known_source(self, source_id: str) -> Source | None:
        """Return the source that is being read, or else what is remembered of it as a source; None if nothing is."""

    def found_in(self, source_id: str, store: str) -> None:
        """Have the next save that is due record that a store has all of a source that was acked."""

    def store_of(self, server: str) -> str:
        """Return the id of the store that a server ("host:port") had when it last said so; "" if that is not known."""

    def learn_store(self, server: str, store: str) -> None:
        """Have the next save record which store a server has."""

    def why_missing(self, source: Source, store: str, *, found: int) -> str:
        """Return why a store has only the first `found` bytes of a source, although more were acked."""

    def follow(self, source: Source) -> None:
        """Have the next save that is due include the source, at the position that it has reached by then."""

    def save_if_due(self) -> None:
        """Save the sources that have moved, if a save is due."""
