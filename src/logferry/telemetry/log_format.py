"""Formats log records: each message becomes one safe line of text or JSON, whatever its caller put into it.

The last guard before a terminal or a log file. Callers make names and reasons printable themselves where they limit
or quote them; this module escapes what they forget. A traceback keeps its lines, indented, so that no text in it can be
mistaken for a message.
"""

import datetime
import json
import logging
import math
from typing import Any, Final

from logferry.printable import printable

LOG_FORMAT: Final = "%(asctime)s %(levelname)s %(message)s"

# The longest path, with every byte escaped, and a sentence around it.
MAX_LINE_CHARS: Final = 20_000

_INDENT: Final = "    "

# What a record has anyway; whatever else a caller gives it with `extra` is a field.
_USUAL: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
_MAX_FIELDS: Final = 50
_LARGEST: Final = 1 << 64


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


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object on one line, in ASCII.

    `time` is in UTC with its zone, `level` one of debug, info, warning, error and critical, `event` the message.
    `fields` has the logger, the thread, the process, the message before its values were put in with these values, and
    what the caller gave as `extra`. A traceback is the text of the key `traceback`.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the object."""
        entry: dict[str, object] = {**_head(record.created, record.levelname), "event": _shown(record.getMessage())}
        entry["fields"] = _fields(record)
        if record.exc_info:
            entry["traceback"] = _traceback(self.formatException(record.exc_info))
        if record.stack_info:
            entry["stack"] = _traceback(self.formatStack(record.stack_info))
        return _encoded(entry)


def json_line(created: float, level: str, event: str) -> str:
    """Return a line for what is not logged and stands beside the log, such as the summary of a run."""
    return _encoded({**_head(created, level), "event": _shown(event), "fields": {}})


def _head(created: float, level: str) -> dict[str, object]:
    time = datetime.datetime.fromtimestamp(created, datetime.UTC).isoformat(timespec="milliseconds")
    return {"time": time, "level": level.lower()}


def _fields(record: logging.LogRecord) -> dict[str, object]:
    fields: dict[str, object] = {"logger": record.name, "thread": record.threadName, "process": record.process}
    if record.args:
        fields["message"] = _shown(str(record.msg))
        fields["values"] = _values(record.args)
    extra = [(name, value) for name, value in vars(record).items() if name not in _USUAL]
    return fields | {_shown(name): _plain(value) for name, value in extra[:_MAX_FIELDS]}


def _values(values: Any) -> object:
    if isinstance(values, dict):
        return {_shown(str(name)): _plain(value) for name, value in list(values.items())[:_MAX_FIELDS]}
    return [_plain(value) for value in values[:_MAX_FIELDS]]


def _plain(value: object) -> object:
    """Return a value as JSON has it: numbers and booleans as they are, everything else as safe text."""
    if value is None or type(value) is bool:
        return value
    if type(value) is int:  # Python refuses to write very large ones as decimals
        return value if -_LARGEST < value < _LARGEST else hex(value)[:MAX_LINE_CHARS]
    if type(value) is float and math.isfinite(value):
        return value
    return _shown(str(value))


def _shown(text: str) -> str:
    return printable(text, max_chars=MAX_LINE_CHARS)


def _traceback(text: str) -> str:
    return "\n".join(printable(line, max_chars=MAX_LINE_CHARS) for line in text.splitlines())


def _encoded(entry: dict[str, object]) -> str:
    return json.dumps(entry, allow_nan=False).replace("\x7f", "\\u007f")
