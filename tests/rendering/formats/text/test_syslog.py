"""The syslog format, case by case (docs/protocol.md)."""

import pytest

from tests.support.formats import check_sample, record, records, unknown

FROM_FILE = "Jan 15 08:23:45 web-1 sshd[4711]: "


@pytest.mark.parametrize("sample", ["syslog-file", "syslog-network"])
def test_a_sample_becomes_its_expected_records(sample: str) -> None:
    """Rule F20."""
    check_sample("syslog", sample)


def test_a_line_of_a_syslog_file_is_split_into_fields() -> None:
    """Rule F20."""
    assert record("syslog", f"{FROM_FILE}Accepted publickey for frank") == {
        "level": "UNKNOWN",
        "message": "Accepted publickey for frank",
        "timestamp": "Jan 15 08:23:45",
        "facility": None,
        "host": "web-1",
        "app": "sshd",
        "pid": "4711",
    }


@pytest.mark.parametrize(
    "timestamp",
    ["Jan 15 08:23:45", "Jan  5 08:23:45", "2024-01-15T08:23:45Z", "2024-01-15T08:23:45.123456+01:00"],
)
@pytest.mark.parametrize("priority", ["", "<38>"])
def test_a_timestamp_is_kept_as_written(priority: str, timestamp: str) -> None:
    """Rule F20."""
    found = record("syslog", f"{priority}{timestamp} web-1 sshd[4711]: ready")
    assert (found["timestamp"], found["message"]) == (timestamp, "ready")


@pytest.mark.parametrize(
    ("priority", "level", "facility"),
    [
        (0, "EMERGENCY", "kern"),
        (9, "ALERT", "user"),
        (34, "CRITICAL", "auth"),
        (83, "ERROR", "authpriv"),
        (108, "WARNING", "audit"),
        (165, "NOTICE", "local4"),
        (14, "INFO", "user"),
        (191, "DEBUG", "local7"),
    ],
)
def test_a_priority_is_a_level_and_a_facility(priority: int, level: str, facility: str) -> None:
    """Rule F21."""
    lines = [f"<{priority}>{FROM_FILE}[error] x", f"<{priority}>1 2024-01-15T08:23:45Z web-1 sshd 4711 - - x"]
    for found in records("syslog", *lines):
        assert (found["level"], found["facility"]) == (level, facility)


@pytest.mark.parametrize("priority", ["192", "013", "", "-1", "1000"])
def test_a_line_with_an_invalid_priority_is_shipped_whole(priority: str) -> None:
    line = f"<{priority}>{FROM_FILE}ready"
    assert record("syslog", line) == unknown(line)


@pytest.mark.parametrize(
    ("message", "level"),
    [
        ("ERROR could not", "ERROR"),
        ("error: could not", "ERROR"),
        ("[Warn] nearly", "WARN"),
        ("2024-01-15 08:23:45,512 INFO ready", "INFO"),
        ("2024/01/15 08:23:45 [notice] ready", "NOTICE"),
        ("FATAL", "FATAL"),
        ("error in words", "UNKNOWN"),
        ("ERRORS all over", "UNKNOWN"),
        ("INFO-7 is a name", "UNKNOWN"),
        ("[wax] on", "UNKNOWN"),
        ("ready: ERROR", "UNKNOWN"),
        ("\u017fevere: long s", "UNKNOWN"),
        ("", "UNKNOWN"),
    ],
)
def test_without_a_priority_a_level_word_at_the_beginning_of_the_message_is_the_level(message: str, level: str) -> None:
    """Rule F21."""
    found = record("syslog", FROM_FILE + message)
    assert (found["level"], found["message"]) == (level, message)


@pytest.mark.parametrize(
    ("rest", "app", "pid", "message"),
    [
        ("cron[1]: x", "cron", "1", "x"),
        ("kernel: [12.5] x", "kernel", None, "[12.5] x"),
        ("postfix/smtpd[1]: a: b", "postfix/smtpd", "1", "a: b"),
        ("(systemd)[1]: x", "(systemd)", "1", "x"),
        ("app:", "app", None, ""),
        ("app[1]:   indented", "app", "1", "  indented"),
        ("app:no space", None, None, "app:no space"),
        ("app[1] no colon", None, None, "app[1] no colon"),
        ("last message repeated 2 times", None, None, "last message repeated 2 times"),
        ('a"b: x', None, None, 'a"b: x'),
        ("a\\b: x", None, None, "a\\b: x"),
        ("ż: x", None, None, "ż: x"),
    ],
)
def test_a_tag_is_a_word_before_a_colon_and_may_be_missing(
    rest: str, app: str | None, pid: str | None, message: str
) -> None:
    """Rule F20."""
    found = record("syslog", f"Jan 15 08:23:45 web-1 {rest}")
    assert (found["app"], found["pid"], found["message"]) == (app, pid, message)


