"""Acks: what our server writes, and what our client takes for one (docs/protocol.md, rules A1 and A4)."""

import json

import pytest

from logferry.protocol.plain.acks import ACK_OK, MAX_REASON_CHARS, Ack, answered, error_ack, parse_ack


def test_the_ok_ack_is_fixed_to_the_byte() -> None:
    """Rule A1."""
    assert ACK_OK == b'{"status": "ok", "message": "received"}\n'
    assert parse_ack(ACK_OK) == Ack(ok=True, message="received")


def test_an_error_ack_is_one_line_of_json_with_the_reason() -> None:
    """Rule A1."""
    assert error_ack("empty line") == b'{"status": "error", "message": "empty line"}\n'
    assert parse_ack(error_ack("empty line")) == Ack(ok=False, message="empty line")


@pytest.mark.parametrize("reason", ['a "quoted" \\ thing', "two\nlines", "\0\x1f", "é 🚢 \u2028", "\ud800", ""])
def test_any_reason_makes_one_line_and_comes_back(reason: str) -> None:
    ack = error_ack(reason)
    assert ack.count(b"\n") == 1
    assert ack.endswith(b"\n")
    assert ack.isascii()
    assert parse_ack(ack) == Ack(ok=False, message=reason)


def test_a_reason_has_at_most_200_characters() -> None:
    """Rule A4."""
    assert json.loads(error_ack("é" * 200 + "x"))["message"] == "é" * 200


def test_a_long_reason_is_cut_on_both_ends() -> None:
    assert len(json.loads(error_ack("x" * 100_000))["message"]) == MAX_REASON_CHARS
    foreign = parse_ack(json.dumps({"status": "error", "message": "x" * 100_000}).encode())
    assert foreign == Ack(ok=False, message="x" * MAX_REASON_CHARS)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"status":"ok"}', Ack(ok=True, message="")),
        (b'{"message": "received", "status": "ok"}\r\n', Ack(ok=True, message="received")),
        (b'  {"status": "error", "code": 7} ', Ack(ok=False, message="")),
        (b'{"status": "ok", "message": "received", "id": [1, {"a": null}]}', Ack(ok=True, message="received")),
        (b'{"status": "error", "message": 42}', Ack(ok=False, message="42")),
        (b'{"status": "error", "message": ["a", 1]}', Ack(ok=False, message="['a', 1]")),
    ],
)
def test_acks_of_other_servers_are_understood(line: bytes, expected: Ack) -> None:
    assert parse_ack(line) == expected


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"ok",
        b"null",
        b"[]",
        b"{}",
        b'"ok"',
        b'{"status": "OK"}',
        b'{"status": true}',
        b'{"status": ["ok"]}',
        b'{"status": {"ok": 1}}',
        b'{"status": "ok"',
        b'{"status": "ok"} {"status": "ok"}',
        b'{"message": "received"}',
        b"HTTP/1.1 400 Bad Request\r\n",
        b"\xff\xfe\x00",
        b'{"status": "ok", "message": "\xff"}',
        b"[" * 100_000,
        b'{"status": "ok", "n": ' + b"9" * 10_000 + b"}",
    ],
)
def test_anything_else_is_no_ack(line: bytes) -> None:
    """Rule C4."""
    assert parse_ack(line) is None


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"\r\n<!DOCTYPE HTML>\r\n<html>", 'it answered "<!DOCTYPE HTML>"'),
        (b"SSH-2.0-OpenSSH_9.6\r\n", 'it answered "SSH-2.0-OpenSSH_9.6"'),
        (b"a\x1b[31m\xff", 'it answered "a\\x1b[31m\\xff"'),
        (b"x" * 100_000, f'it answered "{"x" * 77}..."'),
        (b'{"logferry": "hello"}', "it sends back what it receives"),
        (b'{"status": "ok", "message": "x", "level": "INFO", "timestamp": null}\n', "it sends back what it receives"),
        (b"\0\0\0\x10\x1f\x8b", "it sends back what it receives"),
        (b"{" * 100_000, f'it answered "{"{" * 77}..."'),
    ],
)
def test_what_another_service_answered_is_shown_in_one_line(data: bytes, shown: str) -> None:
    """Rules C4 and C8."""
    assert answered(data) == shown
