"""The python format, case by case (docs/protocol.md, rule F18), and raw."""

import pytest

from tests.support.formats import check_sample, record, unknown

TIME = "2024-01-15 08:23:45,123"


def test_a_sample_becomes_its_expected_records() -> None:
    """Rule F18."""
    check_sample("python", "python")


@pytest.mark.parametrize(
    "line", ["2024-01-15 08:23:45 INFO ready", '{"level":"INFO","message":"m"}', "a\tb", "é", "[x"]
)
def test_in_the_raw_format_every_line_is_a_message(line: str) -> None:
    """Rule F12."""
    assert record("raw", line) == unknown(line)


def test_the_default_of_basic_config_has_no_timestamp() -> None:
    """Rule F18."""
    assert record("python", "WARNING:app.db:a: b") == {
        "level": "WARNING",
        "message": "a: b",
        "timestamp": None,
        "logger": "app.db",
    }


@pytest.mark.parametrize("logger", ["root", "app.db", "__main__", "a-b", "<unknown>", "zażółć"])
@pytest.mark.parametrize("line", [f"{TIME} - {{}} - ERROR - a - b", f"{TIME} ERROR {{}}: a - b", "ERROR:{}:a - b"])
def test_the_logger_is_a_field(line: str, logger: str) -> None:
    """Rule F18."""
    found = record("python", line.format(logger))
    assert (found["level"], found["message"], found["logger"]) == ("ERROR", "a - b", logger)
    assert list(found) == ["level", "message", "timestamp", "logger"]
    assert found["timestamp"] in (TIME, None)


def test_a_level_and_spaces_may_precede_the_message() -> None:
    """Rule F18."""
    assert record("python", "INFO:     Started server process [4711]") == {
        "level": "INFO",
        "message": "Started server process [4711]",
        "timestamp": None,
    }


@pytest.mark.parametrize(
    "line", [f"{TIME} info: ready", f"{TIME} [INFO] ready", f"{TIME} INFO: ready: now", f"{TIME} - INFO - x"]
)
def test_a_line_with_a_timestamp_and_a_level_is_read_as_in_plain(line: str) -> None:
    """Rule F18."""
    assert record("python", line) == record("plain", line)
    assert record("python", line)["timestamp"] == TIME


@pytest.mark.parametrize(
    "line",
    [
        *(
            "HTTP:root:x",
            "INFO",
            "ERRORS: x",
        ),
        *("Error:root:x", "  raise ValueError: x", "KeyError: 'a'"),
    ],
)
def test_any_other_line_is_shipped_whole(line: str) -> None:
    """Rule F11."""
    assert record("python", line) == unknown(line)
