"""A client that ships to two or three servers while they stop, return, lose acks and stores: is each line in a store?

    PYTHONPATH=src python3 -m tests.properties.several_servers_model --seeds 100 --first 1

Each seed is a series of random actions; a store may also be set back to an earlier copy of it. At the end, all servers
run, and the union of their stores must have every line, `verify` must say so for every file, and must name exactly the
lines that more than one store has.
"""

import argparse
import contextlib
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, Self

from logferry.client.state.checkpoints import Checkpoints
from logferry.config.kinds.server_addresses import ServerAddress
from tests.faults.chaos_proxy import ChaosProxy, chaos_proxy
from tests.support.running import numbered_line, wait_until
from tests.support.several_servers import Fleet, fleet
from tests.support.shipping import Shipping, append

_ACTIONS: Final = 12


class Saves:
    """Keeps the checkpoints of a dying client from being saved; a new source is on disk before a server has it."""

    def __init__(self) -> None:
        self.is_dying = False
        self._save, self._save_if_due = Checkpoints.save, Checkpoints.save_if_due

    def __enter__(self) -> Self:
        saves = self

        def save(self: Checkpoints) -> None:
            if not saves.is_dying:
                saves._save(self)

        def save_if_due(self: Checkpoints) -> None:
            if not saves.is_dying:
                saves._save_if_due(self)

        Checkpoints.save, Checkpoints.save_if_due = save, save_if_due  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        Checkpoints.save, Checkpoints.save_if_due = self._save, self._save_if_due  # type: ignore[method-assign]


