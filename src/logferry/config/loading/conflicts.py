"""Which values of options cannot be used together, although each is valid on its own.

This module checks valid values only: `loading` has reported and left out the others.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from logferry.config.kinds.input_kinds import STANDARD_INPUT
from logferry.config.kinds.server_addresses import problems_with
from logferry.zstd_library import MODULE, REMEDY, zstd_library

Values = Mapping[str, Any]

# The keys that options add to every record.
_ADDED_KEYS: Final = {
    "add_host": ("host",),
    "add_path": ("path",),
    "add_kubernetes": ("namespace", "pod", "container"),
}


def of_client(values: Values, inputs: Sequence[Values]) -> Iterator[str]:
    """Yield a sentence for each conflict in the settings of a client, or between its inputs."""
    takes_standard_input = [STANDARD_INPUT in own.get("log_file", ()) for own in inputs]
    disposals = [name for name in ("delete_after", "move_after") if values.get(name)]
    if len(disposals) == 2:
        yield "--delete-after and --move-after cannot be used together"
    for name in disposals:
        flag = "--" + name.replace("_", "-")
        if values.get("mode") == "continuous":
            yield f"{flag} is for batch mode: a followed file is never finished"
        if values.get("ack") in ("line", "none"):
            yield f"{flag} needs --ack auto: delivery cannot be verified otherwise"
        if any(takes_standard_input):
            yield f"{flag} needs files: standard input (-) can be neither deleted nor moved"
    if any(takes_standard_input) and len(inputs) > 1:
        yield "standard input (-) must be the only input"


def of_connection(values: Values) -> Iterator[str]:
    """Yield a sentence for each conflict between the settings of a client that say where and how it connects."""
    yield from problems_with(values.get("server", ()))
    if not values.get("tls", True):
        given = [
            name for name in ("tls_ca", "tls_cert", "tls_key", "tls_server_name", "tls_insecure") if values.get(name)
        ]
        for name in given:
            yield f"--{name.replace('_', '-')} needs --tls: without it, the connection is not encrypted"
    elif values.get("tls_key") and not values.get("tls_cert"):
        yield "--tls-key needs --tls-cert"
    hosts = [server.host for server in values.get("server", ())] or [values.get("server_host", "")]
    if values.get("token_file") and not values.get("tls", True) and not all(map(_is_this_machine, hosts)):
        yield "--token-file needs --tls, or a server on this machine: others could read the token"


def _is_this_machine(host: str) -> bool:
    from logferry.addresses import is_loopback  # late: most clients have no token

    return host.lower() == "localhost" or is_loopback(host)


def of_input(values: Values) -> Iterator[str]:
    """Yield a sentence for each conflict within one input."""
    files = values.get("log_file", ())
    if STANDARD_INPUT in files and len(files) > 1:
        yield "standard input (-) must be the only log file of its input"
    keys = [key for key, _ in values.get("field", ())]
    keys += [key for name, added in _ADDED_KEYS.items() if values.get(name) for key in added]
    for key in dict.fromkeys(key for key in keys if keys.count(key) > 1):
        yield f"the field {key!r} is given twice (--field, --add-host, --add-path, --add-kubernetes)"


def of_console(values: Values) -> Iterator[str]:
    """Yield a sentence for each conflict in the settings of the console."""
    for name in ("tls_key", "tls_client_ca"):
        if values.get(name) and not values.get("tls_cert"):
            yield f"--{name.replace('_', '-')} needs --tls-cert"


def _of_store(values: Values) -> Iterator[str]:
    is_nats = values.get("store") == "nats"
    if is_nats and not values.get("nats"):
        yield "--store nats needs --nats: the URLs of the NATS servers, as nats://10.0.0.1:4222"
    if not is_nats and values.get("nats"):
        yield "--nats needs --store nats"
    for name in ("retention_bytes", "retention_days"):
        if is_nats and values.get(name):
            yield f"--{name.replace('_', '-')} is for --store disk: no gateway deletes what all of them share"


def of_server(values: Values) -> Iterator[str]:
    """Yield a sentence for each conflict in the settings of a server, and for what this Python lacks for them."""
    if values.get("segment_compression") == "zstd" and not zstd_library():
        yield f"--segment-compression zstd needs the Python module {MODULE}: {REMEDY}"
    yield from _of_store(values)
    if values.get("plain_from") and not values.get("clients"):
        yield "--plain-from needs --clients: without it, everybody may ship"
    listen, cert = values.get("listen", ()), values.get("tls_cert")
    for name in ("tls_key", "tls_client_ca"):
        if values.get(name) and not cert:
            yield f"--{name.replace('_', '-')} needs --tls-cert"
    if any(url.is_tls for url in listen) and not cert:
        yield "--listen tls://... needs --tls-cert and --tls-key"
    if cert and listen and not any(url.is_tls for url in listen):
        yield "--tls-cert needs a URL with tls:// in --listen: none of those given speaks TLS"
