"""Conservation under faults: everything that was written is stored, once, whatever happens to both ends meanwhile.

    python3 tests/faults/campaign.py --seconds 600 --kills 20 --resets 50 [--servers 2] [--tls] [--seed N]

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
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[2] / "src")]

from tests.faults.campaign_count import Result, count_stored, take_stock
from tests.faults.campaign_ends import Ends, small_disk
from tests.faults.campaign_faults import Faults
from tests.faults.campaign_files import ALL_WRITERS, Doomed, Writer
from tests.faults.campaign_secrets import Secrets
from tests.faults.chaos_proxy import DOWN, UP, chaos_proxy

# What is left when the faults stop is shipped within seconds; what was set back or damaged heals within a minute.
_DRAIN_S: Final = 120.0

_MIN_REPLACED: Final = 2  # certificates, of each end

_MIN_OUTAGES: Final = 1  # of one of several servers

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
    servers: int = 1
    tls: bool = False  # with certificates, a token and a file of clients, which are replaced and broken meanwhile
    asks_for_looks: float = 0.5  # how often SIGHUP follows a change of a certificate


class Campaign:
    """Writers, both ends, the network between them, and the faults."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self._plan = plan
        self._random = random.Random(plan.seed)
        self._secrets = Secrets(folder / "secrets", servers=plan.servers) if plan.tls else None
        self._ends = Ends(folder, plan.client_words, self._secrets, servers=plan.servers)
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
        with small_disk(self._ends.disk, size) as has_own_disk, ExitStack() as stack:
            for server in self._ends.servers:
                server.proxy = stack.enter_context(chaos_proxy(server.port))
            self._ends.start_client()
            for server in self._ends.servers:
                server.start()
            try:
                self._rage(has_own_disk=has_own_disk)
                self._drain()
            finally:
                for writer in self._writers:
                    writer.stop()
                self._ends.end()
            self.result.faults["reset"] = self._resets
            self._read_logs()
            take_stock(self.result, self._data_dirs, self._writers, self._doomed)
        return self.result

    @property
    def _data_dirs(self) -> Sequence[Path]:
        return [server.data_dir for server in self._ends.servers]

    @property
    def _resets(self) -> int:
        return sum(server.proxy.happened.resets for server in self._ends.servers)

    def _rage(self, *, has_own_disk: bool) -> None:
        """Write, and let the faults happen."""
        every, names = self._faults(has_own_disk=has_own_disk)
        self._wait_until(self._has_stored_all)  # what a log was before a client knew it would be nobody's
        for writer in self._writers:
            writer.start()
        end = time.monotonic() + self._plan.seconds
        while (is_early := time.monotonic() < end) or self._lacking():
            if time.monotonic() > end + self._plan.seconds + 60:
                raise AssertionError(f"the faults do not happen: {self.result.faults}, {self._resets} resets")
            every[self._random.choice(names if is_early else self._lacking())]()
            time.sleep(self._random.uniform(*self._plan.pause_s))  # the pace of the campaign, not a synchronisation
        for writer in self._writers:
            writer.stop()
        for server in self._ends.servers:
            server.proxy.flow(UP)
            server.proxy.flow(DOWN)
            server.proxy.disarm()

    def _faults(self, *, has_own_disk: bool) -> tuple[Mapping[str, Callable[[], None]], Sequence[str]]:
        """Return all faults, and those to choose from. Lost acks are the most telling: they stand there twice."""
        every = Faults(
            self._ends, self._doomed, self._random, self.result, asks_for_looks=self._plan.asks_for_looks
        ).by_name()
        names = [*(self._plan.faults or every), "kill client", "kill server", "lose ack"]
        return every, [name for name in names if has_own_disk or name != "fill disk"]

    def _lacking(self) -> Sequence[str]:
        """Return the faults that have not happened often enough."""
        happened, plan = self.result.faults, self._plan
        least = {"kill client": plan.min_kills, "kill server": plan.min_kills}
        if plan.servers > 1:
            least |= {"outage": _MIN_OUTAGES}
        if self._secrets:
            least |= {"replace certificates": _MIN_REPLACED, "break file": 1}
        lacking = [name for name, count in least.items() if happened[name] < count]
        return lacking + ["lose ack"] * (self._resets < plan.min_resets)

    def _drain(self) -> None:
        """Wait until everything is stored, fresh lines too, and sound."""
        self._wait_until(self._has_stored_all)
        if self._plan.servers > 1 and (self.result.damaged or self.result.faults["set back"]):
            self._visit_each()
        for writer in self._writers:
            writer.write_more(1000)
        self.result.fresh_lines_flow = self._wait_until(self._has_stored_all)
        if self._wait_until(lambda: all(map(self._is_sound, self._data_dirs))):
            self.result.healed = self.result.damaged
        if secrets := self._secrets:
            self.result.last_certificates_in_force = self._wait_until(
                lambda: all(map(secrets.has_loaded, secrets.ends))
            )
        self._wait_until(lambda: self._reported_windows() >= self.result.windows_happened)
        self.result.windows_reported = self._reported_windows()

    def _visit_each(self) -> None:
        """Let the client be at each server, at the first one last: then it gives a store what that lacks."""
        for visited in reversed(self._ends.servers):
            others = [server for server in self._ends.servers if server is not visited]
            for server in others:
                server.process.kill()
            self._wait_until(partial(self._is_whole, visited.data_dir))
            for server in others:
                server.start()

    def _is_whole(self, data_dir: Path) -> bool:
        """Whether one store is sound, and all of them together have everything."""
        return self._is_sound(data_dir) and self._has_stored_all()

    def _is_sound(self, data_dir: Path) -> bool:
        return self._ends.ask("fsck", "--data-dir", data_dir).returncode == 0

    def _has_stored_all(self) -> bool:
        stored = count_stored(self._data_dirs)
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
    parser.add_argument("--servers", type=int, default=1, help="several: each is killed and back meanwhile")
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
        servers=given.servers,
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
