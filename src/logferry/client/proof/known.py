"""What the client alone knows of a name: losses that no server has recorded, and losses that nobody can name any more.

Of most losses the server has a record, too, and verify.py has it from there. Owns which of the client's known losses
are in no such record. Must never hide one that the server does not have.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from logferry.client.finding.patterns import Discovery, is_pattern
from logferry.client.proof.former import FormerSource, names_of
from logferry.client.state.losses_file import KnownLoss, without_files
from logferry.config import FileSettings
from logferry.protocol.messages.reports import RecordedLoss


@dataclass(frozen=True, slots=True)
class ClientKnowledge:
    """The known losses of a state folder, up to which number they are acknowledged, and why they cannot be read."""

    losses: Sequence[KnownLoss] = ()
    acknowledged: int = 0
    unreadable: str = ""

    def of_name(self, path: Path, source: str) -> list[KnownLoss]:
        """Return what is known of the files that had a name, and of the source of the present one."""
        names = names_of(path)
        return [
            loss
            for loss in self.losses
            if loss.path and (loss.path in names or os.path.abspath(loss.path) in names or loss.source == source != "")
        ]

    def names_for(self, wanted: FileSettings) -> Iterator[str]:
        """Yield the names with an unacknowledged loss that match the patterns of an input."""
        patterns = [name for name in wanted.log_file if is_pattern(name)]
        discovery = Discovery(patterns, wanted.exclude)
        for loss in self.losses:
            if loss.number > self.acknowledged and not loss.is_over and loss.path and discovery.asks_for(loss.path):
                yield loss.path

    def problems(self) -> list[str]:
        """Return what may concern any name: nobody knows which files these losses were of."""
        nameless = [loss for loss in self.losses if not loss.path and loss.number > self.acknowledged]
        return [*filter(None, [self.unreadable]), *map(without_files, nameless)]


def add_unrecorded(
    known: Iterable[KnownLoss], present: str, losses: list[RecordedLoss], former: list[FormerSource]
) -> None:
    """Add those of the `known` losses of a name that are not recorded to the present source's, or to a former one's."""
    recorded = {source.source: source.losses for source in former}
    if present:
        recorded[present] = losses
    reasons = [loss.reason for of_source in recorded.values() for loss in of_source]
    for loss in known:
        if loss.is_window or _is_recorded(loss, recorded.get(loss.source, []), reasons):
            continue
        if loss.source not in recorded:
            former.append(FormerSource(loss.source, seen_at=loss.noticed_at))
            recorded[loss.source] = former[-1].losses
        recorded[loss.source].append(_as_recorded(loss))


def _is_recorded(loss: KnownLoss, recorded: Iterable[RecordedLoss], reasons: Sequence[str]) -> bool:
    """Whether the server has the latest of the losses that an entry stands for, and as many for the same reason."""
    has_latest = any(other.start <= loss.start and loss.end <= other.end for other in recorded)
    return has_latest and reasons.count(loss.reason) >= loss.count


def _as_recorded(loss: KnownLoss) -> RecordedLoss:
    times = f" ({loss.count} times, {loss.size} bytes in all)" if loss.count > 1 else ""
    return RecordedLoss(loss.start, loss.end, f"{loss.reason}{times}")
