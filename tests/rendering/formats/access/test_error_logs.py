"""The error logs of nginx and Apache, case by case (docs/protocol.md, rule F25)."""

from string import ascii_letters

import pytest

from tests.support.formats import record, unknown


def test_a_line_of_the_nginx_error_log_is_split_into_fields() -> None:
    """Rule F25."""
    assert record("nginx", '2024/01/15 08:23:45 [error] 31#32: *182 open() "/x" failed') == {
        "level": "ERROR",
        "message": 'open() "/x" failed',
        "timestamp": "2024/01/15 08:23:45",
        "pid": "31",
        "tid": "32",
        "connection": "182",
    }
    assert record("nginx", "2024/01/15 08:23:45 [emerg] 1#1: bind() failed")["connection"] is None


def test_a_line_of_the_apache_error_log_is_split_into_fields() -> None:
    """Rule F25."""
    begin = "[Mon Jan 15 08:23:45.123456 2024]"
    assert record("apache", f"{begin} [core:error] [pid 31:tid 32] [client 192.0.2.7:5] AH00037: no") == {
        "level": "ERROR",
        "message": "AH00037: no",
        "timestamp": "Mon Jan 15 08:23:45.123456 2024",
        "module": "core",
        "pid": "31",
        "tid": "32",
        "client": "192.0.2.7:5",
    }
    old = record("apache", "[Wed Oct 11 14:32:52 2000] [warn] [client 127.0.0.1] denied")
    assert (old["level"], old["client"], old["module"], old["pid"]) == ("WARN", "127.0.0.1", None, None)


def test_each_server_has_its_own_error_log() -> None:
    line = "2024/01/15 08:23:45 [error] 31#32: *182 message"
    assert record("apache", line) == unknown(line)


@pytest.mark.parametrize("word", ["emerg", "alert", "crit", "error", "warn", "notice", "info", "debug", "trace9"])
def test_the_word_in_brackets_is_the_level(word: str) -> None:
    """Rule F25."""
    assert record("apache", f"[Sat Mar 31 23:59:59 2029] [{word}] x")["level"] == word.upper()
    nginx = f"2023/12/31 23:59:59 [{word}] 1#1: x"
    assert record("nginx", nginx)["level"] == ("UNKNOWN" if word == "trace9" else word.upper())


def test_every_digit_and_letter_may_be_in_an_id_a_module_or_a_client() -> None:
    """Rule F25."""
    digits = "9876543210"
    found = record("nginx", f"2024/01/15 08:23:45 [error] {digits}#{digits}: *{digits} x")
    assert [found[key] for key in ("pid", "tid", "connection", "message")] == [digits, digits, digits, "x"]
    module, client = f"{ascii_letters}{digits}_-", f"{ascii_letters}{digits}.:_-"
    found = record(
        "apache", f"[Sun Dec 31 23:59:59 2023] [{module}:info] [pid {digits}:tid {digits}] [client {client}] x"
    )
    assert [found[key] for key in ("module", "pid", "tid", "client")] == [module, digits, digits, client]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("nginx", "2024/01/15 08:23:45 [] 4711#0: x"),
        ("nginx", "2024/01/15 08:23:45 [error] #0: x"),
        ("nginx", "2024/01/15 08:23:45 [error] 4711#: x"),
        ("nginx", "2024/01/15 08:23:45 error 4711#0: x"),
        ("apache", "[Mon Jan 15 08:23:45 2024] [core:] x"),
        ("apache", "[Mon Jan 15 08:23:45 2024] [core:9] x"),
        ("apache", "[Mon Jan 15  2024] [error] x"),
        ("apache", "[Mon Jan 15 08:23:45 24] [error] x"),
    ],
)
def test_a_line_that_lacks_a_part_is_shipped_whole(name: str, line: str) -> None:
    """Rule F5."""
    assert record(name, line) == unknown(line)


@pytest.mark.parametrize(
    ("name", "begin", "message"),
    [
        ("nginx", "2024/01/15 08:23:45 [error] 4711#0: ", "* x"),
        ("nginx", "2024/01/15 08:23:45 [error] 4711#0: ", "*12x"),
        ("apache", "[Mon Jan 15 08:23:45 2024] [error] ", "[pid ] x"),
        ("apache", "[Mon Jan 15 08:23:45 2024] [error] ", "[pid 1:tid ] x"),
        ("apache", "[Mon Jan 15 08:23:45 2024] [error] ", "[client ] x"),
    ],
)
def test_an_optional_part_without_its_value_belongs_to_the_message(name: str, begin: str, message: str) -> None:
    """Rule F25."""
    found = record(name, begin + message)
    assert found["message"] == message
    assert all(found[key] is None for key in (["connection"] if name == "nginx" else ["pid", "tid", "client"]))


def test_the_module_of_the_apache_error_log_may_be_empty() -> None:
    """Rule F45."""
    found = record("apache", "[Wed Mar 04 11:12:13.456789 2026] [:error] [pid 811] [client 192.0.2.7:8196] is missing")
    assert (found["level"], found["module"], found["message"]) == ("ERROR", None, "is missing")
    assert (found["pid"], found["client"]) == ("811", "192.0.2.7:8196")
