"""What reaches the log is one safe line a message, whatever a caller put into it."""

import datetime
import io
import json
import logging
from typing import Any

import pytest

from logferry.telemetry.log_format import MAX_LINE_CHARS, JsonFormatter, SafeFormatter, json_line


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


def logged_as_json(message: str, *values: object, **more: Any) -> dict[str, Any]:
    """Return the object of a record; it must be one line of ASCII without control characters."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger = logging.Logger("logferry.test")
    logger.addHandler(handler)
    logger.error(message, *values, **more)
    line = stream.getvalue()
    assert line.endswith("\n")
    assert line[:-1].isascii()
    assert line[:-1].isprintable()
    entry: dict[str, Any] = json.loads(line)
    return entry


def test_a_record_is_an_object_with_time_level_event_and_fields() -> None:
    before = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=1)
    entry = logged_as_json("cannot read %s: %d of %.1f", "/var/log/Prüfung.log", 3, 4.5)
    assert list(entry) == ["time", "level", "event", "fields"]
    time = datetime.datetime.fromisoformat(entry["time"])
    assert time.utcoffset() == datetime.timedelta(0)
    assert before < time < before + datetime.timedelta(seconds=60)
    assert entry["level"] == "error"
    assert entry["event"] == "cannot read /var/log/Prüfung.log: 3 of 4.5"
    fields = entry["fields"]
    assert fields["logger"] == "logferry.test"
    assert fields["message"] == "cannot read %s: %d of %.1f"
    assert fields["values"] == ["/var/log/Prüfung.log", 3, 4.5]


def test_what_a_caller_adds_is_a_field() -> None:
    extra = {"path": "/a\n\x1b", "lines": 5, "rate": float("inf"), "big": 10**5000}
    fields = logged_as_json("x", extra=extra)["fields"]
    assert fields["path"] == "/a\\n\\x1b"
    assert fields["lines"] == 5
    assert fields["rate"] == "inf"
    assert fields["big"].startswith("0x")
    assert logged_as_json("%(a)s", {"a": "\udcff"})["fields"]["values"] == {"a": "\\xff"}


@pytest.mark.parametrize("name", ['a\n{"level": "forged"}', "\x1b[2J", "\u202egol", "\udcff", "\x85", "\x7f"])
def test_no_name_can_forge_an_object_or_break_one(name: str) -> None:
    entry = logged_as_json("cannot read %s", name)
    assert entry["event"].isprintable()
    assert entry["level"] == "error"


def test_a_traceback_is_inside_the_object() -> None:
    try:
        raise ValueError("a\nb\x1b")
    except ValueError:
        entry = logged_as_json("a fault", exc_info=True, stack_info=True)
    assert entry["traceback"].splitlines()[0] == "Traceback (most recent call last):"
    assert entry["traceback"].splitlines()[-1] == "b\\x1b"
    assert "Stack (most recent call last)" in entry["stack"]


def test_an_object_has_a_bound() -> None:
    assert len(logged_as_json("%s", "x" * 1_000_000)["event"]) == MAX_LINE_CHARS


def test_what_stands_beside_the_log_has_the_same_form() -> None:
    entry = json.loads(json_line(0.0, "INFO", "logferry: listening on ::1 port 9000"))
    assert entry == {
        "time": "1970-01-01T00:00:00.000+00:00",
        "level": "info",
        "event": "logferry: listening on ::1 port 9000",
        "fields": {},
    }
