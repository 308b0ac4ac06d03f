"""`logferry check-config`: checks a configuration and prints its effect; ships, stores and creates nothing.

With `--serve` it checks the server's configuration.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from logferry.cli.client.check_report import check_report
from logferry.cli.command_line import EXIT_OK, CommandLine
from logferry.cli.output import print_result
from logferry.client.finding.foreign_links import follow_foreign_links
from logferry.client.finding.preview import not_log_files, preview
from logferry.client.run import state_dir
from logferry.config import ServeSettings, ShipSettings
from logferry.errors import ConfigError

_SERVE: Final = "--serve"
_SWITCHES: Final = {_SERVE: "check the configuration of a server; with --help, list the server's options"}
_EPILOG: Final = "exit codes: 0 the configuration is valid; 2 it is not"

_OF_CLIENT: Final = CommandLine(
    "check-config", ShipSettings, "Check the client's configuration; print what it would ship.", _EPILOG, _SWITCHES
)
_OF_SERVER: Final = CommandLine(
    "check-config", ServeSettings, "Check the server's configuration; print what it would do.", _EPILOG, _SWITCHES
)


def run(words: Sequence[str]) -> int:
    """Check a configuration; return the exit code. Raises ConfigError."""
    print_result(_server_report(words) if _SERVE in words else _client_report(words))
    return EXIT_OK


def _client_report(words: Sequence[str]) -> str:
    settings = _OF_CLIENT.start(words)
    follow_foreign_links(settings.follow_foreign_links)
    if problems := [*not_log_files(settings.inputs), *_tls_problems(settings), *_token_problems(settings)]:
        raise ConfigError(problems)
    previews, left_alone = preview(settings.inputs), []
    if settings.delete_after or settings.move_after:
        from logferry.client.proof.removal import folders_left_alone

        left_alone = folders_left_alone(Path(name) for found in previews for name in found.files)
    return check_report(settings, previews, state_dir(settings.state_dir), left_alone)


def _token_problems(settings: ShipSettings) -> list[str]:
    if settings.token_file is None:
        return []
    from logferry.client.net.connecting.token import check_token_file  # late, as where a token is used

    try:
        check_token_file(settings.token_file)
    except ConfigError as error:
        return list(error.problems)
    return []


def _tls_problems(settings: ShipSettings) -> list[str]:
    if not settings.tls:
        return []
    from logferry.client.net.connecting.security import problems_with_files  # late, as where TLS is used

    return problems_with_files(settings)


def _server_report(words: Sequence[str]) -> str:
    # Imported late: checking a client's configuration does not need the server's modules.
    from logferry.cli.server.check_report import check_server_report, folder_problems
    from logferry.server.encryption import tls_problems

    settings = _OF_SERVER.start(words)
    if problems := [*folder_problems(settings), *tls_problems(settings)]:
        raise ConfigError(problems)
    return check_server_report(settings)
