"""The nginx format by rules 1: without lines that begin with the name of a virtual host."""

from typing import Final

from logferry.rendering.engine.line_format import LineFormat
from logferry.rendering.formats.access.combined import ACCESS_LOG
from logferry.rendering.formats.access.nginx import ERROR_LOG

NGINX: Final = LineFormat("nginx", [ACCESS_LOG, ERROR_LOG], compiled_as="render_access")
