"""The error logs of nginx and Apache, case by case (docs/protocol.md, rule F25)."""

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
