"""The haproxy format: HAProxy's logs of requests and of connections (docs/protocol.md, rule F52).

    192.0.2.7:3331 [15/Jan/2024:08:23:45.123] web shop/s1 1/0/3/6/10 200 27 - - ---- 1/1/1/1/0 0/0 "GET / HTTP/1.1"
    192.0.2.7:3331 [15/Jan/2024:08:23:45.123] db pool/s1 0/0/5007 212 -- 0/0/0/0/3 0/0          (option tcplog)
    192.0.2.7:3331 [15/Jan/2024:08:23:45.123] web/1: SSL handshake failure
    [WARNING]  (8) : Server shop/s1 is DOWN                                                     (standard error)

The first three may come after the header of a syslog daemon; then its time is the field `time`. The message is the
request, or what is behind the header. Timers are in milliseconds. Any other line is read as syslog.
"""

from typing import Final

from logferry.rendering.engine.fields import (
    Field,
    flag,
    if_given,
    level,
    number_or_null,
    of_each,
    text,
    text_or_null,
)
from logferry.rendering.engine.levels import SEVERITIES, UNKNOWN
from logferry.rendering.engine.line_format import LineFormat, LineKind, exact_kind
from logferry.rendering.engine.timestamps import RFC_3164, RFC_3339, TIME_OF_DAY
from logferry.rendering.formats.access.parts import (
    CLIENT,
    CLIENT_FIELDS,
    LEVEL_OF_STATUS,
    NUMBER,
    REQUEST,
    REQUEST_FIELDS,
    STATUS,
    WORD,
)
from logferry.rendering.formats.text.syslog import SYSLOG

# RFC 3164 with or without a host (HAProxy sends none), or RFC 5424. No word has a bracket, so a tag is not a host.
_NAME: Final = r"[!#-Z^-~]++"
_HEADER: Final = (
    rf"(?:(?:<(?P<priority>[0-9]{{1,2}}|1[0-8][0-9]|19[01])>(?:1 )?+)?+(?P<time>{RFC_3164}|{RFC_3339}) "
    rf"(?:(?P<host>{_NAME}) )?+(?P<app>[!#-9;-Z^-~]++)(?:[\[ ](?P<pid>[0-9]++))?+(?:\]?+:| - -) )?+"
)
_ACCEPTED: Final = rf"{CLIENT} \[(?P<timestamp>[0-9]{{2}}/[A-Z][a-z]{{2}}/[0-9]{{4}}:{TIME_OF_DAY}(?:\.[0-9]{{3}})?+)\]"
_PROXIES: Final = rf" (?P<frontend>{WORD}) (?P<backend>[^\x00-\x20\x22/\\]++)/(?P<server>{WORD})"
_CONNECTIONS: Final = ("actconn", "feconn", "beconn", "srvconn")
_TAIL: Final = (
    f" {'/'.join(f'(?P<{key}>{NUMBER})' for key in _CONNECTIONS)}/(?P<redispatched>[+])?+(?P<retries>{NUMBER})"
    f" (?P<srv_queue>{NUMBER})/(?P<backend_queue>{NUMBER})"
)
_HTTP_TIMERS: Final = ("time_request", "time_queue", "time_connect", "time_response")
_TCP_TIMERS: Final = ("time_queue", "time_connect")
_CAPTURED: Final = r"\{[^\x00-\x1f\x22\\}]*+\}"


def _timers(keys: tuple[str, ...]) -> str:
    """Return the pattern of timers. A plus shows that the line was written before the end (`option logasap`)."""
    return f" {'/'.join(f'(?P<{key}>{NUMBER})' for key in keys)}/(?P<logasap>[+])?+(?P<time_total>{NUMBER})"


_HTTP: Final = (
    rf"{_ACCEPTED}{_PROXIES}{_timers(_HTTP_TIMERS)} (?P<status>-1|[1-9][0-9]{{2}}) [+]?+(?P<bytes>{NUMBER})"
    rf" (?P<request_cookie>{WORD}) (?P<response_cookie>{WORD}) (?P<termination_state>[0-9A-Za-z-]{{4}}){_TAIL}"
    rf"(?: (?P<captured_headers>{_CAPTURED}(?: {_CAPTURED})?+))?+ {REQUEST}(?: (?P<rest>.++))?+"
)
_TCP: Final = (
    rf"(?P<message>{_ACCEPTED}{_PROXIES}{_timers(_TCP_TIMERS)} [+]?+(?P<bytes>{NUMBER})"
    rf" (?P<termination_state>[0-9A-Za-z-]{{2}}){_TAIL}(?: (?P<rest>.++))?+)"
)
_ERROR: Final = (
    rf"{_ACCEPTED} (?P<frontend>[^\x00-\x20\x22/\\]++)/(?P<listener>[^\x00-\x20\x22:\\]++): (?P<message>.++)"
)
_OWN: Final = (
    r"\[(?P<word>EMERG|ALERT|CRIT|ERROR|WARNING|NOTICE|INFO|DEBUG)\] ++(?:(?P<timestamp>[0-9]{3}/[0-9]{6}) )?+"
    r"\((?P<pid>[0-9]++)\) : (?P<message>.*+)"
)

_HEADER_FIELDS: Final = tuple(map(if_given, ("time", "host", "app", "pid", "priority")))
_COMMON_TAIL: Final[tuple[Field, ...]] = (
    *map(number_or_null, (*_CONNECTIONS, "retries", "srv_queue", "backend_queue")),
    flag("redispatched"),
    flag("logasap"),
)


def _kind(line: str, beginning: list[Field], *fields: Field) -> LineKind:
    return exact_kind(_HEADER + line, [*beginning, text("timestamp"), *CLIENT_FIELDS, *fields, *_HEADER_FIELDS])


def _level_or(otherwise: str) -> Field:
    """Return the level of the priority; `otherwise` if there is none."""
    return of_each("level", "priority", lambda number: SEVERITIES[int(number) % 8] if number else otherwise)


class HaproxyFormat(LineFormat):
    """Lines of HAProxy."""

    def recognises(self, text: str) -> bool:
        """See Format: whatever HAProxy sends to a syslog daemon."""
        return super().recognises(text) or str(SYSLOG.fields_of(text).get("app")).startswith(("haproxy", "hapee"))


HAPROXY: Final = HaproxyFormat(
    "haproxy",
    [
        _kind(
            _HTTP,
            [LEVEL_OF_STATUS, text("message", "request")],
            *(*REQUEST_FIELDS, STATUS, number_or_null("bytes"), *map(text, ("frontend", "backend", "server"))),
            *map(number_or_null, (*_HTTP_TIMERS, "time_total")),
            *(text_or_null("request_cookie"), text_or_null("response_cookie"), text("termination_state")),
            *(*_COMMON_TAIL, if_given("captured_headers"), if_given("rest")),
        ),
        _kind(
            _TCP,
            [_level_or("INFO"), text("message")],
            *(number_or_null("bytes"), *map(text, ("frontend", "backend", "server"))),
            *map(number_or_null, (*_TCP_TIMERS, "time_total")),
            *(text("termination_state"), *_COMMON_TAIL, if_given("rest")),
        ),
        _kind(_ERROR, [_level_or(UNKNOWN), text("message")], text("frontend"), text("listener")),
        exact_kind(_OWN, [level("word"), text("message"), text_or_null("timestamp", nil=""), text("pid")]),
    ],
    otherwise=SYSLOG,
)
