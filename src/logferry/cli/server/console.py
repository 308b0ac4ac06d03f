"""`logferry console`: a page and an API to look at what a server has stored, until a signal stops it."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Final

from logferry.addresses import is_loopback
from logferry.cli.command_line import EXIT_OK, CommandLine
from logferry.cli.output import print_notice
from logferry.cli.signals import reloading_on_hangup, stopping_on_signals
from logferry.config.settings.console_settings import ConsoleSettings
from logferry.console import extra
from logferry.errors import ConfigError
from logferry.tls_files import watching

logger = logging.getLogger(__name__)

_COMMAND_LINE: Final = CommandLine(
    "console",
    ConsoleSettings,
    "Look at what a server has stored, in a browser. It only reads, and may run beside the server.",
    "exit codes: 0 stopped by a signal; 1 the address is taken, or --data-dir has no store; 2 the command line or the "
    "configuration is wrong, or the extra logferry[console] is not installed",
)


def run(words: Sequence[str]) -> int:
    """Serve the console; return the exit code. Raises ConfigError, and LogferryError when it cannot start."""
    settings = _COMMAND_LINE.start(words)
    extra.require()
    _refuse_strangers(settings)
    asyncio.run(_serve_until_signal(settings))
    return EXIT_OK


def _refuse_strangers(settings: ConsoleSettings) -> None:
    """Raise ConfigError if anybody on the network could read all lines."""
    host, port = settings.listen
    if is_loopback(host) or host.lower() == "localhost":
        return
    if settings.token_file is None and settings.tls_client_ca is None:
        raise ConfigError(
            [
                f"--listen {host}:{port}: everybody who can reach this address could read all lines; listen on "
                f"127.0.0.1:{port}, or let people prove who they are, with --token-file or --tls-client-ca"
            ]
        )
    if settings.tls_cert is None:
        logger.warning("without --tls-cert, anybody on the way through the network can read the token and the lines")


async def _serve_until_signal(settings: ConsoleSettings) -> None:
    from logferry.console.access import Hosts, read_token  # only with the extra
    from logferry.console.application import application
    from logferry.console.encryption import tls_of
    from logferry.console.queries.queries import Limits, Queries
    from logferry.console.running import ConsoleServer
    from logferry.console.stored.stored_source import StoredSource

    token = read_token(settings.token_file) if settings.token_file else None
    tls = tls_of(settings.tls_cert, settings.tls_key, settings.tls_client_ca) if settings.tls_cert else None
    queries = Queries(
        Limits(settings.query_timeout, settings.query_max_bytes, settings.query_max_lines, settings.max_queries)
    )
    source = StoredSource(settings.data_dir)
    server = ConsoleServer(*settings.listen, tls)
    app = application(source, queries, hosts=Hosts(settings.listen[0], settings.host_name), token=token)
    loop = asyncio.get_running_loop()
    stop_requested = asyncio.Event()
    looking = watching(tls, on_change=lambda _: None) if tls else nullcontext()
    with (
        stopping_on_signals(lambda: loop.call_soon_threadsafe(stop_requested.set)),
        looking as look_again,
        reloading_on_hangup(look_again),
    ):
        print_notice(f"logferry: the console is at {server.url}")
        await server.run(app, queries, stop_requested)
