"""The auditd format: the records of the Linux audit system (docs/protocol.md, rule F46).

    type=USER_LOGIN msg=audit(1772622733.415:4063): user pid=8 uid=0 msg='op=login acct="bob" res=failed'

A record has no level. Its fields may repeat a key, so they stay together in the message, unchanged.
"""

from typing import Final

from logferry.rendering.engine.fields import if_given, of_each, text
from logferry.rendering.engine.levels import UNKNOWN
from logferry.rendering.engine.line_format import LineFormat, ending_with_message

# The program separates its own fields, and what it has resolved (`UID="root"`), with the control character 0x1d.
_BEGINNING: Final = (
    r"(?:node=(?P<node>[!#-\[\]-~]++) )?+type=(?P<type>[0-9A-Z_]++|UNKNOWN\[[0-9]++\])"
    r" msg=audit\((?P<timestamp>[0-9]++\.[0-9]++):(?P<serial>[0-9]++)\):(?: |(?!.))"
)

AUDITD: Final = LineFormat(
    "auditd",
    [
        ending_with_message(
            _BEGINNING,
            [
                of_each("level", "", lambda _: UNKNOWN),
                text("message"),
                *map(text, ("timestamp", "type", "serial")),
                if_given("node"),
            ],
        )
    ],
)
