"""What connections submit to a store: deliveries, and the requests of the delivery extension that travel with them.

A delivery belongs to the thread that made it until it is submitted, then to the store, and after `on_stored` to the
thread that submitted it again; so it needs no lock.
"""

import itertools
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from logferry.protocol.delivery_answers import BatchRefused, Position
from logferry.protocol.delivery_requests import BatchRequest, Note, Open, Skip
from logferry.server.storage.log_names import LogName


@dataclass(frozen=True, slots=True)
class ReleaseSources:
    """A connection has ended: those of `sources` that the connection still owns have no owner any more."""

    sources: tuple[str, ...]


@dataclass(slots=True, eq=False)
class SourceRequest:
    """What a connection of a client on `host` asks for a source. No two connections have the same number.

    The store sets `outcome`, what to answer, if anything; `log`, where the lines of a batch are kept; and `path`, that
    of the source, if the request has recorded a loss that was not recorded before.
    """

    message: Open | BatchRequest | Skip | Note | ReleaseSources
    connection: int
    client: str
    host: str
    outcome: Position | BatchRefused | None = None
    log: LogName | None = None
    path: str | None = None


@dataclass(slots=True, eq=False)
class Delivery:
    """Lines to store together: `pieces` joined is NDJSON of `lines` lines and `size` bytes.

    With a `source_request` the lines are those of a source: the store decides whether and where to keep them. Without
    one they are kept in `log`. The store sets `is_stored`: a repeat, a refused batch and an empty delivery are not. It
    keeps the callback in `on_stored`, because a tuple of both costs more than a field.
    """

    log: LogName
    pieces: list[bytes]
    lines: int
    size: int
    source_request: SourceRequest | None = field(default=None, kw_only=True)
    is_stored: bool = field(default=False, init=False)
    on_stored: "OnStored[Any]" = field(init=False, repr=False)


AnyDelivery = TypeVar("AnyDelivery", bound=Delivery)

OnStored = Callable[[Sequence[AnyDelivery]], None]
"""Called with deliveries that have become safe together."""


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
