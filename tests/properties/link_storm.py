"""A storm of changes of a link, and of rotations where it leads, under a reader that looks at any moment.

`python tests/properties/link_storm.py --rounds 500` runs it for as long as you like; the suite runs a few rounds. Every
line has a number of its own, and must come out exactly once, whether the client runs or is stopped meanwhile.
"""

import argparse
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Final

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[2] / "src")]

from logferry.client.readers.follow.reader import FollowReader
from logferry.client.recognition.recognise import Recogniser
from logferry.client.state.checkpoints import Checkpoints
from tests.support.shipping import input_settings

TARGETS: Final = (
    "run-{}.log",
    "app-2026030{}.log",
    "releases/{}/out.log",
    "2026-03-0{0}/app_{0}.log",
)
_PIECE: Final = 10
_DEADLINE_S: Final = 30.0


class Storm:
    """A link that leads to one file after the other; each file may be rotated while the link leads to it."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.folder = folder
        self.link = folder / "current.log"
        self.state = folder / "state"
        self.written = 0
        self.delivered: Counter[int] = Counter()
        self._target = self.random.choice(TARGETS)
        self._number = 0
        self.switch()
        self.write()

    @property
    def _path(self) -> Path:
        return self.folder / self._target.format(self._number)

    def write(self) -> None:
        """Append some lines with new numbers to the file that the link leads to, or will lead to next."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as file:
            file.writelines(f"{number} line\n" for number in range(self.written, self.written + _PIECE))
        self.written += _PIECE

    def switch(self) -> None:
        """Write to the next file, and point the link there."""
        self._number += 1
        self.write()
        aside = self.folder / ".aside"
        aside.symlink_to(self._path)
        aside.rename(self.link)

    def rotate(self) -> None:
        """Rotate the file that the link leads to, where it is, and create it anew."""
        rotations = len(list(self._path.parent.glob(f"{self._path.name}.*")))
        self._path.rename(self._path.with_name(f"{self._path.name}.20260304-1112{rotations:02}"))
        self.write()

    def rage(self) -> None:
        """Change everything several times."""
        for _ in range(self.random.randint(2, 5)):
            self.random.choice((self.switch, self.switch, self.rotate, self.write))()
            if self.random.random() < 0.5:
                time.sleep(self.random.random() * 0.003)  # any moment of a look; nothing waits for it
        self.write()


class Client:
    """A reader of the storm; whatever it reads is acked at once."""

    def __init__(self, storm: Storm) -> None:
        self._storm = storm
        self._checkpoints = Checkpoints(storm.state)
        self._reader = FollowReader([input_settings(storm.link)], recogniser=Recogniser(self._checkpoints))

    def look(self) -> None:
        """Look at the file system."""
        self._reader.poll()

    def read(self) -> None:
        """Read everything that the last look found."""
        while (chunk := self._reader.read(max_lines=None)) is not None:
            self._storm.delivered.update(int(line.split()[0]) for line in chunk.data.splitlines())
            chunk.source.committed, chunk.source.tail = chunk.end, chunk.tail
            self._checkpoints.register(chunk.source)
            self._checkpoints.follow(chunk.source)

    def read_all(self) -> None:
        """Look and read until every line came out, at least once more after that."""
        deadline = time.monotonic() + _DEADLINE_S
        is_complete = False
        while not is_complete and time.monotonic() < deadline:
            is_complete = len(self._storm.delivered) == self._storm.written
            self.look()
            self.read()

    def close(self) -> None:
        """Stop."""
        self._reader.close()
        self._checkpoints.close()


def run(folder: Path, seed: int) -> str:
    """Run one round while the client runs, and one while it is stopped; return what is wrong, or ""."""
    storm = Storm(folder, seed)
    client = Client(storm)
    client.look()
    client.read()
    rage = threading.Thread(target=storm.rage)
    rage.start()
    while rage.is_alive():
        client.look()
        if storm.random.random() < 0.5:
            client.read()
    rage.join()
    client.read_all()
    client.close()
    storm.rage()
    client = Client(storm)
    client.read_all()
    client.close()
    missing = sorted(set(range(storm.written)) - set(storm.delivered))
    repeated = sorted(number for number, times in storm.delivered.items() if times > 1)
    return f"seed {seed}: missing {missing}, repeated {repeated}" if missing or repeated else ""


def main() -> None:
    """Run as many rounds as asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    bad = 0
    for seed in range(options.seed, options.seed + options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            if problem := run(Path(folder), seed):
                bad += 1
                print(problem, flush=True)
    print(f"{options.rounds} rounds, {bad} with lines missing or repeated")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
