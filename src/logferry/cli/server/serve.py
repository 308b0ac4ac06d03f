"""`logferry serve`: receives log lines and stores them until a signal stops it."""

import asyncio
import sys
from collections.abc import Callable, Sequence
from typing import Final

from logferry.cli.command_line import EXIT_OK, CommandLine
from logferry.cli.output import print_notice
from logferry.cli.signals import reloading_on_hangup, stopping_on_signals
from logferry.cli.streams import write_all
from logferry.config import ServeSettings
from logferry.server.listen import BoundAddress
from logferry.server.reload import Reloads
from logferry.server.server import serve
from logferry.speedups import collect_less_garbage, warn_if_slow

_COMMAND_LINE: Final = CommandLine(
    "serve",
    ServeSettings,
    "Receive log lines and store them.",
    "exit codes: 0 stopped by a signal; 1 the server cannot start; 2 the command line or the configuration is wrong",
    common=frozenset({"data_dir", "listen", "tls_cert", "clients", "durability", "retention_bytes", "http", "config"}),
)


def run(words: Sequence[str]) -> int:
    """Serve; return the exit code. Raises ConfigError, and LogferryError when the server cannot start."""
    settings = _COMMAND_LINE.start(words)
    asyncio.run(_serve_until_signal(settings, lambda: _COMMAND_LINE.settings(words)))
    return EXIT_OK


async def _serve_until_signal(settings: ServeSettings, load_again: Callable[[], ServeSettings]) -> None:
    collect_less_garbage()
    warn_if_slow()
    reloads = Reloads(settings, load_again)
    stop_requested = asyncio.Event()
    loop = asyncio.get_running_loop()
    with (
        stopping_on_signals(lambda: loop.call_soon_threadsafe(stop_requested.set)),
        reloading_on_hangup(lambda: loop.call_soon_threadsafe(reloads.request)),
    ):
        await serve(
            settings,
            stop_requested=stop_requested,
            on_ready=_print_addresses,
            echo=_write_stdout if settings.echo else None,
            reloads=reloads,
        )


def _print_addresses(addresses: Sequence[BoundAddress]) -> None:
    """Print the addresses. Scripts wait for these lines, so they must not change."""
    for address in addresses:
        print_notice(f"logferry: listening on {address}")


def _write_stdout(lines: bytes) -> None:
    write_all(sys.stdout.fileno(), lines)
