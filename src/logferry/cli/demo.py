"""`logferry demo`: starts a server in a temporary folder, ships the sample, shows what was stored, and verifies it.

The demo ignores the environment and configuration files.
"""

import asyncio
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from importlib import resources
from pathlib import Path

from logferry.cli.client.ship import ship_and_summarise
from logferry.cli.client.verify import verify_and_print
from logferry.cli.command_line import EXIT_INTERRUPTED, CommandParser, log_to_stderr
from logferry.cli.output import print_problem, print_result
from logferry.cli.signals import exiting_on_interrupt
from logferry.config import ServeSettings, ShipSettings, VerifySettings, load
from logferry.errors import ConfigError, LogferryError, SourceError
from logferry.server.listen import BoundAddress
from logferry.server.server import serve
from logferry.server.storage.disk.content.segment_bytes import any_form, blocks
from logferry.server.storage.disk.files.segment_files import segment_files
from logferry.server.storage.disk.files.segment_names import FOLDER_NAME
from logferry.worker import Worker

_START_TIMEOUT_S = 10.0

# In a checkout the sample is beside `src`; an installation puts it into the share folder of its prefix, and
# logferry.pyz has it within the package.
_SAMPLE = "sample_logs.txt"
_SAMPLE_PLACES = (
    Path(__file__).resolve().parents[3] / _SAMPLE,
    Path(sys.prefix) / "share" / "logferry" / _SAMPLE,
)


def run(words: Sequence[str]) -> int:
    """Run the demo; return the exit code. Raises ConfigError, LogferryError."""
    parser = CommandParser("demo", "Start a server, ship sample_logs.txt to it, show what was stored, and verify it.")
    _, problems = parser.read(words)
    if problems:
        raise ConfigError(problems)
    log_to_stderr("warning")
    return run_demo()


def run_demo() -> int:
    """Ship the sample, show what was stored, verify it; return the exit code. Raises LogferryError."""
    with tempfile.TemporaryDirectory(prefix="logferry-demo-") as folder, _removing_at_interrupt(folder):
        sample = _find_sample(Path(folder))
        data_dir = Path(folder) / "data"
        with _background_server(data_dir) as port:
            print_result(f"A server listens on 127.0.0.1 port {port}. Shipping {sample.name} to it:")
            arguments = {
                "log_file": str(sample),
                "server_host": "127.0.0.1",
                "server_port": str(port),
                "state_dir": str(Path(folder) / "state"),
            }
            code = ship_and_summarise(load(ShipSettings, arguments, {}))
            if code == EXIT_INTERRUPTED:
                return code
            _show_stored(data_dir)
            print_result("\nThe proof (logferry verify): the file, the server's ledger and the server's disk agree.")
            return code or verify_and_print(load(VerifySettings, arguments, {}))


def _removing_at_interrupt(folder: str) -> AbstractContextManager[None]:
    say = partial(print_problem, "interrupted", command="demo")
    return exiting_on_interrupt(say, clean_up=partial(shutil.rmtree, folder, ignore_errors=True))


def _show_stored(data_dir: Path) -> None:
    root = data_dir / FOLDER_NAME
    for folder, name in segment_files(root):
        segment = root / folder / str(name)
        print_result(f"\nStored and synced to disk in {segment.relative_to(data_dir.parent)}:")
        with any_form(segment) as content:
            lines = b"".join(blocks(content, 0, content.size))
        print_result(lines.decode().rstrip("\n"))


def _find_sample(folder: Path) -> Path:
    """Return the path of the sample, which may have to be written into a folder first. Raises SourceError."""
    for place in _SAMPLE_PLACES:
        if place.is_file():
            return place
    packed = resources.files("logferry") / _SAMPLE
    if packed.is_file():
        (folder / _SAMPLE).write_bytes(packed.read_bytes())
        return folder / _SAMPLE
    raise SourceError(_SAMPLE, f"not in {' or '.join(str(place.parent) for place in _SAMPLE_PLACES)}")


@contextmanager
def _background_server(data_dir: Path) -> Iterator[int]:
    """Run a server on a free loopback port in a second thread; yield its port, and stop the server at the end."""
    arguments = {"server_host": "127.0.0.1", "server_port": "0", "data_dir": str(data_dir)}
    settings = load(ServeSettings, arguments, {})
    ports: list[int] = []
    is_settled = threading.Event()
    stop: list[Callable[[], object]] = []

    def on_ready(addresses: Sequence[BoundAddress]) -> None:
        ports.append(addresses[0].port)
        is_settled.set()

    async def run() -> None:
        stop_requested = asyncio.Event()
        loop = asyncio.get_running_loop()
        stop.append(lambda: loop.call_soon_threadsafe(stop_requested.set))
        await serve(settings, stop_requested=stop_requested, on_ready=on_ready)

    server = Worker(lambda _: asyncio.run(run()), name="demo-server", on_stop=lambda: stop[0](), on_end=is_settled.set)
    server.start()
    if not is_settled.wait(_START_TIMEOUT_S) or server.failure:
        raise LogferryError(f"cannot start a server: {server.failure or 'no answer'}")
    try:
        yield ports[0]
    finally:
        server.stop()
