"""What connections submit to a store: deliveries, and the requests of the delivery extension that travel with them.

A delivery belongs to the thread that made it until that thread submits it, then to the store, and after `on_stored` to
the first thread again. So a delivery needs no lock.
"""

import itertools
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from logferry.model.event_times import UNREAD_TIMES, EventTimes
from logferry.protocol.messages.answers import BatchRefused, Position, WindowRecorded
from logferry.protocol.messages.requests import BatchRequest, Note, Open, Skip, Window
from logferry.server.storage.log_names import LogName
from logferry.server.storage.owners import Owner


@dataclass(frozen=True, slots=True)
class ReleaseSources:
    """A connection has ended: those of `sources` that the connection still owns no longer have an owner."""

    sources: tuple[str, ...]


@dataclass(slots=True, eq=False)
class SourceRequest:
    """A request about a source, for `owner`, who would own it, on `host`. No two connections have the same number.

    The store sets `source` (the id under which the source is recorded), `outcome` (the answer, if the request needs
    one), `log` (where the lines of a batch are kept), and `path` (the path of the source, if the request recorded a
    loss or window that was not recorded before).
    """

    message: Open | BatchRequest | Skip | Note | Window | ReleaseSources
    connection: int
    owner: Owner
    host: str
    source: str = ""
    outcome: Position | BatchRefused | WindowRecorded | None = None
    log: LogName | None = None
    path: str | None = None


@dataclass(slots=True, eq=False)
class Delivery:
    """Lines to store together: `pieces` joined is NDJSON of `lines` lines and `size` bytes.

    With a `source_request`, the lines belong to a source, and the store decides whether and where to keep them. Without
    one, the store keeps the lines in `log`. `times` says when their events happened. `sender` says whose they are:
    senders take turns, and each keeps its order.
    The store sets `is_stored`: a repeat, a refused batch and an empty delivery are not; `is_held` once it has to wait
    while others are stored; and `is_given_up` if its caller has asked for that.
    The store keeps the callback of `submit` in `on_stored`: a tuple of delivery and callback costs more than a field.
    """

    log: LogName
    pieces: list[bytes]
    lines: int
    size: int
    source_request: SourceRequest | None = field(default=None, kw_only=True)
    times: EventTimes = field(default=UNREAD_TIMES, kw_only=True)
    sender: str | int = field(default="", kw_only=True)
    is_stored: bool = field(default=False, init=False)
    is_held: bool = field(default=False, init=False)
    is_given_up: bool = field(default=False, init=False)
    on_stored: "OnStored[Any]" = field(init=False, repr=False)


AnyDelivery = TypeVar("AnyDelivery", bound=Delivery)

OnStored = Callable[[Sequence[AnyDelivery]], None]
"""Called with deliveries that became safe together."""


def report_stored(group: Sequence[Delivery]) -> None:
    """Call each `on_stored` once, with its deliveries in their order."""
    if len(group) == 1:
        group[0].on_stored(group)
        return
    by_callback: dict[OnStored[Any], list[Delivery]] = {}
    for on_stored, run in itertools.groupby(group, key=operator.attrgetter("on_stored")):
        by_callback.setdefault(on_stored, []).extend(run)
    for on_stored, deliveries in by_callback.items():
        on_stored(deliveries)
