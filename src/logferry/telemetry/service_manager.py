"""Tells systemd how the process is: ready, what it does, that it still turns, and that it stops (sd_notify(3)).

Without NOTIFY_SOCKET in the environment, nothing happens. Never raises, and never waits for systemd.
"""

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from logferry.telemetry.status_source import Verdict
from logferry.worker import Worker

# How often the status text is looked at, if there is no watchdog that asks more often.
_LOOK_S: Final = 5.0

# systemd.service(5) recommends to feed a watchdog twice in its time.
_FEEDS_PER_LIMIT: Final = 2


def notify(*assignments: str) -> None:
    """Send assignments such as READY=1 to systemd, if it has started this process and wants them."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.setblocking(False)
        channel.sendto("\n".join(assignments).encode(), address)


def watchdog_s() -> float:
    """Return after how many seconds systemd restarts this process unless it is fed; 0 if it has no watchdog."""
    with contextlib.suppress(ValueError):
        if os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid()):
            return max(int(os.environ.get("WATCHDOG_USEC", "0")), 0) / 1e6
    return 0.0


@contextmanager
def supervised(turns: Callable[[], Verdict], describe: Callable[[], str]) -> Iterator[None]:
    """Report to systemd inside a `with`: READY at its beginning, STOPPING at its end, and meanwhile how things are.

    The watchdog is fed while the verdict of `turns` is good: a process that hangs is restarted. `describe` returns what
    `systemctl status` shows. Both are called in another thread.
    """
    if not os.environ.get("NOTIFY_SOCKET"):
        yield
        return
    notify("READY=1", _status(describe()))
    worker = Worker(lambda own: _report(own, turns, describe), name="service-manager")
    worker.start()
    try:
        yield
    finally:
        worker.stop()
        notify("STOPPING=1", _status("stopping"))


def _report(worker: Worker, turns: Callable[[], Verdict], describe: Callable[[], str]) -> None:
    said = ""
    limit_s = watchdog_s()
    while not worker.wait(min(limit_s / _FEEDS_PER_LIMIT, _LOOK_S) if limit_s else _LOOK_S):
        verdict = turns()
        status = describe() if verdict.is_ready else verdict.reason
        changes = [_status(status)] if status != said else []
        said = status
        if verdict.is_ready and limit_s:
            changes.append("WATCHDOG=1")
        if changes:
            notify(*changes)


def _status(text: str) -> str:
    return f"STATUS={' '.join(text.split())}"
