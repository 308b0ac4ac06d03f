"""Random writing, rotating, truncating and reading against a model: every byte comes out once, or is reported."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

import pytest

from logferry.client.readers.follow.reader import FollowReader
from logferry.model.source import Source
from tests.support.builders import Clock
from tests.support.shipping import input_settings

QUIET_S: Final = 60.0
STEPS: Final = 1200


@dataclass(eq=False)
class Life:
    """What was written to a file from its creation, or its truncation, to its end, or its next truncation."""

    content: bytearray = field(default_factory=bytearray)
    is_truncated: bool = False
    was_noticed: bool = True  # the reader has read since the truncation that began this life
    is_final: bool = False  # nobody will end its last line any more
    source: Source | None = None  # the one that the reader gives its bytes under
    read: int = 0

    @property
    def readable(self) -> int:
        """How many bytes the reader should give out if it is let."""
        return len(self.content) if self.is_final else self.content.rfind(b"\n") + 1


@dataclass(eq=False)
class LogFile:
    """A file, under whatever name, and its writer."""

    writer: BinaryIO
    lives: list[Life] = field(default_factory=lambda: [Life()])


class World:
    """A log file, its writers, a reader that follows it, and the books on what was written and read."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.path = folder / "app.log"
        self.clock = Clock()
        self.counts = dict.fromkeys(("lines", "rotations", "truncations", "lost"), 0)
        self.files: list[LogFile] = []
        self.create()
        self.reader = FollowReader([input_settings(self.path)], rotated_quiet_s=QUIET_S, clock=self.clock)
        self.lost_bytes = 0

    def create(self) -> None:
        self.files.append(LogFile(self.path.open("ab", buffering=0)))

    @property
    def lives(self) -> Iterator[Life]:
        return (life for file in self.files for life in file.lives)

    # --- actions ---

    def write(self) -> None:
        """Write some whole lines, or the beginning of one, or its rest, mostly to the newest file."""
        writable = [file for file in self.files if not file.lives[-1].is_final]
        file = self.random.choice(writable) if self.random.random() < 0.2 else writable[-1]
        text = b""
        for _ in range(self.random.randint(1, 5)):
            self.counts["lines"] += 1
            text += b"%08d %s\n" % (self.counts["lines"], b"x" * self.random.choice((0, 1, 20, 300)))
        if self.random.random() < 0.4:
            text = text[: -self.random.randint(1, 5)].removesuffix(b"\n") if len(text) > 20 else text
        file.writer.write(text)
        file.lives[-1].content += text

    def poll(self) -> None:
        self.reader.poll()

    def rotate(self) -> None:
        """Rename (or delete) the file and create another; the old writer may go on for a while."""
        self.poll()
        self.counts["rotations"] += 1
        if self.random.random() < 0.3:
            self.path.unlink()
        else:
            self.path.rename(self.path.with_name(f"old-{self.counts['rotations']}"))
        self.create()

    def truncate(self) -> None:
        """Empty the file, as copytruncate does. Only what was there at a look can be known to be lost."""
        self.poll()
        file = self.files[-1]
        life = file.lives[-1]
        if not life.was_noticed:
            return
        self.counts["truncations"] += 1
        self.counts["lost"] += len(life.content) - life.read
        life.is_truncated = True
        file.writer.truncate(0)
        file.lives.append(Life(was_noticed=False))

    def read(self) -> bool:
        """Read one chunk and enter it into the books; False when there was none."""
        chunk = self.reader.read(max_lines=self.random.choice((None, 1, 3)))
        self.lost_bytes += sum(lost.end - lost.start for lost in self.reader.take_losses())
        if chunk is None:
            return False
        life = next((life for life in self.lives if life.source is chunk.source), None)
        if life is None:
            life = next(life for life in self.lives if chunk.data[:8] == life.content[:8] and life.source is None)
            life.source = chunk.source
        assert chunk.start == life.read
        assert chunk.data == life.content[chunk.start : chunk.end]
        assert not life.is_truncated
        life.read = chunk.source.committed = chunk.end
        return True

    def read_all(self) -> None:
        """Read until nothing comes; then every whole line must have come."""
        self.poll()
        for _ in range(2):  # the first end may be that of noticing a truncation
            while self.read():
                pass
        for life in self.lives:
            if not life.is_truncated:
                life.was_noticed = True
                assert life.content.rfind(b"\n") + 1 <= life.read <= life.readable

    def be_quiet(self) -> None:
        """Let so much time pass that rotated files are let go; their writers have ended."""
        self.poll()
        for file in self.files[:-1]:
            file.lives[-1].is_final = True
            file.writer.close()
        self.clock.now += QUIET_S

    def end(self) -> None:
        """Let all rotated files be read to their very end."""
        for _ in range(2 * len(self.files) + 2):
            self.be_quiet()
            self.read_all()
        self.reader.close()
        for file in self.files:
            file.writer.close()


@pytest.mark.parametrize("seed", range(4))
def test_every_byte_is_read_once_or_reported_as_lost(tmp_path: Path, seed: int) -> None:
    world = World(tmp_path, seed)
    actions = [world.write, world.poll, world.read, world.read_all, world.rotate, world.truncate, world.be_quiet]
    weights = [30, 10, 30, 5, 3, 3, 1]
    for action in world.random.choices(actions, weights, k=STEPS):
        action()
    world.end()

    missing = [life for life in world.lives if not life.is_truncated and life.read != life.readable]
    assert not missing
    assert world.lost_bytes == world.counts["lost"]
    sources = [life.source.id for life in world.lives if life.source]
    assert len(set(sources)) == len(sources)
    assert min(world.counts.values()) > 10, f"too little has happened to prove anything: {world.counts}"
