"""What an identity sees of a store, for which every question may open the ledger."""

from collections.abc import Sequence

from logferry.server.clients.bridge.own_sources import OwnSources
from logferry.server.storage.memory_store import MemoryStore
from logferry.server.storage.owners import of_identity


class Counting(MemoryStore):
    """Counts the looks at owners."""

    looks = 0

    def owners_of(self, sources: Sequence[str]) -> dict[str, str]:
        """See Store."""
        self.looks += 1
        return super().owners_of(sources)


def test_the_owners_of_a_page_of_sources_are_looked_up_together() -> None:
    """A client asks for 250 positions at a time, of all its sources, after each connect."""
    store = Counting()
    store.open(lambda: None)
    assert OwnSources(store, of_identity("web", "c")).positions([f"s{number}" for number in range(250)]) == []
    assert store.looks == 1
