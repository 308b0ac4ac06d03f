"""A client that notes when each line was acked: `python3 witness.py ACKS SETTINGS`, until SIGTERM.

SETTINGS is a JSON object of option names and texts. The program writes ACKS, a JSON list of [time, lines, latency]: at
`time`, in nanoseconds of the system's monotonic clock, the client had processed the ack of `lines` further lines, which
it had handed to the network `latency` nanoseconds before.
"""

import json
import logging
import signal
import sys
import time
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent

sys.path[:0] = [str(ROOT / "src")]

from logferry.client.net.waiting.wakeup import StopSignal  # noqa: E402
from logferry.client.run import ship  # noqa: E402  (the path comes first)
from logferry.config import ShipSettings, load  # noqa: E402
from logferry.speedups import collect_less_garbage, keep_freed_memory  # noqa: E402
from logferry.telemetry.metrics import Metrics  # noqa: E402


class Witness(Metrics):
    """Metrics that also record the time of each ack."""

    def __init__(self) -> None:
        super().__init__()
        self.acks: list[tuple[int, int, int]] = []

    def acked(self, lines: int, latency_s: float) -> None:
        """Record the time, then count as usual."""
        self.acks.append((time.monotonic_ns(), lines, int(latency_s * 1e9)))
        super().acked(lines, latency_s)


def main() -> None:
    """Run the client; see the docstring of the module."""
    logging.basicConfig(level=logging.INFO)
    keep_freed_memory()
    collect_less_garbage()
    witness, stop = Witness(), StopSignal()
    signal.signal(signal.SIGTERM, lambda *_: stop.request())
    ship(load(ShipSettings, json.loads(sys.argv[2]), {}), metrics=witness, stop=stop)
    Path(sys.argv[1]).write_text(json.dumps(witness.acks), encoding="utf-8")


if __name__ == "__main__":
    main()
