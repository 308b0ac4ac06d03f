"""Several servers in a test, each with a store of its own, and a client that ships to one of them at a time."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from logferry.client.proof.several_reports import asking_all
from logferry.client.proof.verdict import Verdict
from logferry.client.proof.verify import verify_all
from logferry.client.state.checkpoints import Checkpoints
from logferry.config import FileSettings
from logferry.config.kinds.server_addresses import ServerAddress
from tests.support.running import RunningServer, running_server
from tests.support.shipping import Shipping, ship_settings, shipping


class Fleet:
    """Servers by name; each can be stopped, and started again at its port, with its data or without."""

    def __init__(self, tmp_path: Path, stack: ExitStack) -> None:
        self.tmp_path = tmp_path
        self.state = tmp_path / "state"
        self.log = tmp_path / "app.log"
        self.names: list[Path] = []  # the logs, if there are several
        self._stack = stack
        self._ports: dict[str, int] = {}
        self.servers: dict[str, RunningServer] = {}

    def start(self, name: str, **settings: Any) -> RunningServer:
        """Start a server, at the port that it had before."""
        context = running_server(
            self.tmp_path,
            **{"data_dir": self.tmp_path / name, "server_port": self._ports.get(name, 0), **settings},
        )
        self.servers[name] = server = self._stack.enter_context(context)
        self._ports[name] = server.port
        return server

    def stop(self, *names: str) -> None:
        """Stop servers."""
        for name in names:
            self.servers[name].stop()

    def addresses(self, *names: str) -> tuple[ServerAddress, ...]:
        """Return where servers are, whether they run or not."""
        return tuple(ServerAddress("127.0.0.1", self._ports[name]) for name in names)

    def address(self, name: str) -> str:
        """Return the name of a server, as people see it."""
        return f"127.0.0.1:{self._ports[name]}"

    @contextmanager
    def shipping(self, *names: str, **changes: Any) -> Iterator[Shipping]:
        """Follow the log for the length of a `with`."""
        settings = {
            "server": self.addresses(*names),
            "ack": "auto",
            "state_dir": self.state,
            "mode": "continuous",
            "poll_interval": 0.01,
            "backoff_max": 0.05,
            "failback_after": 3600.0,
        }
        with shipping(self.names or self.log, 1, **(settings | changes)) as shipped:
            yield shipped

    def batch(self, *names: str, **changes: Any) -> Shipping:
        """Ship the log once, and return the run that has ended well."""
        with self.shipping(*names, mode="batch", **changes) as shipped:
            shipped.result()
            return shipped

    def verify(
        self, *names: str, path: Path | None = None, servers: tuple[ServerAddress, ...] | None = None
    ) -> Verdict:
        """Ask these servers what they have of the log, or of another file, and judge the union."""
        settings = ship_settings(self.log, 1, server=servers or self.addresses(*names))
        checkpoints = Checkpoints(self.state, read_only=True)
        wanted = FileSettings(log_file=(str(path or self.log),), exclude=())
        with asking_all(settings, checkpoints) as reports:
            (verdict,) = verify_all([wanted], checkpoints, reports)
            return verdict

    def lines(self, name: str) -> list[bytes]:
        """Return what a server has stored."""
        return self.servers[name].stored_lines()


@contextmanager
def fleet(tmp_path: Path, *names: str) -> Iterator[Fleet]:
    """Run these servers for the length of a `with`."""
    with ExitStack() as stack:
        found = Fleet(tmp_path, stack)
        for name in names:
            found.start(name)
        yield found
