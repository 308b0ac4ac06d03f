"""The accounts of a run: every line that was read is acked, refused, filtered or blank, or was read again.

Owns that sum, which costs nothing but counts of batches. A run whose accounts do not balance must never end with exit
code 0: the counter `lines_unaccounted` is a shortcoming.
"""

import logging

from logferry.client.delivery.accounts.window import Window
from logferry.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)


def balance(metrics: Metrics, *, acked: int, refused: int, window: Window) -> None:
    """Compare what was read with what the engine knows to be acked, refused and discarded; count and log the rest."""
    read, discarded = metrics.total().counters, window.discarded_lines
    skipped = read.lines_blank + read.lines_joined + read.lines_filtered
    unaccounted = read.lines_read - skipped - acked - refused - discarded
    metrics.add(lines_discarded=discarded, lines_unaccounted=max(0, unaccounted))
    if unaccounted > 0:
        logger.error(
            "the accounts do not balance: of %d lines read, %d were acked, %d refused, %d blank, %d joined, "
            "%d filtered and %d read again; %d are unaccounted for",
            *(read.lines_read, acked, refused, read.lines_blank, read.lines_joined, read.lines_filtered),
            *(discarded, unaccounted),
        )
