"""Measures programs from outside: their duration, CPU time, and peak memory.

Linux only: it reads /proc, and waits for processes by descriptor (pidfd).
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
    """A failure that makes a measurement worthless; the message says what happened."""


class CannotMeasureError(BenchmarkError):
    """This machine or another program does not allow this measurement; others are still possible."""


@dataclass(frozen=True, slots=True)
class Usage:
    """The CPU seconds (user and system) of a process, and its peak resident memory in bytes."""

    cpu_s: float
    peak_bytes: int


class Process:
    """A program that writes its output to a log file. Leaving the `with` block kills it and its child processes.

    It inherits only PATH from the environment, so that no setting of the user's shell changes a measurement; further
    variables are in `environment`. With a `core`, the program runs only on that core.
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
        """Return the CPU time of all threads so far, to the microsecond (clock_getcpuclockid(3))."""
        return time.clock_gettime((~self.pid << 3) | 2)

    def resident_bytes(self) -> int:
        """Return the present resident memory."""
        return self._status("VmRSS")

    def peak_bytes(self) -> int:
        """Return the peak resident memory, as far as it was observed."""
        self._peak_bytes = max(self._peak_bytes, self._status("VmHWM"))
        return self._peak_bytes

    def usage(self) -> Usage:
        """Return the usage of the running process so far."""
        return Usage(self.cpu_s(), self.peak_bytes())

    def wait(self, *, limit_s: float) -> Usage:
        """Wait for the end; return the usage of the process and of the children that it waited for.

        The peak is sampled every few milliseconds, because the ru_maxrss of a child starts at that of its parent.
        Raises BenchmarkError if the process fails or takes too long.
        """
        end = time.monotonic() + limit_s
        descriptor = os.pidfd_open(self.pid)
        try:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            while not poll.poll(_LOOK_AT_MEMORY_S * 1000):
                self.peak_bytes()
                if time.monotonic() > end:
                    raise BenchmarkError(f"{self.name} has not ended after {limit_s:g} s{self._quoted_output()}")
        finally:
            os.close(descriptor)
        return self._reap()

    def _reap(self) -> Usage:
        _, status, taken = os.wait4(self.pid, 0)
        self._child.returncode = os.waitstatus_to_exitcode(status)
        if self._child.returncode:
            raise BenchmarkError(f"{self.name} failed with exit code {self._child.returncode}{self._quoted_output()}")
        return Usage(taken.ru_utime + taken.ru_stime, self._peak_bytes)

    def stop(self) -> Usage:
        """Send SIGTERM, then do as `wait`."""
        self.peak_bytes()
        os.kill(self.pid, signal.SIGTERM)
        return self.wait(limit_s=_STOP_LIMIT_S)

    def wait_for_output(self, pattern: str, *, limit_s: float) -> re.Match[str]:
        """Wait for output that matches. Raises BenchmarkError if there is none in time."""
        found: list[re.Match[str]] = []

        def has_printed() -> bool:
            match = re.search(pattern, self._log.read_text(errors="replace"))
            found.extend([match] if match else [])
            return bool(found)

        self.wait_until(has_printed, limit_s=limit_s, what=f"printing {pattern!r}")
        return found[0]

    def wait_until(self, condition: Callable[[], bool], *, limit_s: float, what: str, every_s: float = _POLL_S) -> None:
        """Wait for a condition that the process brings about. Raises BenchmarkError if it ends or takes too long."""
        end = time.monotonic() + limit_s
        while not condition():
            if time.monotonic() > end:
                raise BenchmarkError(f"{self.name} is not {what} after {limit_s:g} s{self._quoted_output()}")
            if self.has_ended and not condition():
                raise BenchmarkError(f"{self.name} ended without {what}{self._quoted_output()}")
            time.sleep(every_s)

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _status(self, field: str) -> int:
        """Return a size from /proc in bytes; 0 if the process has just ended."""
        text = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8")
        match = re.search(rf"^{field}:\s+(\d+) kB$", text, re.MULTILINE)
        return int(match[1]) * 1024 if match else 0

    def _quoted_output(self) -> str:
        said = self._log.read_bytes()[-_QUOTED_LOG_BYTES:].decode(errors="replace").strip()
        return f"; its output:\n{said}" if said else ""
