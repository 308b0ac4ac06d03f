"""The HEALTHCHECK of the images: exits with 0 if the configured server accepts a connection, otherwise with 1.

In the containers of the server and the console this checks that process itself; in the client's, the servers that the
client ships to: one of them is enough. As in the program, the address comes from the flags of the container's main
process, or else from the environment, the configuration file, or the default. On failure the script prints a sentence
for each server. A server with TLS must also finish a handshake, unless it demands certificates of its clients: then a
TCP connection must do, as for the client's servers and for the console.

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
    "server": "LOGFERRY_SERVER",
    "server_host": "SERVER_HOST",
    "server_port": "SERVER_PORT",
    "tls_cert": "LOGFERRY_TLS_CERT",
    "tls_client_ca": "LOGFERRY_TLS_CLIENT_CA",
}


def find_servers(arguments: Sequence[str], environment: Mapping[str, str]) -> list[tuple[str, int]]:
    """Return the hosts and ports that a process with these arguments and variables listens on or ships to."""
    if "console" in arguments:
        return [_address(_console(arguments, environment))]
    layers = _layers(arguments, environment)
    for layer in layers:
        if layer["server_host"] or layer["server_port"]:
            break
        if (url := _first(layer["listen"])) != "none":
            return [_address(url.partition("://")[2])]
        if layer["server"] and not _is_server(arguments):
            return [_address(each) for each in layer["server"]]
    return [(str(_highest(layers, "server_host") or "localhost"), int(_highest(layers, "server_port") or 9000))]


def _console(arguments: Sequence[str], environment: Mapping[str, str]) -> str:
    """Return where a console listens."""
    given = _flag("--listen", arguments) or environment.get("LOGFERRY_CONSOLE_LISTEN")
    config = _flag("--config", arguments) or environment.get("LOGFERRY_CONSOLE_CONFIG") or "none"
    return str(given or _settings_in(config).get("listen") or "127.0.0.1:9080")


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.strip().rpartition(":")
    return host.strip("[]"), int(port)


def _is_server(arguments: Sequence[str]) -> bool:
    return any(word.endswith("server_main.py") or word == "serve" for word in arguments)


def shakes_hands(arguments: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Whether a process with these arguments and variables is a server whose first listener speaks TLS with anybody."""
    layers = _layers(arguments, environment)
    certificate, authorities = (_highest(layers, name) or "none" for name in ("tls_cert", "tls_client_ca"))
    if not _is_server(arguments) or certificate == "none" or authorities != "none":
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
        {name: _flag(f"--{name.replace('_', '-')}", arguments) for name in _VARIABLES}
        | {"server": _values("--server", arguments)},
        {name: environment.get(variable) for name, variable in _VARIABLES.items()}
        | {"server": _split(environment.get("LOGFERRY_SERVER"))},
        {name: file.get(name) for name in _VARIABLES} | {"server": _split(file.get("server"))},
    ]


def _split(servers: Any) -> list[str]:
    """Return the addresses in a text with commas between them, in an array, or in nothing."""
    texts = servers if isinstance(servers, list) else str(servers or "none").split(",")
    return [text for text in texts if text.strip().lower() not in ("", "none")]


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
    return next(reversed(_values(name, arguments)), None)


def _values(name: str, arguments: Sequence[str]) -> list[str]:
    """Return the values of all occurrences of a flag."""
    values = []
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if argument == name:
            values.append(following)
        elif argument.startswith(name + "="):
            values.append(argument.removeprefix(name + "="))
    return values


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
        servers = find_servers(arguments, os.environ)
    except (OSError, ValueError) as error:
        print(f"cannot determine which server to connect to: {error}", file=sys.stderr)
        return 1
    problems = [check(host, port, arguments, CONNECT_TIMEOUT_S / len(servers)) for host, port in servers]
    if "" in problems:
        return 0
    print(*problems, sep="\n", file=sys.stderr)
    return 1


def check(host: str, port: int, arguments: Sequence[str], timeout_s: float) -> str:
    """Return why a server cannot be connected to, "" if it can."""
    try:
        with socket.create_connection((host, port), timeout=timeout_s) as connection:
            if shakes_hands(arguments, os.environ):
                shake_hands(connection)
    except OSError as error:
        return f"cannot connect to {host} port {port}: {error}"
    return ""


if __name__ == "__main__":
    sys.exit(main())
