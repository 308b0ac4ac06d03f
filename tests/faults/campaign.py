"""Conservation under faults: everything that was written is stored, once, whatever happens to both ends meanwhile.

    python3 tests/faults/campaign.py --seconds 600 --kills 20 --resets 50 [--tls] [--seed N] [--client-words ...]

Writers append numbered, checksummed lines to logs that they rename, copy and truncate, replace, and link elsewhere
(campaign_files.py). Meanwhile client and server (campaign_ends.py) suffer what campaign_faults.py lists. Then faults
stop and everything drains. What counts is what is on the server's disk then (campaign_count.py), and only if the faults
really happened. The suite runs a short one (test_campaign.py); the long one is run by hand.
"""

import argparse
import json
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[2] / "src")]

from tests.faults.campaign_count import Result, count_stored, take_stock
from tests.faults.campaign_ends import Ends, small_disk
from tests.faults.campaign_faults import Faults
from tests.faults.campaign_files import ALL_WRITERS, Doomed, Writer
from tests.faults.campaign_secrets import Secrets
from tests.faults.chaos_proxy import DOWN, UP, ChaosProxy, chaos_proxy

# What is left when the faults stop is shipped within seconds; what was set back or damaged heals within a minute.
_DRAIN_S: Final = 120.0

_MIN_REPLACED: Final = 2  # certificates, of each end

_LINE_BYTES: Final = 200  # of a stored line, with its share of the ledger
_SPARE_DISK_BYTES: Final = 64 * 1024 * 1024


@dataclass(slots=True)
class Plan:
    """How long, how hard, and with which random numbers."""

    seconds: float = 20.0
    lines_per_second: int = 3000  # of all writers together
    lines_per_file: int = 3000
    min_kills: int = 2  # of each end
    min_resets: int = 3
    pause_s: tuple[float, float] = (0.1, 0.8)  # between two faults
    seed: int = 1
    writers: tuple[str, ...] = ()  # only these; none: all
    faults: tuple[str, ...] = ()  # likewise
    client_words: tuple[str, ...] = ("--resilient", "--batch-size", "auto")
    tls: bool = False  # with certificates, a token and a file of clients, which are replaced and broken meanwhile
    asks_for_looks: float = 0.5  # how often SIGHUP follows a change of a certificate


