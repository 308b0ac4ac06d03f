"""What reaches the log is one safe line a message, whatever a caller put into it."""

import io
import logging

import pytest

from logferry.telemetry.log_format import SafeFormatter


def logged(message: str, *values: object, encoding: str = "utf-8", exc_info: BaseException | None = None) -> str:
    """Return the text of a record, formatted as the command line does."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(SafeFormatter("%(levelname)s %(message)s", encoding=encoding))
    handler.handle(logging.LogRecord("x", logging.ERROR, "x.py", 1, message, values, None))
    if exc_info is not None:
        record = logging.LogRecord("x", logging.ERROR, "x.py", 1, message, values, None)
        record.exc_info = (type(exc_info), exc_info, exc_info.__traceback__)
        stream.seek(0)
        stream.truncate()
        handler.handle(record)
    return stream.getvalue()


def test_a_usual_message_is_unchanged() -> None:
    assert logged("cannot read %s", "/var/log/Prüfung.log") == "ERROR cannot read /var/log/Prüfung.log\n"


@pytest.mark.parametrize("name", ["a\n2024-01-15 08:23:45 ERROR forged", "\x1b[2J", "\u202egol", "\udcff", "\x85"])
def test_no_name_can_forge_a_line_or_drive_a_terminal(name: str) -> None:
    text = logged("cannot read %s", name)
    assert text.count("\n") == 1
    assert text.rstrip("\n").isprintable()


def test_what_the_log_cannot_encode_is_escaped() -> None:
    assert logged("é日", encoding="latin-1") == "ERROR é\\u65e5\n"


def test_a_traceback_keeps_its_lines_but_none_of_them_passes_for_a_message() -> None:
    try:
        raise ValueError("a\n2024-01-15 08:23:45 ERROR forged\x1b[2J")
    except ValueError as error:
        lines = logged("it failed", exc_info=error).splitlines()
    assert lines[0] == "ERROR it failed"
    assert len(lines) > 3
    assert all(line.startswith("    ") and line.isprintable() for line in lines[1:])
