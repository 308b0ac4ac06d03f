"""The command line: subcommands, exit codes, signals. The only module that prints or exits."""

import argparse
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Final, NoReturn

from logferry import __version__
from logferry.config import (
    FSCK_OPTIONS,
    SERVE_OPTIONS,
    SHIP_OPTIONS,
    STANDARD_INPUT,
    STATUS_OPTIONS,
    VERIFY_OPTIONS,
    FsckSettings,
    Option,
    ServeSettings,
    Settings,
    ShipSettings,
    StatusSettings,
    VerifySettings,
    former_names,
    load,
    options_of,
)
from logferry.errors import ConfigError, DeliveryError, GaveUp, LogferryError, SourceError, StateError
from logferry.speedups import collect_less_garbage, keep_freed_memory
from logferry.telemetry.log_format import SafeFormatter
from logferry.telemetry.metrics import Metrics
from logferry.telemetry.summary import summary

logger = logging.getLogger(__name__)

EXIT_OK: Final = 0
EXIT_NOT_DELIVERED: Final = 1
EXIT_USAGE: Final = 2
EXIT_INCOMPLETE: Final = 3

_EXIT_CODES: Final = """exit codes:
  0  every byte is acked
  1  could not deliver (unreachable, refused, deadline, stopped)
  2  the command line or the configuration is wrong
  3  finished, but some lines were refused, cut or could not be read
"""

