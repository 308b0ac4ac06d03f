"""The postgres format, case by case (docs/protocol.md, rule F53)."""

import pytest

from tests.support.formats import check_sample, record, unknown

TIME = "2024-01-15 08:23:45.123 UTC"
CSV = (
    '{time},"app","shop",12,"10.0.0.1:3",65a4.4d2,3,"SELECT",{time},4/1,0,{level},42P01,"{message}"'
    ',,,,,,"{query}",15,,"psql"'
)


def test_a_sample_becomes_its_expected_records() -> None:
    """Rule F53."""
    check_sample("postgres", "postgres")


@pytest.mark.parametrize(
    ("prefix", "fields"),
    [
        ("{time} [12] ", {"pid": "12"}),
        ("{time} [12]: [3-1] user=app,db=shop ", {"pid": "12", "line": "3", "user": "app", "database": "shop"}),
        ("{time} [12] app@shop ", {"pid": "12", "user": "app", "database": "shop"}),
        ("{time} [12] [unknown]@[unknown] ", {"pid": "12", "user": "[unknown]", "database": "[unknown]"}),
        (
            "{time} [12] [user=app,db=shop,app=my app,client=::1(5)] ",
            {"pid": "12", "user": "app", "database": "shop", "application": "my app", "client": "::1(5)"},
        ),
        (
            "{time}:10.0.0.5(3):app@shop:[12]:",
            {"client": "10.0.0.5(3)", "user": "app", "database": "shop", "pid": "12"},
        ),
        ("{time} x=1 ", {"prefix": " x=1 "}),
        ("< {time} >", {"prefix": " >"}),
        ("{time} [12] app@shop 10.0.0.5(3) ", {"prefix": " [12] app@shop 10.0.0.5(3) "}),
    ],
)
@pytest.mark.parametrize(
    "level", ["LOG", "ERROR", "FATAL", "PANIC", "STATEMENT", "DETAIL", "HINT", "CONTEXT", "DEBUG5"]
)
def test_the_usual_prefixes_are_read(prefix: str, fields: dict[str, str], level: str) -> None:
    """Rule F53."""
    line = f"{prefix.format(time=TIME)}{level}:  all is: LOG:  well"
    common = {"level": level, "message": "all is: LOG:  well", "timestamp": TIME}
    assert record("postgres", line) == common | fields


@pytest.mark.parametrize("zone", ["UTC", "CEST", "-03", "+0530", "+05:30"])
def test_a_zone_is_part_of_the_timestamp(zone: str) -> None:
    """Rule F53."""
    assert record("postgres", f"2024-01-15 08:23:45 {zone} [12] LOG:  x")["timestamp"] == f"2024-01-15 08:23:45 {zone}"


def test_csvlog_is_read_with_its_quotes_undone() -> None:
    """Rule F53: a quote is doubled in CSV; a backslash is just a backslash."""
    line = CSV.format(time=TIME, level="ERROR", message='relation ""x"" \\""', query='""""')
    found = record("postgres", line)
    assert (found["level"], found["message"], found["query"]) == ("ERROR", 'relation "x" \\"', '""')
    assert (found["sqlstate"], found["application"], found["session_start"]) == ("42P01", "psql", TIME)
    assert "detail" not in found


@pytest.mark.parametrize(
    "line",
    [
        f"{TIME} [12] LOG: x",
        f"{TIME} CATALOG:  x",
        f"{TIME} [12] Log:  x",
        CSV.format(time=TIME, level="SOME", message="x", query="y"),
        CSV.format(time=TIME, level="LOG", message='x"', query="y"),
    ],
)
def test_no_other_word_is_a_level(line: str) -> None:
    """Rules F41 and F53: another line is read as plain."""
    found = record("postgres", line)
    assert found == record("plain", line)
    assert found["level"] == ("LOG" if line.endswith("LOG: x") else "UNKNOWN")


def test_a_continued_line_is_shipped_whole() -> None:
    """Rule F5: `--multiline timestamp` joins it."""
    assert record("postgres", "\tfrom x") == unknown("\tfrom x")
