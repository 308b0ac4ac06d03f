"""Indexes checkpoints in memory by the id of their source, by path and real path, and by device and inode.

Owns the lookup tables; the cost of a lookup does not depend on the number of checkpoints. Must never decide which
checkpoints are kept: state/checkpoints.py does.
"""

from collections.abc import Iterator

from logferry.client.files.identity import FileIdentity
from logferry.client.state.checkpoint import Checkpoint


class CheckpointIndex:
    """A collection of checkpoints, one for each source. Not thread-safe: callers lock it."""

    def __init__(self) -> None:
        self._by_id: dict[str, Checkpoint] = {}
        self._ids: dict[str | FileIdentity, list[str]] = {}  # by path, and by device and inode; oldest first

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Checkpoint]:
        return iter(self._by_id.values())

    def __contains__(self, source_id: str) -> bool:
        return source_id in self._by_id

    def __getitem__(self, source_id: str) -> Checkpoint:
        return self._by_id[source_id]

    def get(self, source_id: str) -> Checkpoint | None:
        """Return the checkpoint of a source; None if it has none."""
        return self._by_id.get(source_id)

    def ids_of(self, key: str | FileIdentity) -> list[str]:
        """Return the ids of all sources with this path or real path, or with this device and inode, oldest first."""
        return list(self._ids.get(key, ()))

    def is_latest_of_identity(self, checkpoint: Checkpoint) -> bool:
        """Whether no later source has the device and inode of this one."""
        return self._ids[checkpoint.identity][-1] == checkpoint.id

    def put(self, checkpoint: Checkpoint) -> None:
        """Add a checkpoint, or replace the earlier one of the same source."""
        before = self._by_id.get(checkpoint.id)
        if before is None or _keys(before) != _keys(checkpoint):
            if before is not None:
                self._unlist(before)
            for key in _keys(checkpoint):
                if key in self._ids:
                    self._ids[key].append(checkpoint.id)
                else:
                    self._ids[key] = [checkpoint.id]  # smaller than an empty list that grows
        self._by_id[checkpoint.id] = checkpoint

    def remove(self, source_id: str) -> None:
        """Remove the checkpoint of a source, if it has one."""
        checkpoint = self._by_id.pop(source_id, None)
        if checkpoint is not None:
            self._unlist(checkpoint)

    def _unlist(self, checkpoint: Checkpoint) -> None:
        for key in _keys(checkpoint):
            ids = self._ids[key]
            ids.remove(checkpoint.id)
            if not ids:
                del self._ids[key]


def _keys(checkpoint: Checkpoint) -> tuple[str | FileIdentity, ...]:
    return *checkpoint.places, checkpoint.identity
