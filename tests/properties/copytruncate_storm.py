"""A storm of copytruncate rotations against the continuous reader: as fast as a shell can do them, names moving up.

`python tests/properties/copytruncate_storm.py --storms 100` runs it for as long as you like. Another process appends
lines to a file, moves `app.log.1` to `app.log.2` and so on, copies the file to `app.log.1` and truncates it, again and
again. Every copy stays there; so every line must come out exactly once, soon after the storm, and none may be reported
as lost.
"""

import argparse
import multiprocessing
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[2] / "src")]

from logferry.client.finding.inotify import FolderWatcher
from logferry.client.readers.follow.reader import FollowReader
from logferry.client.recognition.recognise import Recogniser
from logferry.client.state.checkpoints import Checkpoints
from tests.support.shipping import input_settings

# What is there must be delivered within this time after the storm.
_SOON_S: Final = 5.0


@dataclass
class Storm:
    """How many rotations of how many lines, and how long the writer pauses before some of them."""

    rotations: int = 30
    lines: int = 500
    pause_s: float = 0.0

    def run(self, log: Path) -> None:
        """Write and rotate."""
        number = 0
        for rotation in range(self.rotations):
            with log.open("ab") as file:
                file.write(b"".join(_line(number + index) for index in range(self.lines)))
            number += self.lines
            time.sleep(self.pause_s * (rotation % 3))
            for older in range(rotation, 0, -1):
                log.with_name(f"app.log.{older}").rename(log.with_name(f"app.log.{older + 1}"))
            shutil.copyfile(log, log.with_name("app.log.1"))
            with log.open("r+b") as file:
                file.truncate()


def _line(number: int) -> bytes:
    return b"%08d %s\n" % (number, b"%08d" % number * 14)


@dataclass
class Outcome:
    """What was delivered, and what was reported as lost."""

    delivered: Counter[int] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)

    def problems(self, storm: Storm) -> list[str]:
        """Return what is wrong, in words."""
        numbers = range(storm.rotations * storm.lines)
        missing = [number for number in numbers if not self.delivered[number]]
        repeated = [number for number, times in self.delivered.items() if times > 1]
        found = [f"{len(missing)} missing, first {missing[0]}"] if missing else []
        found += [f"{len(repeated)} repeated, first {min(repeated)}"] if repeated else []
        return found + self.lost + (self.held if missing else [])


def follow(folder: Path, pattern: str, storm: Storm, *, is_watched: bool) -> Outcome:
    """Follow a file through a storm, as a client with an immediate server would."""
    log = folder / "app.log"
    log.touch()
    checkpoints = Checkpoints(None)
    watcher = FolderWatcher.create() if is_watched else None
    settings = input_settings(folder / pattern)
    reader = FollowReader([settings], recogniser=Recogniser(checkpoints), watcher=watcher)
    outcome = Outcome()
    process = multiprocessing.get_context("fork").Process(target=storm.run, args=(log,))
    process.start()
    try:
        _read_until(reader, checkpoints, outcome, lambda: not process.is_alive())
        process.join()
        end, expected = time.monotonic() + _SOON_S, storm.rotations * storm.lines
        _read_until(reader, checkpoints, outcome, lambda: len(outcome.delivered) >= expected or time.monotonic() > end)
        outcome.held = [f"{report.name} at {report.offset}: {report.problem}" for report in reader.report()]
    finally:
        process.kill()
        process.join()
        reader.close()
    return outcome


def _read_until(reader: FollowReader, checkpoints: Checkpoints, outcome: Outcome, is_over: Callable[[], bool]) -> None:
    while not is_over():
        reader.poll()
        while chunk := reader.read(max_lines=None):
            outcome.delivered.update(int(line[:8]) for line in chunk.data.splitlines())
            chunk.source.committed, chunk.source.tail = chunk.end, chunk.tail
            checkpoints.register(chunk.source)
        outcome.lost += [f"lost {loss.start} to {loss.end}: {loss.reason}" for loss in reader.take_losses()]


def main() -> int:
    """Run storms; exit 1 if a line was missing, repeated or reported as lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--storms", type=int, default=20)
    parser.add_argument("--rotations", type=int, default=30)
    parser.add_argument("--lines", type=int, default=500)
    options = parser.parse_args()
    failed = 0
    for index in range(options.storms):
        pattern, pause_s = ("app.log", "app.log*")[index % 2], (0.0, 0.001, 0.01)[index % 3]
        storm = Storm(options.rotations, options.lines, pause_s)
        with tempfile.TemporaryDirectory() as folder:
            problems = follow(Path(folder), pattern, storm, is_watched=index % 4 > 1).problems(storm)
        failed += bool(problems)
        way = f"{pattern}, pause {pause_s} s, {'watched' if index % 4 > 1 else 'polled'}"
        if problems:
            print(f"storm {index} ({way}): {'; '.join(problems)[:1500]}", flush=True)
    print(f"{failed} of {options.storms} storms with a line missing, repeated or reported as lost")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
