"""The envoy format: Envoy's default access log, also as Istio extends it (docs/protocol.md, rule F51).

    [2024-01-15T08:23:45.123Z] "GET / HTTP/1.1" 200 - 0 57 3 2 "-" "curl/8.5" "<id>" "shop.example" "10.0.0.1:80"
    [2024-01-15T08:23:45.123Z] "GET / HTTP/1.1" 200 - via_upstream - "-" 0 57 3 2 "-" ...        Istio

The message is the request. Durations are in milliseconds. Any other line is read as plain: the program's own log.
"""

from typing import Final

from logferry.rendering.engine.fields import if_given, number_or_null, text_or_null
from logferry.rendering.engine.line_format import LineFormat, exact_kind
from logferry.rendering.engine.timestamps import RFC_3339
from logferry.rendering.formats.access.parts import ACCESS, NUMBER, REQUEST, REQUEST_FIELDS, STATUS, WORD, quoted
from logferry.rendering.formats.text.plain import PLAIN

_NUMBERS: Final = ("bytes_received", "bytes", "duration", "upstream_service_time")
_TEXTS: Final = ("forwarded_for", "user_agent", "request_id", "authority", "upstream_host")
_DETAILS: Final = ("response_code_details", "connection_termination_details", "upstream_transport_failure_reason")

_LINE: Final = (
    rf"\[(?P<timestamp>{RFC_3339})\] {REQUEST} (?P<status>0|[1-9][0-9]{{2}}) (?P<response_flags>{WORD})"
    rf"(?: (?P<{_DETAILS[0]}>{WORD}) (?P<{_DETAILS[1]}>{WORD}) {quoted(_DETAILS[2])})?+"
    + "".join(f" (?P<{key}>{NUMBER})" for key in _NUMBERS)
    + "".join(f" {quoted(key)}" for key in _TEXTS)
    + r"(?: (?P<rest>.++))?+"
)

ENVOY: Final = LineFormat(
    "envoy",
    [
        exact_kind(
            _LINE,
            [
                *(*ACCESS, *REQUEST_FIELDS, STATUS, text_or_null("response_flags")),
                *map(if_given, _DETAILS),
                *map(number_or_null, _NUMBERS),
                *map(text_or_null, _TEXTS),
                if_given("rest"),
            ],
        )
    ],
    otherwise=PLAIN,
)
