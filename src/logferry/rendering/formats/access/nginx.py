"""The nginx format: access logs, and the error log (docs/protocol.md, rules F23 to F25, F45).

2024/01/15 08:23:45 [error] 4711#0: *1 message
"""

from typing import Final

from logferry.rendering.engine.line_format import LineFormat
from logferry.rendering.engine.timestamps import DATE_WITH_SLASHES, TIME_OF_DAY
from logferry.rendering.formats.access.combined import ACCESS_LOG, VIRTUAL_HOST_LOG
from logferry.rendering.formats.access.error_log import error_log

ERROR_LOG: Final = error_log(
    rf"(?P<timestamp>{DATE_WITH_SLASHES} {TIME_OF_DAY}) \[(?P<word>[a-z]++)\]"
    r" (?P<pid>[0-9]++)#(?P<tid>[0-9]++): (?:\*(?P<connection>[0-9]++) )?+",
    "pid",
    "tid",
    "connection",
)

NGINX: Final = LineFormat("nginx", [ACCESS_LOG, VIRTUAL_HOST_LOG, ERROR_LOG], compiled_as="render_access")
