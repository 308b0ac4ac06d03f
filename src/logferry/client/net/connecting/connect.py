"""From an endpoint to a connected transport: tries every address of the server's name, IPv4 or IPv6.

Everything that connects to a server dials here. The procedures are steps (steps.py): their caller decides what happens
while they wait.
"""

import contextlib
import math
import os
import socket
import threading
from typing import Any

from logferry.client.net.connecting.endpoint import Endpoint
from logferry.client.net.transports.tcp import TcpTransport, tune
from logferry.client.net.transports.transport import Transport
from logferry.client.net.waiting.readiness import READ, WRITE
from logferry.client.net.waiting.steps import Await, Steps
from logferry.errors import NotSecured, Unreachable, cause_of
from logferry.printable import in_seconds


def dial(endpoint: Endpoint, *, timeout_s: float, most_s: float = math.inf, warns: bool = True) -> Steps[Transport]:
    """Connect to the first address of the endpoint's host that answers; each address has `timeout_s`.

    All of them together have `most_s`, in equal parts.
    The connection is encrypted if the endpoint says so; `warns` if its settings say that nothing is checked.

    Raises Unreachable with a reason for every address.
    """
    reasons, is_insecure = {}, False
    addresses = yield from _resolve(endpoint.host, endpoint.port, timeout_s=timeout_s)
    timeout_s = min(timeout_s, most_s / max(1, len(addresses)))
    for family, address in addresses:
        try:
            return (yield from _connect(endpoint, family, address, timeout_s=timeout_s, warns=warns))
        except OSError as error:
            reasons[f"{address[0]}"] = cause_of(error)
        except NotSecured as error:
            is_insecure = True
            if str(error) not in reasons.values():  # long sentences, and true of the server rather than of an address
                reasons[f"{address[0]}"] = str(error)
    details = "; ".join(f"{address}: {reason}" for address, reason in reasons.items())
    is_one = len(set(reasons.values())) == 1
    reason = next(iter(reasons.values())) if is_one else details
    raise Unreachable(f"cannot connect to {endpoint}: {details}", reason, is_insecure=is_insecure)


def _connect(
    endpoint: Endpoint, family: socket.AddressFamily, address: Any, *, timeout_s: float, warns: bool
) -> Steps[Transport]:
    transport, waited_s = yield from _connect_tcp(family, address, timeout_s=timeout_s)
    if endpoint.security is None:
        return transport
    from logferry.client.net.connecting.handshake import secure  # late: see Endpoint.of

    def connect_again() -> Steps[Transport]:
        return (yield from _connect_tcp(family, address, timeout_s=timeout_s))[0]

    left_s = timeout_s - waited_s
    return (
        yield from secure(
            *(transport, endpoint.security, endpoint.host),
            timeout_s=left_s,
            connect_again=connect_again,
            warns=warns,
        )
    )


def _connect_tcp(family: socket.AddressFamily, address: Any, *, timeout_s: float) -> Steps[tuple[Transport, float]]:
    """Return a connection and how long that took. Raises OSError."""
    sock = socket.socket(family, socket.SOCK_STREAM)  # fails where the machine has no IPv6
    try:
        sock.setblocking(False)
        tune(sock)
        with contextlib.suppress(BlockingIOError):
            sock.connect(address)
        resumed = yield Await(sock.fileno(), WRITE, timeout_s)
        if not resumed.ready:
            raise TimeoutError(f"no answer within {in_seconds(timeout_s)}")
        if code := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(code, os.strerror(code))
    except BaseException:
        sock.close()
        raise
    return TcpTransport(sock), resumed.waited_s


def _resolve(host: str, port: int, *, timeout_s: float) -> Steps[list[tuple[socket.AddressFamily, Any]]]:
    """Return the addresses of a name. The resolver cannot be interrupted: it runs in a thread that can be abandoned."""
    try:
        return _addresses(host, port, socket.AI_NUMERICHOST)
    except socket.gaierror:
        pass
    answer: list[tuple[socket.AddressFamily, Any]] = []
    failure: list[OSError] = []
    done_here, done_there = socket.socketpair()

    def ask() -> None:
        try:
            answer.extend(_addresses(host, port, 0))
        except OSError as error:
            failure.append(error)
        finally:
            done_there.close()

    threading.Thread(target=ask, name="resolver", daemon=True).start()
    try:
        if not (yield Await(done_here.fileno(), READ, timeout_s)).ready:
            raise _unknown(host, f"no answer within {in_seconds(timeout_s)}")
    finally:
        done_here.close()
    if failure:
        raise _unknown(host, cause_of(failure[0]))
    return answer


def _unknown(host: str, reason: str) -> Unreachable:
    return Unreachable(f"cannot look up {host}: {reason}", reason)


def _addresses(host: str, port: int, flags: int) -> list[tuple[socket.AddressFamily, Any]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    except UnicodeError:  # `a..b`, or a label of more than 63 letters
        raise socket.gaierror(socket.EAI_NONAME, "not a host name") from None
    return [(family, address) for family, _, _, _, address in found]
