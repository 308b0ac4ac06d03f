"""What stored lines are counted by."""

import pytest

from logferry.reading.counting.line_counts import Key, Part, count_lines, minute_of

ALL = Part.LEVEL | Part.MINUTE | Part.PATTERN


@pytest.fixture(params=["compiled", "Python"], autouse=True)
def implementation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test with both implementations."""
    if request.param == "Python":
        monkeypatch.setattr("logferry.speedups.compiled", None)


def lines_of(*lines: str) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def test_lines_are_counted_by_level_minute_and_pattern() -> None:
    lines = lines_of(
        '{"level": "INFO", "message": "order 522 paid", "timestamp": "2024-01-15 08:23:45"}',
        '{"level": "INFO", "message": "order 523 paid", "timestamp": "2024-01-15 08:23:59,123"}',
        '{"timestamp":1772622733,"message":"order 524 paid","level":"INFO","x":[1]}',
    )
    assert count_lines(lines, ALL) == {
        Key(b"INFO", b"2024-01-15 08:23:00", b"order <n> paid"): 2,
        Key(b"INFO", b"1772622720", b"order <n> paid"): 1,
    }


def test_only_the_parts_that_are_asked_for_tell_lines_apart() -> None:
    line = '{"level": "INFO", "message": "a 1", "timestamp": "2024-01-15 08:23:45"}'
    assert count_lines(lines_of(line), Part.LEVEL) == {Key(b"INFO", b"", b""): 1}
    assert count_lines(lines_of(line), Part.MINUTE) == {Key(b"", b"2024-01-15 08:23:00", b""): 1}
    assert count_lines(lines_of(line), Part.PATTERN) == {Key(b"", b"", b"a <n>"): 1}
    assert count_lines(lines_of(line), Part(0)) == {Key(b"", b"", b""): 1}


@pytest.mark.parametrize(
    "line",
    [
        "",
        "x",
        "{",
        "[]",
        '{"level": "INFO", "message": "a", "timestamp": null',
        '{"level": "INFO"} x',
        '{"level":}',
        "{,}",
    ],
)
def test_a_line_that_is_not_a_record_counts_without_a_level(line: str) -> None:
    assert count_lines(lines_of(line, line), ALL) == {Key(b"", b"", b""): 2}


def test_a_value_of_another_kind_counts_as_missing() -> None:
    lines = lines_of('{"level": null, "message": ["a"], "timestamp": {"a": 1}}', '{"level": {}, "message": 1}')
    assert count_lines(lines, ALL) == {Key(b"", b"", b""): 2}


def test_of_keys_that_stand_more_than_once_the_last_one_counts() -> None:
    line = '{"level": "INFO", "level": "ERROR", "message": "a", "message": "b", "timestamp": "x", "timestamp": "y"}'
    assert count_lines(lines_of(line), ALL) == {Key(b"ERROR", b"y", b"b"): 1}


def test_escapes_in_keys_and_levels_are_read() -> None:
    line = r'{"l\u0065vel": "\u0049NFO", "message": "a", "timestamp": "2024-01-15\u002008:23:45"}'
    assert count_lines(lines_of(line), ALL) == {Key(b"INFO", b"2024-01-15 08:23:00", b"a"): 1}


def test_a_long_level_is_cut_and_a_long_timestamp_is_not_one() -> None:
    line = f'{{"level": "{"x" * 65}", "message": "a", "timestamp": "{"1" * 65}"}}'
    assert count_lines(lines_of(line), ALL) == {Key(b"x" * 64, b"", b"a"): 1}


@pytest.mark.parametrize(
    ("timestamp", "minute"),
    [
        ("2024-01-15 08:23:45", "2024-01-15 08:23:00"),
        ("2024-01-15T08:23:45.123456789Z", "2024-01-15T08:23:00Z"),
        ("2024-01-15T08:23:45+05:30", "2024-01-15T08:23:00+05:30"),
        ("15/Jan/2024:08:23:45 +0000", "15/Jan/2024:08:23:00 +0000"),
        ("Mon Jan 15 08:23:45.123456 2024", "Mon Jan 15 08:23:00 2024"),
        ("Jan 15 08:23:45", "Jan 15 08:23:00"),
        ("1772622733", "1772622720"),
        ("1772622733.415", "1772622720"),
        ("1772622733415", "1772622720000"),
        ("1772622733415123", "1772622720000000"),
        ("0000000059", "0000000000"),
        ("2024-01-15 08:23:60", "2024-01-15 08:23:60"),
        ("2024-01-15", "2024-01-15"),
        ("", ""),
    ],
)
def test_the_minute_of_a_timestamp_is_a_timestamp_without_its_seconds(timestamp: str, minute: str) -> None:
    assert minute_of(timestamp.encode()) == minute.encode()
    line = f'{{"level": "INFO", "message": "a", "timestamp": "{timestamp}"}}'
    assert count_lines(lines_of(line), Part.MINUTE) == {Key(b"", minute.encode(), b""): 1}


@pytest.mark.parametrize(
    ("message", "pattern"),
    [
        ("Payment gateway unhealthy", "Payment gateway unhealthy"),
        ("order 523 of web-12 took 1.5ms", "order <n> of web-<n> took <n>ms"),
        ("10.0.0.1:8080 1,234 -5", "<n>:<n> <n> -<n>"),
        ("id 6ba7b810-9dad-11d1-80b4-00c04fd430c8.", "id <uuid>."),
        ("commit abc123f at 0xdeadBEEF", "commit <hex> at <hex>"),
        ("a face decade 12345678 bad1", "a face decade <n> bad<n>"),
        (r"user \"bob smith\" said 'no' and don't", "user <text> said <text> and don't"),
        (r"5\" of \"\" and ''", r"<n>\" of \"\" and ''"),
        (r"C:\\temp\\x1 \u00e9\t7", r"C:\\temp\\x<n> \u00e9\t<n>"),
        (r"first 1\nsecond 2", "first <n>"),
        ("Zażółć 7 日本1語", "Zażółć <n> 日本<n>語"),
        ("x" * 300, "x" * 256),
        ("x" * 255 + "é1", "x" * 255 + "é"),
    ],
)
def test_a_pattern_is_what_messages_have_in_common(message: str, pattern: str) -> None:
    line = f'{{"level": "INFO", "message": "{message}", "timestamp": null}}'
    assert count_lines(lines_of(line), Part.PATTERN) == {Key(b"", b"", pattern.encode()): 1}
