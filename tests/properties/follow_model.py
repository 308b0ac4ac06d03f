"""A small model of log files, their writers and what becomes of them, to hold the continuous reader against.

`python tests/properties/follow_model.py --steps 1000000` runs it for as long as you like; the suite runs some thousands
of steps. Every line has a number of its own. At the end each one must have come out exactly once, unless it was
destroyed where the reader could not have seen it, or could not have read it; then it may be missing.
"""

import argparse
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[2] / "src")]

from logferry.client.readers.follow.reader import FollowReader
from logferry.client.recognition.recognise import Recogniser
from logferry.client.state.checkpoints import Checkpoints
from logferry.model.source import Source
from tests.support.builders import Clock
from tests.support.shipping import input_settings

QUIET_S: Final = 60.0
_KEPT_ROTATIONS: Final = 6

ACTIONS: Final = {
    "write": 30,
    "write_late": 4,
    "read_some": 30,
    "read_all": 5,
    "look": 8,
    "rotate": 3,
    "copytruncate": 2,
    "truncate": 1,
    "rewrite": 1,
    "delete": 1,
    "restart": 1,
    "rotate_while_stopped": 1,
    "copytruncate_while_stopped": 1,
    "wait": 2,
}


@dataclass(eq=False)
class LogFile:
    """One file on the disk, and the numbers of the lines that are whole in it."""

    writer: BinaryIO
    lines: list[int] = field(default_factory=list)
    unfinished: bytes = b""
    number: int = 0  # of the line that is unfinished
    is_known: bool = False  # the reader has looked while it had content


