"""Divides what a store has recorded as lost, skipped or never seen into pages that fit into an answer.

Owns the size of such a page. Pure: a store passes what it has recorded, in order (docs/protocol.md, rule E34).
"""

from collections.abc import Iterable, Sequence
from typing import Final

from logferry.protocol.messages.reports import (
    PAGE_BYTES,
    REPORT_PAGE,
    LossPage,
    RecordedLoss,
    RecordedWindow,
    RecordPlace,
    json_bytes,
)
from logferry.server.storage.records import LossRow, WindowRow

LOSSES: Final = 0  # the tables that a RecordPlace names
WINDOWS: Final = 1

# Rows that a store must offer so that a page can be full and the place of the next one known.
ROWS: Final = REPORT_PAGE + 1

_LOSS_BYTES: Final = PAGE_BYTES // 2

Recorded = tuple[RecordPlace, LossRow | WindowRow]


def loss_page(source: str, recorded: Iterable[Recorded]) -> LossPage:
    """Return the page that begins with the first of the rows `recorded`; it has at least one row if there is one."""
    taken: list[LossRow | WindowRow] = []
    following = None
    left = _LOSS_BYTES
    for place, row in recorded:
        left -= json_bytes(_value(row))
        if taken and (left < 0 or len(taken) == REPORT_PAGE):
            following = place
            break
        taken.append(row)
    losses = [row for row in taken if isinstance(row, LossRow)]
    return LossPage(
        source,
        lost=tuple(_loss(row) for row in losses if row.is_lost),
        skipped=tuple(_loss(row) for row in losses if not row.is_lost),
        windows=tuple(_window(row) for row in taken if isinstance(row, WindowRow)),
        next=following,
    )


def first_losses(rows: Sequence[LossRow], windows: Sequence[WindowRow]) -> LossPage:
    """Return what the first page of a report has room for: losses first, then windows, then what was skipped."""
    in_order: tuple[LossRow | WindowRow, ...] = (
        *(row for row in rows if row.is_lost),
        *windows,
        *(row for row in rows if not row.is_lost),
    )
    return loss_page("", ((RecordPlace(), row) for row in in_order))


def _value(row: LossRow | WindowRow) -> RecordedLoss | RecordedWindow:
    return _loss(row) if isinstance(row, LossRow) else _window(row)


def _loss(row: LossRow) -> RecordedLoss:
    return RecordedLoss(row.start, row.end, row.reason)


def _window(row: WindowRow) -> RecordedWindow:
    return RecordedWindow(row.start, row.last_look, row.noticed, row.reason)
