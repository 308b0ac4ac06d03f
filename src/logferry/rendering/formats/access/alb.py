"""The alb format: access logs of Application Load Balancers of AWS (docs/protocol.md, rule F51).

    https 2024-01-15T08:23:45.123456Z app/shop/50dc6c495c0c9188 192.0.2.7:2817 10.0.0.1:80 0.086 0.048 0.037 200 200
        0 57 "GET https://shop.example:443/ HTTP/1.1" "curl/8.5" <cipher> TLSv1.2 <target group> "<trace>" ...

The message is the request; durations are in seconds, as written. Whatever later versions add is kept in `rest`.
"""

from typing import Final

from logferry.rendering.engine.fields import if_given, number_or_null, text, text_or_null
from logferry.rendering.engine.line_format import LineFormat, exact_kind
from logferry.rendering.engine.timestamps import RFC_3339
from logferry.rendering.formats.access.elb import CONNECTION, CONNECTION_FIELDS
from logferry.rendering.formats.access.parts import ACCESS, NUMBER, WORD, quoted

_TYPES: Final = "https?+|h2|grpcs?+|wss?+"
_WORDS: Final = ("ssl_cipher", "ssl_protocol", "target_group_arn")
_ACTIONS: Final = ("actions_executed", "redirect_url", "error_reason")
_TARGETS: Final = ("target_list", "target_status_list", "classification", "classification_reason")

_LINE: Final = (
    rf"(?P<type>{_TYPES}) (?P<timestamp>{RFC_3339}) (?P<elb>{WORD}) {CONNECTION} {quoted('user_agent')}"
    + "".join(f" (?P<{key}>{WORD})" for key in _WORDS)
    + rf" {quoted('trace_id')}"
    rf"(?: {quoted('domain_name')} {quoted('chosen_cert_arn')} (?P<matched_rule_priority>{NUMBER})"
    rf" (?P<request_creation_time>{RFC_3339}|-)"
    + "".join(f" {quoted(key)}" for key in _ACTIONS)
    + f"(?:{''.join(f' {quoted(key)}' for key in _TARGETS)})?+)?+"
    r"(?: (?P<rest>.++))?+"
)

ALB: Final = LineFormat(
    "alb",
    [
        exact_kind(
            _LINE,
            [
                *(*ACCESS, text("type"), text("elb"), *CONNECTION_FIELDS),
                *map(text_or_null, ("user_agent", *_WORDS, "trace_id", "domain_name", "chosen_cert_arn")),
                number_or_null("matched_rule_priority"),
                *map(text_or_null, ("request_creation_time", *_ACTIONS, *_TARGETS)),
                if_given("rest"),
            ],
        )
    ],
)
