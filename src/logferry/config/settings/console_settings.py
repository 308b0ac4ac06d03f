"""The settings of `logferry console`, and thereby its options. This module reads nothing: `loading` finds the values.

The variables begin with `LOGFERRY_CONSOLE_`: a console often has the environment of a server or a client, whose
certificates and tokens are not its own.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from logferry.config.kinds.kinds import CERTIFICATE_NAME, HOST_AND_PORT, PATH, any_number, whole, word_or
from logferry.config.kinds.units import MIB, TIB, duration, size
from logferry.config.options import Declaration, Group, LogFormat, LogLevel
from logferry.config.settings.server_settings import DataDir

_CONSOLE: Final = "LOGFERRY_CONSOLE_"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleSettings:
    """The settings of `logferry console`."""

    data_dir: DataDir
    listen: Annotated[
        tuple[str, int],
        Declaration(
            HOST_AND_PORT,
            "127.0.0.1:9080",
            "serve the console on this address; port 0 = any free port; other machines can reach it only with "
            "--token-file or --tls-client-ca",
            Group.ADDRESS,
            variable=f"{_CONSOLE}LISTEN",
        ),
    ]
    host_name: Annotated[
        tuple[str, ...],
        Declaration(
            any_number(CERTIFICATE_NAME, ",", "host names such as logs.example, separated by commas"),
            "none",
            "names by which browsers may reach the console, besides localhost and addresses; repeatable",
            Group.ADDRESS,
            variable=f"{_CONSOLE}HOST_NAME",
        ),
    ]
    token_file: Annotated[
        Path | None,
        Declaration(
            word_or("none", PATH),
            "none",
            "a file with the token that everybody needs who asks for lines; `logferry token new` makes one",
            Group.ADDRESS,
            variable=f"{_CONSOLE}TOKEN_FILE",
        ),
    ]
    tls_cert: Annotated[
        Path | None,
        Declaration(
            word_or("none", PATH),
            "none",
            "the console's certificate in PEM, with its chain: serve HTTPS",
            Group.ADDRESS,
            variable=f"{_CONSOLE}TLS_CERT",
        ),
    ]
    tls_key: Annotated[
        Path | None,
        Declaration(
            word_or("none", PATH),
            "none",
            "the key of --tls-cert in PEM; none = in the same file",
            Group.ADDRESS,
            variable=f"{_CONSOLE}TLS_KEY",
        ),
    ]
    tls_client_ca: Annotated[
        Path | None,
        Declaration(
            word_or("none", PATH),
            "none",
            "certificates of authorities in PEM: each browser needs a certificate that one of them has issued",
            Group.ADDRESS,
            variable=f"{_CONSOLE}TLS_CLIENT_CA",
        ),
    ]
    query_timeout: Annotated[
        float,
        Declaration(
            duration(0.1, 3600),
            "30s",
            "end a query after this long, with what it has found",
            Group.LIMITS,
            variable=f"{_CONSOLE}QUERY_TIMEOUT",
        ),
    ]
    query_max_bytes: Annotated[
        int,
        Declaration(
            size(MIB, TIB),
            "64G",
            "end a query when it has read this many bytes of lines, with what it has found",
            Group.LIMITS,
            variable=f"{_CONSOLE}QUERY_MAX_BYTES",
        ),
    ]
    query_max_lines: Annotated[
        int,
        Declaration(
            whole(1, 100_000),
            "10000",
            "answer a query with at most this many lines; the next ones are another query",
            Group.LIMITS,
            variable=f"{_CONSOLE}QUERY_MAX_LINES",
        ),
    ]
    max_queries: Annotated[
        int,
        Declaration(
            whole(1, 100),
            "4",
            "run at most this many queries at the same time (and four times as many live tails)",
            Group.LIMITS,
            variable=f"{_CONSOLE}MAX_QUERIES",
        ),
    ]
    log_level: LogLevel
    log_format: LogFormat
    config: Annotated[
        Path | None,
        Declaration(
            word_or("none", PATH),
            "none",
            "a TOML file with the console's settings (docs/configuration.md)",
            Group.RUN,
            variable=f"{_CONSOLE}CONFIG",
        ),
    ]
