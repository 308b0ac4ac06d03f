"""Formats log records: each message becomes one safe line, whatever its caller put into it.

The last guard before a terminal or a log file. Callers make names and reasons printable themselves where they limit
or quote them; this module escapes what they forget. A traceback keeps its lines, indented, so that no text in it can be
mistaken for a message.
"""

import logging
from typing import Any, Final

from logferry.printable import printable

LOG_FORMAT: Final = "%(asctime)s %(levelname)s %(message)s"

# The longest path, with every byte escaped, and a sentence around it.
MAX_LINE_CHARS: Final = 20_000

_INDENT: Final = "    "


class SafeFormatter(logging.Formatter):
    """Formats a record as one line that the encoding of the log can encode, and tracebacks as indented lines."""

    def __init__(self, text_format: str = LOG_FORMAT, *, encoding: str = "utf-8") -> None:
        super().__init__(text_format)
        self._encoding = encoding

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # `logging` chose the name
        """Return the line."""
        return printable(super().formatMessage(record), max_chars=MAX_LINE_CHARS, encoding=self._encoding)

    def formatException(self, ei: Any) -> str:  # noqa: N802
        """Return the traceback."""
        return self._indented(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802
        """Return the stack of a record that requests it."""
        return self._indented(super().formatStack(stack_info))

    def _indented(self, text: str) -> str:
        return "\n".join(f"{_INDENT}{printable(line, encoding=self._encoding)}" for line in text.splitlines())
