"""The HEALTHCHECK of both images: exits with 0 if the configured server accepts a TCP connection, otherwise with 1.

In the server's container this checks the server itself; in the client's, the server that the client ships to. As in the
program, the address comes from the flags of the container's main process, or else from the environment, the
configuration file, or the default. On failure the script prints one sentence.

Docker runs the script every few seconds, so it must not import more than it needs.
"""

import os
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

CONNECT_TIMEOUT_S = 2.5


def find_server(arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[str, int]:
    """Return the host and port that a process with these arguments and variables listens on or ships to."""
    file = _settings_in(_flag("--config", arguments) or environment.get("LOGFERRY_CONFIG") or "none")
    host = _flag("--server-host", arguments) or environment.get("SERVER_HOST") or file.get("server_host", "localhost")
    port = _flag("--server-port", arguments) or environment.get("SERVER_PORT") or file.get("server_port", "9000")
    return str(host), int(port)


def _settings_in(config: str) -> dict[str, Any]:
    """Return the values at the top of a configuration file. It is valid: otherwise the program would not run."""
    if config.lower() == "none":
        return {}
    import tomllib

    with open(config, "rb") as file:
        return tomllib.load(file)


def _flag(name: str, arguments: Sequence[str]) -> str | None:
    """Return the value of `--name value` or `--name=value`; the last occurrence counts."""
    value = None
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if argument == name:
            value = following
        elif argument.startswith(name + "="):
            value = argument.removeprefix(name + "=")
    return value


def main() -> int:
    """Check the server of process 1."""
    arguments = Path("/proc/1/cmdline").read_bytes().decode(errors="surrogateescape").split("\0")
    try:
        host, port = find_server(arguments, os.environ)
    except (OSError, ValueError) as error:
        print(f"cannot determine which server to connect to: {error}", file=sys.stderr)
        return 1
    try:
        socket.create_connection((host, port), timeout=CONNECT_TIMEOUT_S).close()
    except OSError as error:
        print(f"cannot connect to {host} port {port}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
