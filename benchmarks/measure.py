"""Programs seen from outside: how long they take, what CPU they use, how much memory they hold at most.

Linux only: it asks /proc, and waits for processes by descriptor (pidfd).
"""

import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_POLL_S: Final = 0.01
_LOOK_AT_MEMORY_S: Final = 0.02
_STOP_LIMIT_S: Final = 30.0
_QUOTED_LOG_BYTES: Final = 2000


class BenchmarkError(Exception):
    """Something went wrong that makes a measurement worthless; the message says what."""


class CannotMeasureError(BenchmarkError):
    """This machine, or somebody else's program, does not let it be measured; all else can be."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has taken: CPU seconds (user and system), and its largest resident memory in bytes."""

    cpu_s: float
    peak_bytes: int


class Process:
    """A program that says its piece into a log file. Leaving the `with` block kills it and all that it started.

    It inherits nothing of the environment but the PATH, so that no setting of the user's shell changes a measurement;
    what it shall know is in `environment`. With a `core` it runs on that one alone.
    """

    def __init__(
        self, argv: Sequence[str], *, log: Path, environment: Mapping[str, str] | None = None, core: int | None = None
    ) -> None:
        self._log = log
        self.name: Final = log.stem
        with log.open("wb") as output:
            self.started_at: Final = time.monotonic()
            self._child = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", **(environment or {})},
                start_new_session=True,
            )
        self.pid: Final = self._child.pid
        if core is not None:
            os.sched_setaffinity(self.pid, {core})
        self._peak_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._child.returncode is None:
            os.killpg(self.pid, signal.SIGKILL)
            self._child.wait()

    def cpu_s(self) -> float:
        """Return the CPU time of all threads until now, to the microsecond (clock_getcpuclockid(3))."""
        return time.clock_gettime((~self.pid << 3) | 2)

    def resident_bytes(self) -> int:
        """Return the memory that is resident now."""
        return self._status("VmRSS")

    def peak_bytes(self) -> int:
        """Return the most memory that was ever resident, as far as it was seen."""
        self._peak_bytes = max(self._peak_bytes, self._status("VmHWM"))
        return self._peak_bytes

    def usage(self) -> Usage:
        """Return what the running process has taken until now."""
        return Usage(self.cpu_s(), self.peak_bytes())

    def wait(self, *, limit_s: float) -> Usage:
        """Wait for the end; return what the process and the children that it waited for have taken.

        The peak is the last that was seen, every few milliseconds: ru_maxrss of a child begins with that of its parent.
        Raises BenchmarkError when it fails or takes too long.
        """
        end = time.monotonic() + limit_s
        descriptor = os.pidfd_open(self.pid)
        try:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            while not poll.poll(_LOOK_AT_MEMORY_S * 1000):
                self.peak_bytes()
                if time.monotonic() > end:
                    raise BenchmarkError(f"{self.name} has not ended after {limit_s:g} s{self._last_words()}")
        finally:
            os.close(descriptor)
        return self._reap()

    def _reap(self) -> Usage:
        _, status, taken = os.wait4(self.pid, 0)
        self._child.returncode = os.waitstatus_to_exitcode(status)
        if self._child.returncode:
            raise BenchmarkError(f"{self.name} has failed with exit code {self._child.returncode}{self._last_words()}")
        return Usage(taken.ru_utime + taken.ru_stime, self._peak_bytes)

    def stop(self) -> Usage:
        """Ask for an end with SIGTERM, then as `wait`."""
        self.peak_bytes()
        os.kill(self.pid, signal.SIGTERM)
        return self.wait(limit_s=_STOP_LIMIT_S)

    def wait_for_words(self, pattern: str, *, limit_s: float) -> re.Match[str]:
        """Wait until the process has said something that matches. Raises BenchmarkError when it does not."""
        found: list[re.Match[str]] = []

        def has_said() -> bool:
            match = re.search(pattern, self._log.read_text(errors="replace"))
            found.extend([match] if match else [])
            return bool(found)

        self.wait_until(has_said, limit_s=limit_s, what=f"saying {pattern!r}")
        return found[0]

    def wait_until(self, condition: Callable[[], bool], *, limit_s: float, what: str, every_s: float = _POLL_S) -> None:
        """Wait for a condition that the process brings about. Raises BenchmarkError if it ends or takes too long."""
        end = time.monotonic() + limit_s
        while not condition():
            if time.monotonic() > end:
                raise BenchmarkError(f"{self.name} is not {what} after {limit_s:g} s{self._last_words()}")
            if self.has_ended and not condition():
                raise BenchmarkError(f"{self.name} has ended without {what}{self._last_words()}")
            time.sleep(every_s)

    @property
    def has_ended(self) -> bool:
        """Whether the process is there no more."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _status(self, field: str) -> int:
        """Return a size from /proc, in bytes; 0 when the process has just ended."""
        text = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8")
        match = re.search(rf"^{field}:\s+(\d+) kB$", text, re.MULTILINE)
        return int(match[1]) * 1024 if match else 0

    def _last_words(self) -> str:
        said = self._log.read_bytes()[-_QUOTED_LOG_BYTES:].decode(errors="replace").strip()
        return f"; it said:\n{said}" if said else ""