class Campaign:
    """Writers, both ends, the network between them, and the faults."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self._plan = plan
        self._random = random.Random(plan.seed)
        self._secrets = Secrets(folder / "secrets") if plan.tls else None
        self._ends = Ends(folder, plan.client_words, self._secrets)
        kinds = [kind for kind in ALL_WRITERS if kind.name in (plan.writers or [each.name for each in ALL_WRITERS])]
        self._writers: Sequence[Writer] = [
            kind(
                self._ends.logs,
                lines_per_second=plan.lines_per_second // len(kinds),
                lines_per_file=plan.lines_per_file // len(kinds),
            )
            for kind in kinds
        ]
        self._doomed = Doomed(self._ends.logs)
        self.result = Result()

    def run(self) -> Result:
        """Run all of it; return what became of the lines."""
        plan = self._plan
        size = int(plan.seconds * 3 * plan.lines_per_second * _LINE_BYTES) + _SPARE_DISK_BYTES
        with small_disk(self._ends.disk, size) as has_own_disk, chaos_proxy(self._ends.port) as proxy:
            self._ends.start_client(proxy.port)
            self._ends.start_server()
            try:
                self._rage(proxy, has_own_disk=has_own_disk)
                self._drain()
            finally:
                for writer in self._writers:
                    writer.stop()
                self._ends.end()
            self.result.faults["reset"] = proxy.happened.resets
            self._read_logs()
            take_stock(self.result, self._ends.data_dir, self._writers, self._doomed)
        return self.result

    def _rage(self, proxy: ChaosProxy, *, has_own_disk: bool) -> None:
        """Write, and let the faults happen."""
        every, names = self._faults(proxy, has_own_disk=has_own_disk)
        self._wait_until(self._has_stored_all)  # what a log was before a client knew it would be nobody's
        for writer in self._writers:
            writer.start()
        end = time.monotonic() + self._plan.seconds
        while (is_early := time.monotonic() < end) or self._lacking(proxy):
            if time.monotonic() > end + self._plan.seconds + 60:
                raise AssertionError(f"the faults do not happen: {self.result.faults} {proxy.happened}")
            every[self._random.choice(names if is_early else self._lacking(proxy))]()
            time.sleep(self._random.uniform(*self._plan.pause_s))  # the pace of the campaign, not a synchronisation
        for writer in self._writers:
            writer.stop()
        proxy.flow(UP)
        proxy.flow(DOWN)
        proxy.disarm()

    def _faults(
        self, proxy: ChaosProxy, *, has_own_disk: bool
    ) -> tuple[Mapping[str, Callable[[], None]], Sequence[str]]:
        """Return all faults, and those to choose from. Lost acks are the most telling: they stand there twice."""
        every = Faults(
            self._ends, proxy, self._doomed, self._random, self.result, asks_for_looks=self._plan.asks_for_looks
        ).by_name()
        names = [*(self._plan.faults or every), "kill client", "kill server", "lose ack"]
        return every, [name for name in names if has_own_disk or name != "fill disk"]

    def _lacking(self, proxy: ChaosProxy) -> Sequence[str]:
        """Return the faults that have not happened often enough."""
        happened, plan = self.result.faults, self._plan
        least = {"kill client": plan.min_kills, "kill server": plan.min_kills}
        if self._secrets:
            least |= {"replace certificates": _MIN_REPLACED, "break file": 1}
        lacking = [name for name, count in least.items() if happened[name] < count]
        return lacking + ["lose ack"] * (proxy.happened.resets < plan.min_resets)

    def _drain(self) -> None:
        """Wait until everything is stored, fresh lines too, and sound."""
        self._wait_until(self._has_stored_all)
        for writer in self._writers:
            writer.write_more(1000)
        self.result.fresh_lines_flow = self._wait_until(self._has_stored_all)
        if self._wait_until(lambda: self._ends.ask("fsck", "--data-dir", self._ends.data_dir).returncode == 0):
            self.result.healed = self.result.damaged
        if secrets := self._secrets:
            self.result.last_certificates_in_force = self._wait_until(
                lambda: secrets.has_loaded("client") and secrets.has_loaded("server")
            )
        self._wait_until(lambda: self._reported_windows() >= self.result.windows_happened)
        self.result.windows_reported = self._reported_windows()

    def _has_stored_all(self) -> bool:
        stored = count_stored(self._ends.data_dir)
        doomed = stored[self._doomed.name] >= self._doomed.lines_per_file
        return doomed and all(stored[writer.name] >= writer.written for writer in self._writers)

    def _reported_windows(self) -> int:
        """Return how many unknown windows the status lists, of any log; equal ones of one log are one entry."""
        windows = json.loads(self._ends.ask("status", "--json").stdout or "{}").get("windows", [])
        return sum(window["count"] for window in windows if not window["is_over"])

    def _wait_until(self, condition: Callable[[], bool]) -> bool:
        """Wait for a condition; False after the time that draining may take: the count will tell what is missing."""
        end = time.monotonic() + _DRAIN_S
        while not condition():
            self._ends.check()
            if time.monotonic() > end:
                return False
            time.sleep(0.1)
        return True

    def _read_logs(self) -> None:
        logged = self._ends.logged()
        self.result.suppressed = len(re.findall(r"bytes \d+ to \d+ of .* are already stored", logged))
        self.result.certificates_loaded = logged.count("loaded the changed TLS files for new connections")
        self.result.recovered = len(re.findall(r"moved \d+ bytes that the ledger does not record", logged))


def main() -> int:
    """Run a campaign as the command line says; print its result; return 0 if it is clean."""
    parser = argparse.ArgumentParser(description="Conservation under faults.")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--kills", type=int, default=20, help="of each end, at least")
    parser.add_argument("--resets", type=int, default=50, help="at least")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--writers", default="", help="only these, separated by commas")
    parser.add_argument("--faults", default="", help="only these and kills, separated by commas")
    parser.add_argument("--tls", action="store_true", help="over TLS, with certificates and a token that are replaced")
    parser.add_argument("--client-words", nargs=argparse.REMAINDER, default=list(Plan().client_words))
    given = parser.parse_args()
    plan = Plan(
        seconds=given.seconds,
        min_kills=given.kills,
        min_resets=given.resets,
        seed=given.seed,
        writers=tuple(filter(None, given.writers.split(","))),
        faults=tuple(filter(None, given.faults.split(","))),
        client_words=tuple(given.client_words),
        tls=given.tls,
    )
    with tempfile.TemporaryDirectory(prefix="logferry-campaign-") as folder:
        result = Campaign(Path(folder), plan).run()
    print(f"seed {plan.seed}: {result}")
    if not result.counts:
        print("this campaign does not count: its faults did not really happen")
    return 0 if result.is_clean and result.counts else 1


if __name__ == "__main__":
    sys.exit(main())
