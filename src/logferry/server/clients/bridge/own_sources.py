"""What an identity may see of a store: its own sources, under the ids that its clients know (rule E37).

Translates between those ids and the recorded ones. A source of somebody else is like one that was never stored.
"""

from collections.abc import Sequence
from dataclasses import replace

from logferry.protocol.messages.answers import Position
from logferry.protocol.messages.repairs import DamagePage, RepairOutcome, StoredContent
from logferry.protocol.messages.reports import LossPage, ReportPage, SourcesPage
from logferry.protocol.messages.requests import Content, Losses, Repair, SourcesOf
from logferry.server.storage.owners import Owner
from logferry.server.storage.store import Store


class OwnSources:
    """Answers the questions of one owner. Every method is that of `Store`, and may wait for the disk."""

    def __init__(self, store: Store, owner: Owner) -> None:
        self._store = store
        self._owner = owner

    def _known_as(self, sources: Sequence[str]) -> dict[str, str]:
        """Return the ids by which the owner knows sources, by the ids under which they are recorded."""
        recorded, owner = self._store.owners_of(sources), self._owner
        return {
            source if source in recorded and owner.may_use(recorded[source]) else owner.recorded_id(source): source
            for source in sources
        }

    def _recorded(self, source: str) -> str:
        (recorded,) = self._known_as((source,))
        return recorded

    def owners_of(self, sources: Sequence[str]) -> dict[str, str]:
        """See Store; likewise below."""
        known_as = self._known_as(sources)
        return {known_as[source]: name for source, name in self._store.owners_of(list(known_as)).items()}

    def sources_of(self, question: SourcesOf) -> SourcesPage:
        return self._store.sources_of(question, self._owner)

    def positions(self, sources: Sequence[str]) -> list[Position]:
        known_as = self._known_as(sources)
        return [at._replace(source=known_as[at.source]) for at in self._store.positions(list(known_as))]

    def report(self, source: str, after: int) -> ReportPage:
        return self._store.report(self._recorded(source), after)._replace(source=source)

    def losses(self, question: Losses) -> LossPage:
        page = self._store.losses(replace(question, source=self._recorded(question.source)))
        return page._replace(source=question.source)

    def content(self, request: Content) -> StoredContent:
        stored = self._store.content(replace(request, source=self._recorded(request.source)))
        return stored._replace(source=request.source)

    def damaged(self, source: str, after: int) -> DamagePage:
        return self._store.damaged(self._recorded(source), after)._replace(source=source)

    def repair(self, request: Repair) -> RepairOutcome:
        outcome = self._store.repair(replace(request, source=self._recorded(request.source)))
        return outcome._replace(source=request.source)
