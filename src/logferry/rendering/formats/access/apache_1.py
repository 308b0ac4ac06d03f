"""The apache format by rules 1: access logs, and the error log (docs/protocol.md, rules F23 to F25).

[Mon Jan 15 08:23:45.123456 2024] [core:error] [pid 4711:tid 7] [client 192.0.2.7:5] message
"""

from typing import Final

from logferry.rendering.engine.line_format import LineFormat
from logferry.rendering.formats.access.combined import ACCESS_LOG
from logferry.rendering.formats.access.error_log import error_log

_ERROR_LOG: Final = error_log(
    r"\[(?P<timestamp>[A-Z][a-z]{2} [A-Z][a-z]{2} [ 0-3][0-9] [0-9:.]++ [0-9]{4})\]"
    r" \[(?:(?P<module>[0-9A-Za-z_-]++):)?+(?P<word>[a-z]++[0-9]?+)\]"
    r" (?:\[pid (?P<pid>[0-9]++)(?::tid (?P<tid>[0-9]++))?+\] )?+(?:\[client (?P<client>[0-9A-Za-z.:_-]++)\] )?+",
    "module",
    "pid",
    "tid",
    "client",
)

APACHE: Final = LineFormat("apache", [ACCESS_LOG, _ERROR_LOG], compiled_as="render_access")
