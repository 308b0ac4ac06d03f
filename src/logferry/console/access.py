"""Who may ask: the Host of a request, where a page that asks comes from, and the token. And what each answer says to
browsers.

Owns the headers of security, and how wrong tokens are slowed down. Every request comes through here, before anything
looks at its path. Must never log or quote a token.
"""

import hmac
import logging
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from logferry.addresses import ip_of, is_loopback
from logferry.console.api.answers import problem
from logferry.errors import ConfigError, cause_of
from logferry.permissions import is_open_to_others
from logferry.printable import quoted
from logferry.small_files import NotAFile, read_small_file
from logferry.telemetry.log_limits import RateLimit

logger = logging.getLogger(__name__)

MIN_TOKEN_CHARS: Final = 16
_MAX_TOKEN_CHARS: Final = 1000
_MAX_TOKEN_FILE_BYTES: Final = 4096

# An address that has sent more wrong tokens in a minute gets 429 for further ones; a right one is always taken.
_WRONG_PER_MINUTE: Final = 10
_MAX_ADDRESSES: Final = 1000

API: Final = "/api/"

_CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS: Final = tuple(
    (name.encode(), value.encode())
    for name, value in {
        "content-security-policy": _CSP,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "permissions-policy": "camera=(), geolocation=(), microphone=()",
        "x-frame-options": "DENY",
    }.items()
)

_HOST: Final = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::[0-9]{1,5})?", re.ASCII)


def read_token(path: Path) -> str:
    """Return the token in a file. Raises ConfigError."""
    where = f"--token-file {quoted(str(path))}"
    try:
        token = read_small_file(path, most=_MAX_TOKEN_FILE_BYTES).decode("ascii").strip()
    except (NotAFile, UnicodeDecodeError, ValueError) as error:
        reason = "it is not ASCII" if isinstance(error, UnicodeDecodeError) else error
        raise ConfigError([f"{where}: {reason}"]) from None
    except OSError as error:
        raise ConfigError([f"{where}: cannot be read: {cause_of(error)}"]) from None
    if not MIN_TOKEN_CHARS <= len(token) <= _MAX_TOKEN_CHARS or not token.isprintable() or " " in token:
        raise ConfigError(
            [
                f"{where}: it must hold one token of at least {MIN_TOKEN_CHARS} characters without spaces; "
                "`logferry token new --name console --token-file FILE` makes one"
            ]
        )
    if is_open_to_others(path):
        logger.warning("other users may open %s, which holds a token: chmod o-rwx", quoted(str(path)))
    return token


class Hosts:
    """Which Host headers are answered: another name may be one that an attacker's DNS has pointed here."""

    def __init__(self, listens_on: str, names: Sequence[str] = ()) -> None:
        """A loopback listener answers to loopback addresses, others to any address; both to `localhost` and the
        `names`."""
        self._only_loopback = is_loopback(listens_on) or listens_on.lower() == "localhost"
        self._names = {name.lower().rstrip(".") for name in (*names, "localhost")}

    def allow(self, host: str) -> bool:
        """Whether requests for this Host are answered."""
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = (match["ipv6"] or match["name"]).lower().rstrip(".")
        if name in self._names:
            return True
        return is_loopback(name) if self._only_loopback else ip_of(name) is not None


class WrongTokens:
    """How many wrong tokens each address has sent lately."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._counts: OrderedDict[str, tuple[float, int]] = OrderedDict()  # since when, how many; by address
        self._log = RateLimit(logger, per_second=1, what="wrong tokens")

    def note(self, address: str) -> bool:
        """Count a wrong token; return whether the address has sent too many."""
        now = self._clock()
        since, count = self._counts.pop(address, (now, 0))
        since, count = (now, 1) if now - since > 60 else (since, count + 1)
        self._counts[address] = since, count
        if len(self._counts) > _MAX_ADDRESSES:
            self._counts.popitem(last=False)
        self._log.log(logging.WARNING, "%s has sent a wrong token", address)
        return count > _WRONG_PER_MINUTE


class Access:
    """Lets requests through that may be answered, and adds the headers of security to every answer."""

    def __init__(self, app: ASGIApp, *, hosts: Hosts, token: str | None) -> None:
        self._app = app
        self._hosts = hosts
        self._token = token.encode() if token is not None else None
        self._wrong = WrongTokens()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            return
        is_api = scope["path"].startswith(API)

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", ()), *_HEADERS]
                if is_api:
                    headers.append((b"cache-control", b"no-store"))
                message = {**message, "headers": headers}
            await send(message)

        await (self._refusal(scope, is_api=is_api) or self._app)(scope, receive, send_guarded)

    def _refusal(self, scope: Scope, *, is_api: bool) -> ASGIApp | None:
        """Return the answer to a request that may not be answered otherwise; None for the others."""
        headers = _headers_of(scope)
        hosts = headers.get(b"host", ())
        if len(hosts) != 1 or not self._hosts.allow(hosts[0].decode("latin-1")):
            return problem(421, "host", "this console does not answer to this Host; --host-name allows further names")
        if scope["method"] not in ("GET", "HEAD"):
            return problem(405, "method", "the console only reads: use GET", {"allow": "GET, HEAD"})
        if not is_api:
            return None
        if _is_of_another_site(headers, hosts[0]):
            return problem(403, "origin", "another site's page asks: open the console by itself")
        return self._judge_token(scope, headers)

    def _judge_token(self, scope: Scope, headers: Mapping[bytes, Sequence[bytes]]) -> ASGIApp | None:
        if self._token is None:
            return None
        given = headers.get(b"authorization", ())
        if not given:
            return problem(
                401, "token", "a token is needed: Authorization: Bearer TOKEN", {"www-authenticate": "Bearer"}
            )
        scheme, _, token = given[0].partition(b" ")
        is_right = hmac.compare_digest(token.strip(), self._token)
        if len(given) == 1 and scheme.lower() == b"bearer" and is_right:
            return None
        address = str((scope.get("client") or ("unknown", 0))[0])
        if self._wrong.note(address):
            return problem(429, "token", "too many wrong tokens: wait for a minute", {"retry-after": "60"})
        return problem(401, "token", "the token is wrong", {"www-authenticate": "Bearer"})


def _is_of_another_site(headers: Mapping[bytes, Sequence[bytes]], host: bytes) -> bool:
    """Whether a page of another site asks. Browsers say so in either header; old ones know only the second."""
    sites, origins = headers.get(b"sec-fetch-site", ()), headers.get(b"origin", ())
    own = (b"http://" + host, b"https://" + host)
    return any(site not in (b"same-origin", b"none") for site in sites) or any(origin not in own for origin in origins)


def _headers_of(scope: Scope) -> dict[bytes, list[bytes]]:
    found: dict[bytes, list[bytes]] = {}
    for name, value in scope["headers"]:
        found.setdefault(name.lower(), []).append(value)
    return found
