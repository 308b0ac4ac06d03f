"""Another log shipper: its properties, and how to run it until its receiver has received everything."""

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

# Daemons are not always on a user's PATH.
_SEARCH_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Peer:
    """Another log shipper.

    `configure(home, log, port)` writes the configuration into the empty home, so that the program ships the log to the
    port; it returns the program's arguments. `receiver` is the script that receives what the program sends.
    """

    name: str
    program: str
    hint: str  # how to install it
    configure: Callable[[Path, Path, int], Sequence[str]]
    receiver: tuple[str, ...] = ("sink", "lines")

    @property
    def variable(self) -> str:
        """The environment variable that names the binary."""
        return self.name.replace("-", "_").upper()

    def find(self, given: str | None = None) -> str | None:
        """Return the binary that is `given`, in the environment, or on the PATH; None if there is none."""
        given = given or os.environ.get(self.variable)
        return shutil.which(given or self.program, path=None if given else _SEARCH_PATH)

    @property
    def reason_to_skip(self) -> str:
        """The message for a program that was not found."""
        return (
            f"{self.name}: no {self.program} on this machine ({self.hint}; --{self.name} or {self.variable} names one)"
        )

    def run(self, binary: str, log: LogFile, folder: Path) -> Run:
        """Ship a log once. Raises CannotMeasureError."""
        home = folder / self.name
        home.mkdir()  # the program keeps its positions here, so each run gets a fresh home
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
