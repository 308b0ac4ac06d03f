"""The HEALTHCHECK of both images: exit 0 if the configured server takes a TCP connection, else 1 with one sentence.

In the server's container that is the server itself; in the client's, the server that it ships to. The address comes
from the flags of the container's main process, else from the environment, else from the configuration file, else it is
the default, as in the program.
It is run every few seconds, so it imports only what it needs.
"""

import os
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

CONNECT_TIMEOUT_S = 2.5


def find_server(arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[str, int]:
    """Return the host and port that a process with these arguments and variables listens on, or ships to."""
    file = _settings_in(_flag("--config", arguments) or environment.get("LOGFERRY_CONFIG") or "none")
    host = _flag("--server-host", arguments) or environment.get("SERVER_HOST") or file.get("server_host", "localhost")
    port = _flag("--server-port", arguments) or environment.get("SERVER_PORT") or file.get("server_port", "9000")
    return str(host), int(port)


def _settings_in(config: str) -> dict[str, Any]:
    """Return what stands at the top of a configuration file; the program refuses to start with one that is wrong."""
    if config.lower() == "none":
        return {}
    import tomllib

    with open(config, "rb") as file:
        return tomllib.load(file)


def _flag(name: str, arguments: Sequence[str]) -> str | None:
    """Return the value of `--name value` or `--name=value`; the last one counts."""
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
        print(f"cannot find out which server to connect to: {error}", file=sys.stderr)
        return 1
    try:
        socket.create_connection((host, port), timeout=CONNECT_TIMEOUT_S).close()
    except OSError as error:
        print(f"cannot connect to {host} port {port}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