class World:
    """Servers behind proxies, a log, and a client that comes and goes."""

    def __init__(self, folder: Path, seed: int, stack: ExitStack) -> None:
        self.folder = folder
        self.chance = random.Random(seed)
        self.names = "ab" if self.chance.random() < 0.6 else "abc"
        self.stack = stack
        self.fleet: Fleet = stack.enter_context(fleet(folder, *self.names))
        self.proxies: dict[str, ChaosProxy] = {
            name: stack.enter_context(chaos_proxy(self.fleet.servers[name].port)) for name in self.names
        }
        self.saves = stack.enter_context(Saves())
        self.down: set[str] = set()
        self.written = 0
        self.rotated = 0
        self.happened: list[str] = []

    @property
    def servers(self) -> tuple[ServerAddress, ...]:
        return tuple(ServerAddress("127.0.0.1", self.proxies[name].port) for name in self.names)

    def run(self) -> None:
        """Act, end well, and judge."""
        self._append()
        for _ in range(self.chance.randint(2, 4)):
            self._run_client(self.chance.randint(2, _ACTIONS))
        for name in sorted(self.down):
            self._start(name)
        for proxy in self.proxies.values():
            proxy.refuse(False)
            proxy.lose_next_acks_of_batches(0)
        self._end_well()
        self._judge()

    def _run_client(self, actions: int) -> None:
        with self._client() as shipped:
            if len(self.down) < len(self.names):
                self._settle(shipped)  # a file that is rotated before the client has seen it once is not the subject
            for _ in range(actions):
                self._act(shipped)
            self._append()
        self.saves.is_dying = False

    @contextmanager
    def _client(self, **changes: Any) -> Iterator[Shipping]:
        settings: dict[str, Any] = {"ack_timeout": 0.5, "connect_timeout": 0.5, "shutdown_timeout": 0.3}
        settings |= {"server": self.servers, "batch_size": self.chance.choice([1, None])}
        settings |= {"resilient": self.chance.random() < 0.5, "compress": self.chance.random() < 0.3}
        settings |= {"failback_after": 0.1 if self.chance.random() < 0.5 else 3600.0}
        with self.fleet.shipping(**(settings | changes)) as shipped:
            yield shipped

    def _act(self, shipped: Shipping) -> None:
        action = self.chance.choice(
            [
                *(self._append, self._append, self._toggle, self._toggle, self._reset),
                *(self._lose_acks, self._rotate, self._begin_to_die),
            ]
        )
        self.happened.append(action.__name__)
        action()
        if self.chance.random() < 0.5 and len(self.down) < len(self.names):
            self._settle(shipped)

    def _settle(self, shipped: Shipping) -> None:
        """Wait until lines flow, or nothing is to be delivered."""
        target = shipped.counters.lines_acked + 1
        number = self.written
        self._append()
        wait_until(lambda: shipped.is_over or shipped.counters.lines_acked >= target, f"line {number} flows")

    def _append(self) -> None:
        count = self.chance.choice([1, 3, 40])
        append(self.fleet.log, range(self.written, self.written + count))
        self.written += count

    def _rotate(self) -> None:
        for number in range(self.rotated, 0, -1):
            (self.folder / f"app.log.{number}").rename(self.folder / f"app.log.{number + 1}")
        if self.fleet.log.exists():
            self.fleet.log.rename(self.folder / "app.log.1")
            self.rotated += 1
        self._append()

    def _toggle(self) -> None:
        name = self.chance.choice(self.names)
        if name in self.down:
            self._start(name)
            return
        self.proxies[name].reset()
        self.fleet.stop(name)
        self.down.add(name)
        fate = self.chance.random()
        store, copy = self.fleet.tmp_path / name, self.fleet.tmp_path / f"{name}-copy"
        if fate < 0.15:
            self.happened.append(f"{name} loses its store")
            shutil.rmtree(store)
        elif fate < 0.3:
            self.happened.append(f"{name} is copied")
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(store, copy)
        elif fate < 0.5 and copy.exists():
            self.happened.append(f"{name} is set back to its copy")
            shutil.rmtree(store)
            shutil.copytree(copy, store)

    def _start(self, name: str) -> None:
        self.fleet.start(name)
        self.down.discard(name)

    def _begin_to_die(self) -> None:
        """Save no progress from now on to the end of this run, as if the client had been killed now."""
        self.saves.is_dying = True

    def _reset(self) -> None:
        self.proxies[self.chance.choice(self.names)].reset()

    def _lose_acks(self) -> None:
        self.proxies[self.chance.choice(self.names)].lose_next_acks_of_batches(self.chance.randint(1, 3))

    def _end_well(self) -> None:
        """Let the client visit each server once, the first one last."""
        for first in reversed(self.names):
            order = [first, *(name for name in self.names if name != first)]
            servers = tuple(ServerAddress("127.0.0.1", self.proxies[name].port) for name in order)
            with self._client(server=servers, failback_after=3600.0, shutdown_timeout=5.0) as shipped:
                self._settle(shipped)
                with contextlib.suppress(AssertionError):  # what only another server lacks comes in its turn
                    wait_until(self._is_complete, "all lines are stored", deadline_s=2)

    def _is_complete(self) -> bool:
        return set(self._union()) == set(map(numbered_line, range(self.written)))

    def _union(self) -> Counter[bytes]:
        return Counter(line for name in self.names for line in self.fleet.lines(name))

    def _judge(self) -> None:
        expected, union = set(map(numbered_line, range(self.written))), self._union()
        assert set(union) == expected, f"missing {len(expected - set(union))}, invented {len(set(union) - expected)}"
        doubled = 0
        for path in [self.fleet.log, *(self.folder / f"app.log.{number + 1}" for number in range(self.rotated))]:
            verdict = self.fleet.verify(path=path, servers=self.servers)
            wrong = (verdict.missing, verdict.altered, verdict.losses, verdict.repeated, verdict.problem)
            assert not any(wrong), verdict
            doubled += sum(piece.lines for piece in verdict.doubled)
        assert doubled == union.total() - len(union), (doubled, union.total() - len(union))


def run_seed(seed: int, folder: Path) -> None:
    """Run one series. Raises AssertionError, with what has happened, if a line is not where it must be."""
    with ExitStack() as stack:
        world = World(folder, seed, stack)
        try:
            world.run()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}; {world.happened}") from error


def main() -> int:
    """Run seeds by hand."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=1)
    wanted = parser.parse_args()
    failed = 0
    for seed in range(wanted.first, wanted.first + wanted.seeds):
        with tempfile.TemporaryDirectory() as folder:
            try:
                run_seed(seed, Path(folder))
            except AssertionError as error:
                failed += 1
                print(str(error)[:3000])
    print(f"{wanted.seeds} seeds, {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
