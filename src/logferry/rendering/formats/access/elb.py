"""The elb format: access logs of Classic Load Balancers of AWS (docs/protocol.md, rule F51).

    2024-01-15T08:23:45.945958Z shop-lb 192.0.2.7:2817 10.0.0.1:80 0.000073 0.001048 0.000057 200 200 0 29
        "GET http://shop.example:80/ HTTP/1.1" "curl/8.5" - -                                       (one line)

The message is the request; durations are in seconds, as written. Without a listener for HTTP, status and request are
dashes.
"""

from typing import Final

from logferry.rendering.engine.fields import decimal_or_null, if_given, number_or_null, text, text_or_null
from logferry.rendering.engine.line_format import LineFormat, exact_kind
from logferry.rendering.engine.timestamps import RFC_3339
from logferry.rendering.formats.access.parts import (
    ACCESS,
    CLIENT,
    CLIENT_FIELDS,
    DECIMAL,
    NUMBER,
    REQUEST,
    REQUEST_FIELDS,
    STATUS,
    WORD,
    quoted,
    words,
)

_SECONDS: Final = ("request_processing_time", "target_processing_time", "response_processing_time")
_TLS: Final = ("ssl_cipher", "ssl_protocol")

# From the client to the request: the same in all generations of load balancers.
CONNECTION: Final = (
    rf"{CLIENT} (?P<target>{WORD})"
    + "".join(f" (?P<{key}>{DECIMAL})" for key in _SECONDS)
    + rf" (?P<status>[1-9][0-9]{{2}}|0|-) (?P<target_status>[1-9][0-9]{{2}}|0|-)"
    rf" (?P<bytes_received>{NUMBER}) (?P<bytes>{NUMBER}) {REQUEST}"
)
CONNECTION_FIELDS: Final = (
    *(*CLIENT_FIELDS, *REQUEST_FIELDS, STATUS, number_or_null("bytes"), number_or_null("bytes_received")),
    *(text_or_null("target"), number_or_null("target_status")),
    *map(decimal_or_null, _SECONDS),
)

_CLASSIC: Final = (
    rf"(?P<timestamp>{RFC_3339}) (?P<elb>{WORD}) {CONNECTION}"
    rf"(?: {quoted('user_agent')}{words(_TLS)}(?: (?P<rest>.++))?+)?+"
)

ELB: Final = LineFormat(
    "elb",
    [
        exact_kind(
            _CLASSIC,
            [*ACCESS, text("elb"), *CONNECTION_FIELDS, *map(text_or_null, ("user_agent", *_TLS)), if_given("rest")],
        )
    ],
)