_VERIFY_CODES: Final = (
    "exit codes: 0 everything is there, once; 1 the server does not answer; 2 usage; 3 something is not"
)
_STATUS_CODES: Final = """exit codes:
  0  the client is running, or its batch run has ended well, and nothing is wrong
  1  nothing can be said: no client has run with this state folder, or it cannot be read
  2  usage
  3  something is wrong: not running, waiting for the server, a file that cannot be read, lines or bytes not delivered
"""
_CHECK_CODES: Final = "exit codes: 0 the configuration is right; 2 it is not"
_FSCK_CODES: Final = "exit codes: 0 every segment is as the ledger says; 1 no ledger; 2 usage; 3 a segment is damaged"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `logferry` with `arguments` (default: the process's own); return the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    command = words.pop(0) if words and words[0] in _COMMANDS else "ship"
    keep_freed_memory()
    try:
        return _COMMANDS[command](words)
    except ConfigError as error:
        for problem in error.problems:
            print(f"logferry {command}: {problem}", file=sys.stderr)
        return EXIT_USAGE
    except LogferryError as error:
        print(f"logferry {command}: {error}", file=sys.stderr)
        return EXIT_NOT_DELIVERED


def _ship(words: Sequence[str]) -> int:
    epilog = (
        f"other commands: {', '.join(name for name in _COMMANDS if name != 'ship')} (each with --help)\n\n{_EXIT_CODES}"
    )
    parser = _parser("ship", "Ship log lines from a file to a server.", SHIP_OPTIONS, epilog)
    load_again = partial(_settings, ShipSettings, parser, words)
    settings = load_again()
    _log_to_stderr(settings.log_level, SHIP_OPTIONS)
    return ship_and_summarise(settings, load_again)


def ship_and_summarise(settings: ShipSettings, load_again: Callable[[], ShipSettings] | None = None) -> int:
    """Run the client; say on stderr what went wrong, then the summary. Return the exit code.

    SIGHUP makes a client that follows files take over what `load_again` gives.
    """
    # Imported late, like the server below: neither command should wait for, or hold in memory, the other's modules.
    from logferry.client.net.wakeup import StopSignal
    from logferry.client.reload import Reloads
    from logferry.client.run import ship

    collect_less_garbage()
    metrics, stop = Metrics(), StopSignal()
    reloads = None
    reads_files = all(STANDARD_INPUT not in own.log_file for own in settings.inputs)
    if load_again is not None and settings.mode == "continuous" and reads_files:
        reloads = Reloads(settings, load_again)
    code = EXIT_OK
    problems: Sequence[str] = ()
    with _stopping_on_signals(stop.request), _on_hangup(reloads.request if reloads else None):
        try:
            problems = ship(settings, metrics=metrics, stop=stop, reloads=reloads).problems
            code = EXIT_INCOMPLETE if problems else EXIT_OK
        except StateError as error:
            code = EXIT_USAGE
            problems = (str(error),)
        except SourceError as error:
            code = EXIT_INCOMPLETE
            problems = (str(error),)
        except GaveUp as error:
            code = EXIT_NOT_DELIVERED
            problems = (f"not delivered: {error}",)
    for problem in problems:
        print(f"logferry: {problem}", file=sys.stderr)
    print(summary(metrics.total()), file=sys.stderr)
    return code


def _serve(words: Sequence[str]) -> int:
    parser = _parser("serve", "Receive log lines and store them.", SERVE_OPTIONS, "")
    settings = _settings(ServeSettings, parser, words)
    _log_to_stderr(settings.log_level, SERVE_OPTIONS)
    import asyncio

    try:
        asyncio.run(_serve_until_signal(settings))
    except LogferryError as error:
        print(f"logferry serve: {error}", file=sys.stderr)
        return EXIT_NOT_DELIVERED
    return EXIT_OK


async def _serve_until_signal(settings: ServeSettings) -> None:
    import asyncio

    from logferry.server.server import serve

    collect_less_garbage()
    stop_requested = asyncio.Event()
    loop = asyncio.get_running_loop()
    with _stopping_on_signals(lambda: loop.call_soon_threadsafe(stop_requested.set)):
        await serve(
            settings,
            stop_requested=stop_requested,
            on_ready=_say_where,
            echo=_write_stdout if settings.echo else None,
        )


def _say_where(addresses: Sequence[tuple[str, int]]) -> None:
    for host, port in addresses:
        print(f"logferry: listening on {host} port {port}", file=sys.stderr, flush=True)


def _write_stdout(lines: bytes) -> None:
    sys.stdout.buffer.write(lines)
    sys.stdout.buffer.flush()


def _verify(words: Sequence[str]) -> int:
    from logferry.cli.presentation import verdicts_as_json, verdicts_as_table
    from logferry.client.net.reports import ReportClient
    from logferry.client.proof.verify import verify_all
    from logferry.client.run import state_dir
    from logferry.client.state.checkpoints import Checkpoints

    parser = _parser("verify", "Compare files with what the server has stored of them.", VERIFY_OPTIONS, _VERIFY_CODES)
    settings = _settings(VerifySettings, parser, words)
    _log_to_stderr(settings.log_level, VERIFY_OPTIONS)
    checkpoints = Checkpoints(state_dir(settings.state_dir), read_only=True)
    try:
        reports = ReportClient(
            settings.server_host,
            settings.server_port,
            client_host=settings.host,
            connect_timeout_s=settings.connect_timeout,
            answer_timeout_s=settings.ack_timeout,
        )
        try:
            verdicts = verify_all(settings.inputs, checkpoints, reports)
        finally:
            reports.close()
    except DeliveryError as error:
        print(f"logferry verify: {error}", file=sys.stderr)
        return EXIT_NOT_DELIVERED
    _answer(verdicts_as_json(verdicts) if settings.json else verdicts_as_table(verdicts))
    return EXIT_OK if all(verdict.is_proven for verdict in verdicts) else EXIT_INCOMPLETE


def _fsck(words: Sequence[str]) -> int:
    from logferry.cli.presentation import findings_as_json, findings_as_table
    from logferry.server.storage.fsck import fsck

    parser = _parser("fsck", "Check every segment of a server's folder against its ledger.", FSCK_OPTIONS, _FSCK_CODES)
    settings = _settings(FsckSettings, parser, words)
    _log_to_stderr(settings.log_level, FSCK_OPTIONS)
    try:
        findings = list(fsck(settings.data_dir))
    except LogferryError as error:
        print(f"logferry fsck: {error}", file=sys.stderr)
        return EXIT_NOT_DELIVERED
    _answer(findings_as_json(findings) if settings.json else findings_as_table(findings))
    return EXIT_INCOMPLETE if any(finding.problem for finding in findings) else EXIT_OK


def _status(words: Sequence[str]) -> int:
    from logferry.cli.presentation import status_as_json, status_as_table
    from logferry.client.run import state_dir
    from logferry.client.status.inspect import inspect

    parser = _parser("status", "Tell what a client is doing, from its state folder.", STATUS_OPTIONS, _STATUS_CODES)
    settings = _settings(StatusSettings, parser, words)
    _log_to_stderr(settings.log_level, STATUS_OPTIONS)
    status = inspect(state_dir(settings.state_dir), now=time.time())
    _answer(status_as_json(status) if settings.json else status_as_table(status, shows_all=settings.all))
    return EXIT_INCOMPLETE if status.problems else EXIT_OK


def _check_config(words: Sequence[str]) -> int:
    from logferry.cli.client.check_report import check_report
    from logferry.client.finding.preview import not_log_files, preview
    from logferry.client.run import state_dir

    parser = _parser(
        "check-config", "Check the client's configuration; say what it would ship.", SHIP_OPTIONS, _CHECK_CODES
    )
    settings = _settings(ShipSettings, parser, words)
    _log_to_stderr(settings.log_level, SHIP_OPTIONS)
    if problems := not_log_files(settings.inputs):
        raise ConfigError(problems)
    print(check_report(settings, preview(settings.inputs), state_dir(settings.state_dir)), flush=True)
    return EXIT_OK


def _answer(text: str) -> None:
    """Print what was asked for; whoever reads it may have seen enough before its end (`| head`)."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is flushed at the exit


def _demo(words: Sequence[str]) -> int:
    from logferry.cli.demo import run_demo

    parser = _parser("demo", "Start a server, ship sample_logs.txt to it, show what was stored.", (), "")
    _arguments(parser, words)
    _log_to_stderr("warning")
    return run_demo(ship_and_summarise, _verify, lambda text: print(text, flush=True))


_COMMANDS: Final[Mapping[str, Callable[[Sequence[str]], int]]] = {
    "ship": _ship,
    "serve": _serve,
    "verify": _verify,
    "fsck": _fsck,
    "status": _status,
    "check-config": _check_config,
    "demo": _demo,
}


class _Parser(argparse.ArgumentParser):
    """Raises instead of exiting, so that problems of any kind are told in one way."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError([message])


def _parser(command: str, description: str, options: Sequence[Option], epilog: str) -> _Parser:
    """Make the parser of one command; every value stays a text, for `config.load` to judge."""
    parser = _Parser(
        prog=f"logferry {command}",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"logferry {__version__}")
    for option in options:
        text = f"{option.help} [{option.env}, default {option.default}]".replace("%", "%%")
        if option.kind.is_flag:
            parser.add_argument(option.flag, dest=option.name, nargs="?", const="true", metavar="BOOL", help=text)
        else:
            action = "append" if option.kind.separator else "store"
            parser.add_argument(option.flag, dest=option.name, action=action, metavar="VALUE", help=text)
    return parser


def _arguments(parser: _Parser, words: Sequence[str]) -> dict[str, str]:
    """Return what the command line gives, by option name. Raises ConfigError for words that mean nothing."""
    known, unknown = parser.parse_known_args(list(words))
    if unknown:
        raise ConfigError([f"unknown argument: {word}" for word in unknown])
    return vars(known)


def _settings(kind: type[Settings], parser: _Parser, words: Sequence[str]) -> Settings:
    """Return the settings of a command; raise ConfigError with all that is wrong with its words and its values."""
    known, unknown = parser.parse_known_args(list(words))
    problems = [f"unknown argument: {word}" for word in unknown]
    try:
        settings = load(kind, _joined(options_of(kind), vars(known)), os.environ)
    except ConfigError as error:
        raise ConfigError([*problems, *error.problems]) from None
    if problems:
        raise ConfigError(problems)
    return settings


def _joined(options: Sequence[Option], given: Mapping[str, str | list[str]]) -> dict[str, str]:
    """Return each option's text; the values of a flag that was given several times are put together to one."""
    separators = {option.name: option.kind.separator for option in options}
    return {name: separators[name].join(value) if isinstance(value, list) else value for name, value in given.items()}


def _log_to_stderr(level: str, options: Sequence[Option] = ()) -> None:
    """Set logging up; then log which variables these options had in former versions are still set."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(SafeFormatter(encoding=sys.stderr.encoding or "utf-8"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for sentence in former_names(options, os.environ):
        logger.info("%s", sentence)


@contextmanager
def _stopping_on_signals(request: Callable[[], object]) -> Iterator[None]:
    """SIGTERM and SIGINT ask for a clean stop once; the second one exits at once, which is safe too."""
    asked = False

    def handle(number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            os._exit(128 + number)
        asked = True
        request()

    previous = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def _on_hangup(request: Callable[[], object] | None) -> Iterator[None]:
    """SIGHUP asks for a reload, if there is something to ask; else it is what it was."""
    if request is None:
        yield
        return
    previous = signal.signal(signal.SIGHUP, lambda _number, _frame: request())
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, previous)
