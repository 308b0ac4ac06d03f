"""What there is to say of another program, and how it is run: from its start until its receiver has got everything."""

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.cases import Run
from benchmarks.data import LogFile
from benchmarks.ends import limit_s
from benchmarks.measure import BenchmarkError, CannotMeasureError, Process
from benchmarks.receiving import arrival, running_receiver

# Daemons are not always on the path of a user.
_SEARCH_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Peer:
    """Another log shipper.

    `configure` writes what the program needs into its home, which is empty, so that it ships the file at this path to
    this port; it returns the words to give to the program. `receiver` is the script that takes what it sends.
    """

    name: str
    program: str
    hint: str  # how to get it
    configure: Callable[[Path, Path, int], Sequence[str]]
    receiver: tuple[str, ...] = ("sink", "lines")

    @property
    def variable(self) -> str:
        """The environment variable that names its binary."""
        return self.name.replace("-", "_").upper()

    def find(self, given: str | None = None) -> str | None:
        """Return its binary: the one that is `given`, in the environment or on the path. None if there is none."""
        given = given or os.environ.get(self.variable)
        return shutil.which(given or self.program, path=None if given else _SEARCH_PATH)

    @property
    def reason_to_skip(self) -> str:
        """Why it does not take part, if it is not found."""
        return (
            f"{self.name}: no {self.program} on this machine ({self.hint}; --{self.name} or {self.variable} names one)"
        )

    def run(self, binary: str, log: LogFile, folder: Path) -> Run:
        """Ship a log once. Raises CannotMeasureError."""
        home = folder / self.name
        home.mkdir()  # it keeps how far it has read here, so each run gets a fresh one
        script, *words = self.receiver
        try:
            with running_receiver(folder, script, *words, str(log.lines)) as (receiver, port):
                argv = [binary, *self.configure(home, log.path, port)]
                with Process(argv, log=folder / f"{self.name}.log") as daemon:
                    daemon.wait_until(lambda: receiver.has_ended, limit_s=limit_s(log), what="done with the file")
                    seconds = arrival(receiver, log) - daemon.started_at
                    return Run(seconds, daemon.usage())
        except BenchmarkError as error:
            raise CannotMeasureError(str(error)) from error
        finally:
            shutil.rmtree(home, ignore_errors=True)
