"""Which sources had a path of a host: an index made from the records of all sources, for `verify`.

Read when somebody asks, from where it was read last. Used in the store's loop alone.
"""

from datetime import datetime
from typing import NamedTuple

from logferry.protocol.messages.reports import SOURCES_PAGE, NamedSource, SourcesPage
from logferry.protocol.messages.requests import SourcesOf
from logferry.server.storage.nats.names import Names, source_of
from logferry.server.storage.nats.reading import messages_of
from logferry.server.storage.nats.sources import MalformedSource, Sources, record_of
from logferry.server.storage.nats.wire import Wire
from logferry.server.storage.owners import Owner


class _Recorded(NamedTuple):
    owner: str
    opened_at: int  # milliseconds of Unix time


class SourceIndex:
    """The sources of each path."""

    def __init__(self, wire: Wire, names: Names, sources: Sources) -> None:
        self._wire = wire
        self._names = names
        self._sources = sources
        self._by_path: dict[tuple[str, str], dict[str, _Recorded]] = {}
        self._read_up_to = 0

    async def sources_of(self, question: SourcesOf, owner: Owner | None) -> SourcesPage:
        """See Store. Raises NatsError."""
        await self._read_on()
        page: list[NamedSource] = []
        known = self._by_path.get((question.host, question.path), {})
        shown = [
            (owner.own_id(source) if owner else source, source, recorded)
            for source, recorded in known.items()
            if owner is None or owner.may_use(recorded.owner)
        ]
        following = [each for each in sorted(shown) if each[0] > question.after]
        for own_id, source, recorded in following[:SOURCES_PAGE]:
            head = await self._sources.read(source)
            row = head.row if head else None
            page.append(NamedSource(own_id, row.committed if row else 0, row.lines if row else 0, recorded.opened_at))
        return SourcesPage(tuple(page), has_more=len(following) > SOURCES_PAGE)

    async def _read_on(self) -> None:
        meta, subject = self._names.meta, self._names.all_sources
        last = await self._wire.last(meta, subject)
        if last is None or last.sequence <= self._read_up_to:
            return
        async for message in messages_of(self._wire, meta, subject, self._read_up_to + 1, last.sequence):
            try:
                names = record_of(message)
            except MalformedSource:
                continue  # to open such a source fails, and says why
            sources = self._by_path.setdefault((names.host, names.path), {})
            source = source_of(message.subject)
            first = sources.get(source)
            sources[source] = _Recorded(names.owner, first.opened_at if first else unix_ms(message.at))
            self._read_up_to = message.sequence


def unix_ms(text: str) -> int:
    """Return the time in an answer of NATS, 0 if it is not one."""
    try:
        return round(datetime.fromisoformat(text).timestamp() * 1000)
    except ValueError:
        return 0
