"""`logferry ship`: ships log files to a server. The default command."""

from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from typing import Final

from logferry.cli.command_line import (
    EXIT_INCOMPLETE,
    EXIT_INTERRUPTED,
    EXIT_NOT_DELIVERED,
    EXIT_OK,
    EXIT_USAGE,
    CommandLine,
    flush_log,
)
from logferry.cli.output import print_last_words, print_notice, print_problem
from logferry.cli.pattern_watch import watching_patterns
from logferry.cli.progress_line import showing_progress
from logferry.cli.signals import reloading_on_hangup, stopping_on_signals
from logferry.client.net.waiting.wakeup import StopSignal
from logferry.client.run import Reloading, ship
from logferry.config import STANDARD_INPUT, ShipSettings
from logferry.errors import AddressError, ConfigError, DeliveryAbandoned, SourceError, StateError
from logferry.speedups import collect_less_garbage, warn_if_slow
from logferry.telemetry.metrics import Metrics
from logferry.telemetry.summary import summary

_EPILOG: Final = """examples:
  logferry ship app.log 'logs/*.log' --server logs:9000
  logferry ship --mode continuous --format auto --config /etc/logferry/ship.toml

other commands: logferry help

exit codes:
  0    every byte is acked
  1    not delivered (server unreachable, refused, deadline, stopped)
  2    the command line or the configuration is wrong
  3    finished, but some lines were refused, truncated or unreadable
  130  interrupted (Ctrl-C) before a batch run had finished
"""

_COMMAND_LINE: Final = CommandLine(
    "ship",
    ShipSettings,
    "Ship log lines from files to a server.",
    _EPILOG,
    common=frozenset({"server", "tls", "token_file", "host", "format", "multiline", "config"}),
    takes_files=True,
)


def run(words: Sequence[str]) -> int:
    """Ship; return the exit code. The summary ends every run, even one whose command line is wrong."""
    try:
        settings = _COMMAND_LINE.start(words)
    except ConfigError as error:
        for problem in error.problems:
            print_problem(problem, command="ship")
        print_notice(summary(Metrics().total()))
        return EXIT_USAGE
    return ship_and_summarise(settings, partial(_COMMAND_LINE.settings, words))


def ship_and_summarise(settings: ShipSettings, load_again: Callable[[], ShipSettings] | None = None) -> int:
    """Run the client; print its problems and then the summary to stderr. Return the exit code.

    On SIGHUP, a client that follows files takes over the settings that `load_again` returns.
    """
    collect_less_garbage()
    warn_if_slow()
    metrics, stop = Metrics(), StopSignal()
    request, reloading = None, None
    reads_files = all(STANDARD_INPUT not in own.log_file for own in settings.inputs)
    if load_again is not None and settings.mode == "continuous" and reads_files:
        from logferry.client.reload import Reloads

        reloads = Reloads(settings, load_again)
        request, reloading = reloads.request, reloads.delivering_to
    with (
        closing(stop),
        stopping_on_signals(stop.request, lambda: print_last_words(summary(metrics.total_so_far()))) as stopped,
        reloading_on_hangup(request),
        watching_patterns(),
    ):
        code, problems = _ship(settings, metrics, stop, reloading)
    if code == EXIT_NOT_DELIVERED and stopped.is_interrupt and settings.mode == "batch":
        code = EXIT_INTERRUPTED
    flush_log()
    for problem in problems:
        print_problem(problem)
    print_notice(summary(metrics.total()))
    return code


def _ship(
    settings: ShipSettings, metrics: Metrics, stop: StopSignal, reloading: Reloading | None
) -> tuple[int, Sequence[str]]:
    """Return the exit code, and a sentence for each thing that went wrong."""
    try:
        watching = partial(showing_progress, "shipping")
        problems = ship(settings, metrics=metrics, stop=stop, reloading=reloading, watching=watching).problems
    except (StateError, AddressError) as error:
        return EXIT_USAGE, (str(error),)
    except SourceError as error:
        return EXIT_INCOMPLETE, (str(error),)
    except DeliveryAbandoned as error:
        return EXIT_NOT_DELIVERED, (f"not delivered: {error}",)
    return EXIT_INCOMPLETE if problems else EXIT_OK, problems
