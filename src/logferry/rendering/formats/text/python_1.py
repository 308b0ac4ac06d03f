"""The python format by rules 1: it reads lines of other kinds as the plain format did by rules 1."""

from typing import Final

from logferry.rendering.formats.text.plain_1 import PLAIN
from logferry.rendering.formats.text.python_logging import python_format

PYTHON: Final = python_format(PLAIN)
