"""The HEALTHCHECK of both images: exits with 0 if the configured server accepts a connection, otherwise with 1.

In the server's container this checks the server itself; in the client's, the server that the client ships to. As in the
program, the address comes from the flags of the container's main process, or else from the environment, the
configuration file, or the default. On failure the script prints one sentence. A server with TLS must also finish a
handshake, unless it demands certificates of its clients: then a TCP connection must do, as for the client's server.

Docker runs the script every few seconds, so it must not import more than it needs.
"""

import os
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

CONNECT_TIMEOUT_S = 2.5

# The options that say where a server is, and how to speak with it, and their variables.
_VARIABLES = {
    "listen": "LOGFERRY_LISTEN",
    "server_host": "SERVER_HOST",
    "server_port": "SERVER_PORT",
    "tls_cert": "LOGFERRY_TLS_CERT",
    "tls_client_ca": "LOGFERRY_TLS_CLIENT_CA",
}


def find_server(arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[str, int]:
    """Return the host and port that a process with these arguments and variables listens on or ships to."""
    layers = _layers(arguments, environment)
    for layer in layers:
        if layer["server_host"] or layer["server_port"]:
            break
        if (url := _first(layer["listen"])) != "none":
            host, _, port = url.partition("://")[2].rpartition(":")
            return host.strip("[]"), int(port)
    return str(_highest(layers, "server_host") or "localhost"), int(_highest(layers, "server_port") or 9000)


def shakes_hands(arguments: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Whether a process with these arguments and variables is a server whose first listener speaks TLS with anybody."""
    is_server = any(word.endswith("server_main.py") or word == "serve" for word in arguments)
    layers = _layers(arguments, environment)
    certificate, authorities = (_highest(layers, name) or "none" for name in ("tls_cert", "tls_client_ca"))
    if not is_server or certificate == "none" or authorities != "none":
        return False
    for layer in layers:
        if layer["server_host"] or layer["server_port"]:
            break
        if (url := _first(layer["listen"])) != "none":
            return url.lower().startswith("tls:")
    return True


def _layers(arguments: Sequence[str], environment: Mapping[str, str]) -> list[Mapping[str, Any]]:
    """Return the values of the command line, the environment and the configuration file."""
    file: Mapping[str, Any] = _settings_in(_flag("--config", arguments) or environment.get("LOGFERRY_CONFIG") or "none")
    return [
        {name: _flag(f"--{name.replace('_', '-')}", arguments) for name in _VARIABLES},
        {name: environment.get(variable) for name, variable in _VARIABLES.items()},
        {name: file.get(name) for name in _VARIABLES},
    ]


def _highest(layers: Sequence[Mapping[str, Any]], name: str) -> Any:
    """Return the value from the first layer that has one."""
    return next((layer[name] for layer in layers if layer[name]), None)


def _first(listen: Any) -> str:
    """Return the first of the URLs to listen on: text with one in each line, an array, or nothing."""
    texts = listen if isinstance(listen, list) else str(listen or "none").split("\n")
    return str(texts[0]) if texts else "none"


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


def shake_hands(connection: socket.socket) -> None:
    """Finish a handshake of TLS. Who is at the other end is known: it is this container. Raises OSError."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.wrap_socket(connection).close()


def main() -> int:
    """Check the server of process 1."""
    arguments = Path("/proc/1/cmdline").read_bytes().decode(errors="surrogateescape").split("\0")
    try:
        host, port = find_server(arguments, os.environ)
    except (OSError, ValueError) as error:
        print(f"cannot determine which server to connect to: {error}", file=sys.stderr)
        return 1
    try:
        with socket.create_connection((host, port), timeout=CONNECT_TIMEOUT_S) as connection:
            if shakes_hands(arguments, os.environ):
                shake_hands(connection)
    except OSError as error:
        print(f"cannot connect to {host} port {port}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