class World:
    """Log files under one name or several, a reader that follows them, and the books."""

    def __init__(self, folder: Path, seed: int, *, is_glob: bool = False, max_open_files: int | None = None) -> None:
        self.random = random.Random(seed)
        self.folder = folder / "logs"
        self.folder.mkdir()
        self.path = self.folder / "app.log"
        self.clock = Clock()
        self.counts: Counter[str] = Counter()
        self.delivered: Counter[int] = Counter()
        self.destroyed: set[int] = set()  # numbers of lines that may be missing
        self.last_number = 0
        self._settings = input_settings(self.folder / "app.log*" if is_glob else self.path)
        self._max_open_files = max_open_files
        self._state = folder / "state"
        self._stored: dict[
            str, list[tuple[int, bytes]]
        ] = {}  # what a server has: pieces of sources, with their offsets
        self.current = LogFile(self.path.open("ab", buffering=0))
        self.old: list[LogFile] = []
        self.start()

    # --- the client ---

    def start(self) -> None:
        """Start the reader, with the memory that an earlier one has left."""
        self.checkpoints = Checkpoints(self._state)
        self.reader = FollowReader(
            [self._settings],
            recogniser=Recogniser(self.checkpoints),
            max_open_files=self._max_open_files,
            rotated_quiet_s=QUIET_S,
            clock=self.clock,
        )
        self._known: set[str] = set()  # sources that the server was asked for
        self.current.is_known = True

    def stop(self) -> None:
        """Stop it, or let it crash: then what was saved last is all it remembers."""
        saved = self._state / "checkpoints.json"
        before = saved.read_bytes() if saved.exists() else b""
        self.reader.close()
        self.checkpoints.close()
        if before and self.random.random() < 0.5:
            saved.write_bytes(before)

    def look(self) -> None:
        """Look at the file system."""
        self.reader.poll()
        self.current.is_known = True

    def read_some(self) -> bool:
        """Read one chunk and store it as a server would; False when there was none."""
        chunk = self.reader.read(max_lines=self.random.choice((None, 1, 3)))
        for lost in self.reader.take_losses():
            self.counts["lost bytes"] += lost.end - lost.start
        if chunk is None:
            return False
        source = chunk.source
        if self._is_ahead(source):
            return True
        assert chunk.epoch == source.epoch
        assert chunk.start >= source.committed, (chunk.start, source.committed)
        for line in chunk.data.splitlines():
            self.delivered[int(line[:8])] += 1
        source.committed, source.tail = chunk.end, chunk.tail
        self._stored.setdefault(source.id, []).append((chunk.start, chunk.data))
        self.checkpoints.register(source)
        self.checkpoints.follow(source)
        return True

    def _is_ahead(self, source: Source) -> bool:
        """Whether the server has more of a source than the client knows.

        Then it is read on from there, or as another source if the file has something else (rule E17).
        """
        if source.id in self._known:
            return False
        self._known.add(source.id)
        pieces = [piece for piece in self._stored.get(source.id, []) if piece[0] >= source.committed]
        if not pieces:
            return False
        duplicate = self.reader.duplicate(source)
        assert duplicate is not None
        agrees = all(duplicate.peek(start, len(data)) == data for start, data in pieces)
        duplicate.close()
        committed = pieces[-1][0] + len(pieces[-1][1]) if agrees else None
        self.counts["sent back" if agrees else "made anew"] += 1
        if committed is not None:
            source.go_to(committed, 0, 0)
        source.epoch = source.epoch + 1 if agrees else -1
        self.reader.rewind(source, committed)
        return True

    def read_all(self) -> None:
        """Look, and read until nothing comes."""
        self.look()
        for _ in range(3):  # the first end may be that of noticing a truncation
            while self.read_some():
                pass

    # --- the writers ---

    def write(self) -> None:
        """Append some whole lines, or the beginning of one, or its rest."""
        self._write(self.current)

    def write_late(self) -> None:
        """A writer that has not noticed the rotation goes on."""
        if self.old and self.old[-1].writer.name:
            self._write(self.old[-1])

    def _write(self, file: LogFile) -> None:
        text, numbers = b"", []
        for _ in range(self.random.randint(1, 5)):
            if file.unfinished:
                text += file.unfinished
                numbers.append(file.number)
                file.unfinished = b""
                continue
            self.last_number += 1
            number = b"%08d" % self.last_number  # all over the line: no two pieces of files are equal by chance
            line = b"%s %s\n" % (number, (number * 250)[: self.random.choice((0, 1, 20, 300, 2000))])
            if self.random.random() < 0.1:
                cut = self.random.randint(9, len(line) - 1)
                text, file.unfinished, file.number = text + line[:cut], line[cut:], self.last_number
                break
            text += line
            numbers.append(self.last_number)
        file.writer.write(text)
        file.lines += numbers
        self.counts["lines"] += len(numbers)

    def _finish_line(self, file: LogFile) -> None:
        if file.unfinished:
            file.writer.write(file.unfinished)
            file.lines.append(file.number)
            file.unfinished = b""

    def _destroy(self, file: LogFile) -> None:
        """What was not delivered of a file may be missing from now on."""
        self.destroyed.update(number for number in file.lines if not self.delivered[number])
        if file.unfinished:
            self.destroyed.add(file.number)

    def _create(self) -> None:
        self.current = LogFile(self.path.open("ab", buffering=0))

    def _shift(self) -> None:
        """Make room for a new app.log.1; the oldest one is deleted once it was read, as a careful user does."""
        names = [self.folder / f"app.log.{number}" for number in range(1, _KEPT_ROTATIONS + 1)]
        if names[-1].exists():
            self.read_all()
            names[-1].unlink()
        for older, newer in zip(names[:0:-1], names[-2::-1], strict=True):
            if newer.exists():
                newer.rename(older)

    def _retire_writer(self) -> None:
        self.old.append(self.current)
        while len(self.old) > 2:
            file = self.old.pop(0)
            self._finish_line(file)
            file.writer.close()

    # --- what happens to files ---

    def rotate(self) -> None:
        """Rename the file and create another; the old writer may go on for a while."""
        self.counts["rotations"] += 1
        self.look()
        self._shift()
        self.path.rename(self.folder / "app.log.1")
        self._retire_writer()
        self._create()
        self.look()

    def copytruncate(self) -> None:
        """Copy the file and truncate it, as logrotate does; sometimes again before anybody looks."""
        self.counts["copies"] += 1
        self.look()
        self._finish_line(self.current)
        self.reader.poll()
        self._shift()
        is_seen = self.path.stat().st_size > 0  # of an empty file nobody can tell that it was truncated
        self._copytruncate()
        is_room = not (self.folder / f"app.log.{_KEPT_ROTATIONS}").exists()
        if is_seen and is_room and self.random.random() < 0.3:
            self.counts["copies between looks"] += 1
            self._write(self.current)
            self._finish_line(self.current)
            self._shift()
            self._copytruncate()
        self.look()

    def _copytruncate(self) -> None:
        shutil.copyfile(self.path, self.folder / "app.log.1")
        self.current.writer.truncate(0)
        self.current.lines = []

    def truncate(self) -> None:
        """Empty the file; what was not read of it is gone."""
        self.counts["truncations"] += 1
        self.look()
        self._finish_line(self.current)
        self._destroy(self.current)
        self.current.writer.truncate(0)
        self.current.lines = []

    def rewrite(self) -> None:
        """Put other lines into the file, as many bytes as there were, or more, or fewer."""
        self.counts["rewrites"] += 1
        self.look()
        self._finish_line(self.current)
        self._destroy(self.current)
        size = self.path.stat().st_size
        self.current.writer.truncate(0)
        self.current.lines = []
        wanted = self.random.choice((size, size + 100, size // 2))
        self._write(self.current)
        while self.path.stat().st_size < wanted:
            self._write(self.current)

    def delete(self) -> None:
        """Delete the file, and create another one: it may well get the same inode."""
        self.counts["deletions"] += 1
        self.look()
        if self._max_open_files:
            self.read_all()  # what is not open cannot be held
        self.path.unlink()
        self._retire_writer()
        self._create()
        self.look()

    def restart(self) -> None:
        """Stop the client and start it again."""
        self.counts["restarts"] += 1
        self._close_deleted()
        self.stop()
        self.start()

    def rotate_while_stopped(self) -> None:
        """Rotate once or twice while no client runs."""
        self.counts["rotations while stopped"] += 1
        self._shift()
        self._shift()
        self._close_deleted()
        if not any(self.delivered[number] for number in self.current.lines):
            return  # of an unknown file without content nobody can tell whether it is old
        self.stop()
        for _ in range(self.random.randint(1, 2)):
            for number in range(_KEPT_ROTATIONS - 1, 0, -1):
                name = self.folder / f"app.log.{number}"
                if name.exists():
                    name.rename(self.folder / f"app.log.{number + 1}")
            self.path.rename(self.folder / "app.log.1")
            self._retire_writer()
            self._create()
            self._write(self.current)
        self.start()

    def copytruncate_while_stopped(self) -> None:
        """Copy and truncate while no client runs; the file may grow longer again than it was."""
        self.counts["copies while stopped"] += 1
        self._shift()
        self.read_all()
        self._close_deleted()
        if not any(self.delivered[number] for number in self.current.lines):
            return  # an unknown file is a new one for everybody
        self.stop()
        self._write(self.current)
        self._finish_line(self.current)
        shutil.copyfile(self.path, self.folder / "app.log.1")
        self.current.writer.truncate(0)
        self.current.lines = []
        for _ in range(self.random.randint(0, 20)):
            self._write(self.current)
        self.start()

    def wait(self) -> None:
        """Let so much time pass that rotated files are let go; their writers have ended."""
        for file in self.old:
            self._finish_line(file)
            file.writer.close()
        self.old.clear()
        self.look()
        self.clock.now += QUIET_S
        self.read_all()

    def _close_deleted(self) -> None:
        """A deleted file is gone with the client that holds it: let it be read before."""
        for file in self.old:
            self._finish_line(file)
            file.writer.close()
        self.old.clear()
        self.read_all()

    # --- the end ---

    def end(self) -> None:
        """Let everything be read to its very end, and close it."""
        self._finish_line(self.current)
        for _ in range(4):
            self.wait()
        self.reader.close()
        self.checkpoints.close()
        self.current.writer.close()

    def verdict(self) -> dict[str, list[int]]:
        """Return the numbers of the lines of which something is wrong."""
        return {
            "repeated": [number for number, times in self.delivered.items() if times > 1],
            "missing": [
                number
                for number in range(1, self.last_number + 1)
                if not self.delivered[number] and number not in self.destroyed
            ],
        }


def run(folder: Path, seed: int, steps: int, *, is_glob: bool, max_open_files: int | None = None) -> World:
    """Do random things; return the world as it is at the end."""
    world = World(folder, seed, is_glob=is_glob, max_open_files=max_open_files)
    for action in world.random.choices(list(ACTIONS), list(ACTIONS.values()), k=steps):
        getattr(world, action)()
    world.end()
    return world


def main() -> int:
    """Run many worlds until so many steps are done; exit 1 at the first line that is missing or repeated."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100_000, help="in all; a world has 2000")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    total: Counter[str] = Counter()
    for index in range(max(1, options.steps // 2000)):
        seed = options.seed + index
        folder = Path(tempfile.mkdtemp())
        world = run(folder, seed, 2000, is_glob=seed % 2 == 1, max_open_files=8 if seed % 3 == 0 else None)
        if any(world.verdict().values()):
            print(f"seed {seed}: {world.verdict()}")
            return 1
        total += world.counts
        shutil.rmtree(folder)
    print(f"{options.steps} steps from seed {options.seed}: nothing missing, nothing repeated; {dict(total)}")
    return 0


if __name__ == "__main__":
    os.environ.setdefault("PYTHONHASHSEED", "0")
    sys.exit(main())
