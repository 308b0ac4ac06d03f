"""What sources have lost, as messages: each has the rows that one group of requests added, in JSON.

Owns the format and what is remembered. Reading all messages of a source gives its lists again; appends are made under
the condition that nobody has added anything since. Used in the store's loop alone.
"""

import json
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from logferry.protocol.messages.writing import MAX_OFFSET
from logferry.protocol.plain.acks import MAX_REASON_CHARS
from logferry.server.storage.loss_lists import LossLists
from logferry.server.storage.nats.names import Names
from logferry.server.storage.nats.reading import messages_of
from logferry.server.storage.nats.sources import MalformedSource
from logferry.server.storage.nats.wire import Message, Wire
from logferry.server.storage.records import ExtentRow, LossRow, SourceRow, WindowRow

_VERSION: Final = 1

# Sources whose losses are remembered; a source has at most 2,002 of them.
_MAX_REMEMBERED: Final = 200

# Rows in one message: below any limit, however long the reasons are.
_ROWS: Final = 250


@dataclass(slots=True)
class RecordedLosses:
    """The losses of one source, and the sequence of its last message."""

    lists: LossLists = field(default_factory=LossLists)
    sequence: int = 0


class Losses:
    """Reads and appends."""

    def __init__(self, wire: Wire, names: Names) -> None:
        self._wire = wire
        self._names = names
        self._remembered: OrderedDict[str, RecordedLosses] = OrderedDict()

    async def read(self, source: str) -> RecordedLosses:
        """Read the losses of a source. Raises NatsError."""
        subject, recorded = self._names.losses(source), RecordedLosses()
        last = await self._wire.last(self._names.meta, subject)
        if last is not None:
            async for message in messages_of(self._wire, self._names.meta, subject, 1, last.sequence):
                _replay(message, source, recorded.lists)
                recorded.sequence = message.sequence
        return recorded

    async def load(self, source: str) -> RecordedLosses:
        """Return the losses of a source, remembered or read. Raises NatsError."""
        recorded = self._remembered.get(source)
        if recorded is None:
            recorded = self._remembered[source] = await self.read(source)
            if len(self._remembered) > _MAX_REMEMBERED:
                self._remembered.popitem(last=False)
        self._remembered.move_to_end(source)
        return recorded

    def forget(self, source: str) -> None:
        """Have the losses of a source read again."""
        self._remembered.pop(source, None)

    async def append(self, source: str, planned: "PlannedLosses") -> None:
        """Append what was planned; afterwards it is remembered. Raises NatsError; then it is not."""
        sequence = planned.after
        self.forget(source)
        for first in range(0, len(planned.rows), _ROWS):
            body = {"version": _VERSION, "rows": planned.rows[first : first + _ROWS]}
            subject, payload = self._names.losses(source), json.dumps(body).encode()
            sequence = await self._wire.publish(subject, [payload], {}, stream=self._names.meta, after=sequence)
        self._remembered[source] = RecordedLosses(planned.lists, sequence)


class PlannedLosses:
    """What a group adds to the losses of one source: `SourceRecords`, to which only losses and windows matter."""

    def __init__(self, recorded: RecordedLosses) -> None:
        self.lists = recorded.lists.copy()
        self.after = recorded.sequence
        self.rows: list[list[Any]] = []

    def source(self, _: str) -> SourceRow | None:
        """See SourceRecords; likewise below."""
        return None

    def add_sources(self, _: Iterable[SourceRow]) -> None:
        """Do nothing: appends.py does, likewise the following."""

    def set_owners(self, _: Iterable[SourceRow]) -> None:
        """Do nothing."""

    def set_sources(self, _: Iterable[SourceRow]) -> None:
        """Do nothing."""

    def set_extents(self, _: Iterable[tuple[str, ExtentRow]]) -> None:
        """Do nothing."""

    def add_loss(self, loss: LossRow) -> bool:
        return self._note(self.lists.add_loss(loss), _loss("loss", loss))

    def add_window(self, window: WindowRow) -> bool:
        return self._note(self.lists.add_window(window), _window("window", window))

    def join_loss(self, loss: LossRow) -> bool:
        return self._note(self.lists.join_loss(loss), _loss("losses", loss))

    def join_window(self, window: WindowRow) -> bool:
        return self._note(self.lists.join_window(window), _window("windows", window))

    def has_loss(self, loss: LossRow) -> bool:
        return loss in self.lists.losses

    def count_losses(self, _: str, most: int) -> int:
        return min(most, len(self.lists.losses))

    def count_windows(self, _: str, most: int) -> int:
        return min(most, len(self.lists.windows))

    def _note(self, is_new: bool, row: list[Any]) -> bool:
        if is_new:
            self.rows.append(row)
        return is_new


def _loss(kind: str, row: LossRow) -> list[Any]:
    return [kind, row.start, row.end, row.reason, row.is_lost]


def _window(kind: str, row: WindowRow) -> list[Any]:
    return [kind, row.start, row.last_look, row.noticed, row.reason]


def _replay(message: Message, source: str, lists: LossLists) -> None:
    """Add what a message says to lists. Raises MalformedSource."""
    try:
        body = json.loads(message.payload)
        if body["version"] != _VERSION:
            raise ValueError
        for row in body["rows"]:
            _add(row, source, lists)
    except (KeyError, TypeError, ValueError):
        raise MalformedSource(f"message {message.sequence} of {message.subject} is not a list of losses") from None


def _add(row: list[Any], source: str, lists: LossLists) -> None:
    kind, *values = row
    if kind in ("loss", "losses"):
        start, end, reason, is_lost = values
        loss = LossRow(source, _offset(start), _offset(end), _reason(reason), is_lost is not False)
        (lists.add_loss if kind == "loss" else lists.join_loss)(loss)
    elif kind in ("window", "windows"):
        start, last_look, noticed, reason = values
        window = WindowRow(source, _offset(start), _offset(last_look), _offset(noticed), _reason(reason))
        (lists.add_window if kind == "window" else lists.join_window)(window)
    else:
        raise ValueError


def _offset(value: object) -> int:
    if type(value) is not int or not 0 <= value <= MAX_OFFSET:
        raise ValueError
    return value


def _reason(value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_REASON_CHARS:
        raise ValueError
    return value
