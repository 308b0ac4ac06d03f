"""The traefik format: Traefik's access log, the common log format with more behind (docs/protocol.md, rule F51).

    192.0.2.7 - - [15/Jan/2024:08:23:45 +0000] "GET / HTTP/1.1" 200 612 "-" "curl/8.5" 17 "web@docker"
        "http://10.0.0.1:80" 3ms                                                                    (one line)

The message is the request. Any other line is read as plain: the program's own log.
"""

from typing import Final

from logferry.rendering.engine.fields import if_given, number_or_null, text_or_null
from logferry.rendering.engine.line_format import LineFormat, exact_kind
from logferry.rendering.formats.access.parts import ACCESS, NUMBER, REQUEST, REQUEST_FIELDS, STATUS, WORD, quoted
from logferry.rendering.formats.text.plain import PLAIN

_LINE: Final = (
    rf"(?P<remote_addr>{WORD}) - (?P<user>{WORD}) \[(?P<timestamp>[0-9A-Za-z/:]++ [+-][0-9]{{4}})\] {REQUEST}"
    rf" (?P<status>[1-9][0-9]{{2}}|0|-) (?P<bytes>{NUMBER}) {quoted('referer')} {quoted('user_agent')}"
    rf" (?P<request_count>{NUMBER}) {quoted('router')} {quoted('server_url')} (?P<duration>0|[1-9][0-9]{{0,17}})ms"
    r"(?: (?P<rest>.++))?+"
)

TRAEFIK: Final = LineFormat(
    "traefik",
    [
        exact_kind(
            _LINE,
            [
                *(*ACCESS, text_or_null("remote_addr"), text_or_null("user"), *REQUEST_FIELDS, STATUS),
                *(number_or_null("bytes"), text_or_null("referer"), text_or_null("user_agent")),
                *(number_or_null("request_count"), text_or_null("router"), text_or_null("server_url")),
                *(number_or_null("duration"), if_given("rest")),
            ],
        )
    ],
    otherwise=PLAIN,
)