def test_a_line_of_rfc_5424_is_split_into_fields() -> None:
    """Rule F22."""
    line = '<165>1 2003-10-11T22:14:15.003Z web-1 app 31 ID47 [a@1 b="c"][d@1] An application event'
    assert record("syslog", line) == {
        "level": "NOTICE",
        "message": "An application event",
        "timestamp": "2003-10-11T22:14:15.003Z",
        "facility": "local4",
        "host": "web-1",
        "app": "app",
        "pid": "31",
        "msgid": "ID47",
        "structured_data": '[a@1 b="c"][d@1]',
    }


def test_nil_values_become_null() -> None:
    """Rule F22."""
    found = record("syslog", "<14>1 - - - - - - -")
    assert [key for key, value in found.items() if value is None] == [
        *("timestamp", "host", "app", "pid", "msgid", "structured_data")
    ]
    assert found["message"] == "-"


@pytest.mark.parametrize(
    "data",
    [
        r'[a@1 b="say \"hi\""]',
        r'[a@1 b="[x\]"]',
        r'[a@1 b="C:\\"]',
        r'[a@1 b="\]"][c@1 d="\\\]"]',
        "[]",
        '[a@1 b="zażółć"]',
        '[a@1 b="tab\there"]',
    ],
)
@pytest.mark.parametrize("message", ["", " the message", " [not] data", ' "quoted"'])
def test_structured_data_ends_at_a_bracket_that_is_not_escaped(data: str, message: str) -> None:
    """Rule F22."""
    found = record("syslog", f"<14>1 2024-01-15T08:23:45Z web-1 app - - {data}{message}")
    assert (found["structured_data"], found["message"]) == (data, message[1:])


def test_a_byte_order_mark_before_the_message_is_dropped() -> None:
    """Rule F22."""
    line = "<14>1 2024-01-15T08:23:45Z web-1 app - - - \ufeffżółw"
    assert record("syslog", line)["message"] == "żółw"


@pytest.mark.parametrize(
    "line",
    [
        "hello",
        "Jan 15 08:23:45",
        "Jan 15 08:23:45 web-1",
        " Jan 15 08:23:45 web-1 app: indented",
        "15 Jan 08:23:45 web-1 app: x",
        "<14>hello",
        "<14>1 2024-01-15T08:23:45Z web-1 app - -",
        "<14>1 2024-01-15T08:23:45Z web-1 app - - [open x",
        "<14>1 2024-01-15T08:23:45Z web-1 app - - [a@1]x",
        "<14>1 2024-01-15T08:23:45Z  app - - [a@1] x",
        "<14>1 2024-01-15T08:23:45Z web-1 app -  [a@1] x",
        "<14>1 2024-01-15T08:23:45Z web-1 app - -  x",
    ],
)
def test_a_line_of_another_shape_is_shipped_whole(line: str) -> None:
    assert record("syslog", line) == unknown(line)


def test_all_kinds_of_lines_may_be_mixed_in_one_chunk() -> None:
    lines = [
        *("rubbish", f"{FROM_FILE}a", f"<38>{FROM_FILE}b", "<38>1 - - - - - - c", "", "  ", "more rubbish"),
        *(f"{FROM_FILE}d", '<38>1 - - - - - [x@1 y="\\]"] e', "\x00\x1f"),
    ]
    assert [found["message"] for found in records("syslog", *lines)] == [
        *("rubbish", "a", "b", "c", "more rubbish", "d", "e", "\x00\x1f")
    ]


def test_bytes_that_are_not_utf_8_are_kept_beside_the_fields() -> None:
    found = record("syslog", FROM_FILE.encode() + b"caf\xe9")
    assert (found["message"], found["app"]) == ("caf\ufffd", "sshd")
    assert found["raw"]
