"""Whatever is done to sources, and whenever the client dies, its memory is of a moment at or after the last save."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logferry.client.state.checkpoints import Checkpoints
from logferry.model.source import Source

MAX_IDLE = 3

sources = st.integers(0, 5)
actions = st.lists(
    st.one_of(
        st.tuples(st.just("register"), sources),
        st.tuples(st.just("commit"), sources),
        st.tuples(st.just("finish"), sources),
        st.tuples(st.just("move"), sources),
        st.tuples(st.just("save"), st.just(0)),
        st.tuples(st.just("fail"), st.integers(0, 500)),
        st.tuples(st.just("crash"), st.integers(0, 2000)),
    ),
    max_size=40,
)


class Model:
    """Checkpoints that are saved, and what has to be in them by plain dictionaries: offsets and inodes by id."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "checkpoints.json"
        self.sources: dict[int, Source] = {}
        self.expected: dict[str, tuple[int, int]] = {}  # of all that was ever registered
        self.open()

    def open(self) -> None:
        """Begin a run."""
        self.checkpoints = Checkpoints(self.path.parent)
        self.sources.clear()
        self.saved = self.found()
        self.content = self.path.read_bytes() if self.path.exists() else b""

    def found(self) -> dict[str, tuple[int, int]]:
        """Return what another process finds on the disk."""
        return {known.id: (known.committed, known.inode) for known in Checkpoints(self.path.parent, read_only=True)}

    def note(self, source: Source) -> None:
        """Tell the checkpoints of a change, and remember it."""
        self.checkpoints.follow(source)
        self.expected[source.id] = (source.committed, source.inode)

    def check_saved(self) -> None:
        """All that happened is on the disk, but for what was forgotten."""
        self.saved = self.found()
        self.content = self.path.read_bytes()
        assert self.saved.items() <= self.expected.items()
        assert self.saved.keys() >= {source.id for source in self.sources.values() if not source.is_finished}
        assert len(self.saved) >= min(MAX_IDLE, len(self.expected))
        for source_id, (_, inode) in self.saved.items():
            assert source_id in {known.id for known in self.checkpoints.of_identity(1, inode)}

    def run(self, action: str, number: int) -> None:
        """Do one thing."""
        source = self.sources.get(number)
        match action:
            case "register":
                self.sources[number] = Source(f"/gone/{number}", device=1, inode=number)
                self.expected[self.sources[number].id] = (0, number)
                if source is not None:
                    source.is_finished = True
                self.checkpoints.save()
                self.checkpoints.register(self.sources[number])
                self.check_saved()
            case "commit" if source is not None:
                source.committed += 7
                self.note(source)
            case "move" if source is not None:
                source.inode += 10
                self.note(source)
            case "finish" if source is not None:
                source.is_finished = True
                self.note(source)
                del self.sources[number]
            case "save":
                self.checkpoints.save()
                if self.path.exists():
                    self.check_saved()
            case "fail":
                with room_for(number):
                    self.checkpoints.save()
                self.check_between()
            case "crash":
                self.crash(number)

    def check_between(self) -> None:
        """Each checkpoint is as it was saved, or as it was to be saved."""
        for source_id, value in self.found().items():
            assert value in (self.saved.get(source_id), self.expected[source_id])
        assert self.found().keys() >= self.saved.keys()

    def crash(self, written: int) -> None:
        """Die in the middle of a save; if it was an append, `written` bytes of it, or all, are there."""
        self.checkpoints.close()
        if self.path.exists():
            after = self.path.read_bytes()
            if after.startswith(self.content):
                os.truncate(self.path, min(len(after), max(len(self.content), 1) + written))
            self.check_between()
            if after.startswith(self.content) and written >= len(after):
                self.check_saved()
        self.open()
        self.expected = dict(self.saved)


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """Let the disk take so many bytes of an append, and nothing else."""
    real, left = os.pwrite, [size]

    def pwrite(descriptor: int, data: bytes, offset: int) -> int:
        if not left[0]:
            raise OSError(28, "No space left on device")
        written = real(descriptor, bytes(data)[: left[0]], offset)
        left[0] -= written
        return written

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with mock.patch("os.pwrite", pwrite), mock.patch("os.replace", refuse):
        yield


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sync nothing, forget and compact soon."""
    monkeypatch.setattr("os.fsync", lambda _: None)
    monkeypatch.setattr("os.fdatasync", lambda _: None)
    monkeypatch.setattr("logferry.client.state.idle_sources.MAX_IDLE", MAX_IDLE)
    monkeypatch.setattr("logferry.client.state.checkpoints._OUTDATED_LINES", 6)


@given(actions)
def test_after_a_crash_the_memory_is_of_a_moment_since_the_last_save(steps: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        model = Model(Path(folder))
        for action, number in steps:
            model.run(action, number)
        model.checkpoints.close()
        if model.path.exists():
            model.check_saved()
