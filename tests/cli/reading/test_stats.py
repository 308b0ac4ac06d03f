"""`logferry stats` and `logferry hosts` as people see them."""

import json
from pathlib import Path

import pytest

from logferry.cli.dispatch import main
from logferry.cli.output import size_text
from logferry.cli.reading.hosts import ago, hosts_as_table
from logferry.cli.reading.stats_report import Screen, statistics_as_text
from logferry.reading.counting.hosts import Host
from logferry.reading.counting.statistics import By, Row, Statistics
from tests.support.looking import line, store_lines, three_hosts
from tests.support.stores import opened

MINUTE = 60_000
NINE = 1_705_309_200_000  # 2024-01-15T09:00Z


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Show times in UTC."""
    import time

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def of_minutes(*rows: tuple[int, int]) -> Statistics:
    return Statistics(By.MINUTE, [Row(NINE + minute * MINUTE, count) for minute, count in rows], 0)


def test_minutes_have_bars_on_a_terminal_and_gaps_are_shown() -> None:
    text = statistics_as_text(of_minutes((0, 1), (1, 8), (4, 16), (200, 2)), Screen(80), most=None)
    assert text.splitlines() == [
        "09:00  █▌                        1",
        "09:01  ████████████              8",
        "09:02",
        "09:03",
        "09:04  ████████████████████████ 16",
        "  ...  nothing for 3 h 15 min",
        "12:20  ███                       2",
    ]


def test_a_row_has_its_hosts_and_its_most_frequent_pattern() -> None:
    row = Row(NINE, 412, [("web-2", 400), ("web-1", 12)], [("Payment gateway unhealthy", 409)])
    text = statistics_as_text(Statistics(By.MINUTE, [row], 412), Screen(100), most=None)
    assert text.endswith('412  web-2 400, web-1 12  "Payment gateway unhealthy" 409')
    plain = statistics_as_text(Statistics(By.MINUTE, [row], 412), Screen(None), most=None)
    assert plain == '2024-01-15T09:00+00:00  412  web-2 400, web-1 12  "Payment gateway unhealthy" 409'


def test_names_and_patterns_cannot_control_the_terminal() -> None:
    row = Row("a\x1b[2J\u202eb", 1, [("h\x1b", 1), ("i\n", 1)])
    for columns in (None, 80):
        text = statistics_as_text(Statistics(By.PATTERN, [row], 1), Screen(columns), most=None)
        assert text.isprintable()
    assert statistics_as_text(Statistics(By.FILE, [Row(("h\n", ""), 1)], 1), Screen(None), most=None).isprintable()


def test_a_terminal_without_blocks_gets_signs_of_ascii() -> None:
    text = statistics_as_text(of_minutes((0, 1), (1, 8)), Screen(80, has_blocks=False), most=None)
    assert text.isascii()
    assert "########################" in text


def test_rows_that_are_left_out_and_counts_that_are_too_low_are_reported() -> None:
    statistics = Statistics(By.LEVEL, [Row("INFO", 3), Row("ERROR", 2)], 5, missed=7)
    lines = statistics_as_text(statistics, Screen(None), most=1).splitlines()
    assert lines[0].startswith("INFO")
    assert "1 rarer rows" in lines[1]
    assert "too low by up to 7" in lines[2]


def test_times_that_no_calendar_has_are_shown() -> None:
    text = statistics_as_text(Statistics(By.MINUTE, [Row(1 << 60, 1), Row(-(1 << 60), 2)], 3), Screen(80), most=None)
    assert len(text.splitlines()) >= 2


def stats(data_dir: Path, *words: str) -> int:
    return main(["stats", "--data-dir", str(data_dir), *words])


def test_stored_lines_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with three_hosts(tmp_path, lines=90):
        assert stats(tmp_path) == 0
        out, err = capsys.readouterr()
        assert out.splitlines() == [
            "2024-01-15T00:00+00:00  60  a 20, b 20",
            "2024-01-15T00:01+00:00  30  a 10, b 10",
        ]
        assert err.startswith("90 lines counted, looked at ")
        assert stats(tmp_path, "a", "--level", "error", "--json") == 0
        shown = json.loads(capsys.readouterr().out)
        assert shown["lines"] == 5
        assert shown["rows"][0] == {
            "key": "2024-01-15T00:00:00.000Z",
            "host": "",
            "count": 3,
            "hosts": [{"host": "a", "count": 3}],
            "levels": {"ERROR": 3},
            "patterns": [{"pattern": "m<n>", "count": 3}],
        }
        assert stats(tmp_path, "--by", "level", "-n", "1") == 0
        assert capsys.readouterr().out.splitlines()[0].startswith("INFO")
        assert stats(tmp_path, "--by", "file", "--json") == 0
        assert json.loads(capsys.readouterr().out)["rows"][0]["host"] == "a"


def test_a_name_that_matches_nothing_and_wrong_words_are_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with three_hosts(tmp_path, lines=3):
        assert stats(tmp_path, "web-9") == 1
        assert "web-9" in capsys.readouterr().err
        assert stats(tmp_path, "--file", "x.log") == 1
        assert "x.log" in capsys.readouterr().err
        assert stats(tmp_path, "--since", "soon", "--grep", "(") == 2
        error = capsys.readouterr().err
        assert "--since" in error
        assert "a time such as" in error
        assert stats(tmp_path, "--by", "colour") == 2
        assert "--by must be one of minute, hour" in capsys.readouterr().err


def test_a_folder_without_a_store_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert stats(tmp_path) == 1
    assert "has no ledger" in capsys.readouterr().err


def test_segments_that_cannot_be_read_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with three_hosts(tmp_path, lines=9):
        next((tmp_path / "segments" / "a").rglob("*.ndjson")).write_bytes(b"")
        assert stats(tmp_path, "--by", "level") == 3
        assert "1 segments could not be read" in capsys.readouterr().err


def test_hosts_are_listed_from_the_ledger_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with three_hosts(tmp_path, lines=9):
        assert main(["hosts", "--data-dir", str(tmp_path), "a", "b"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].split() == ["host", "files", "lines", "size", "last", "received", "behind", "client"]
        assert lines[1].split()[:3] == ["a", "1", "3"]
        assert lines[3].startswith("2 hosts, 2 files, 6 lines")
        assert main(["hosts", "--data-dir", str(tmp_path), "--json"]) == 0
        assert [host["lines"] for host in json.loads(capsys.readouterr().out)] == [3, 3, 3]
        assert main(["hosts", "--data-dir", str(tmp_path), "x"]) == 1
        assert "there are a, b, c" in capsys.readouterr().err


def test_a_host_on_a_terminal_says_how_long_ago_its_last_line_came() -> None:
    host = Host("web\x1b", 2, 3, 1_234_567, 250_000_000, NINE, NINE)
    lines = hosts_as_table([host], now=NINE + 125_000, is_terminal=True).splitlines()
    assert "\x1b" not in lines[1]
    assert lines[1].split()[1:] == [
        "2",
        "1,234,567",
        "250",
        "MB",
        "2024-01-15",
        "09:00:00",
        "(2",
        "min",
        "ago)",
        "unknown",
        "unknown",
    ]
    assert lines[2] == "1 hosts, 2 files, 1,234,567 lines, 250 MB"


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (99_400, "99.4 kB"), (123_456_789, "123 MB")]
)
def test_sizes_have_units(size: int, text: str) -> None:
    assert size_text(size) == text


def test_ages_have_units() -> None:
    assert [ago(seconds * 1000) for seconds in (-5, 5, 65, 7300, 180_000)] == [
        "0 s ago", "5 s ago", "1 min ago", "2 h ago", "2 d ago",
    ]  # fmt: skip


def test_what_is_not_committed_is_not_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with opened(tmp_path) as store:
        store_lines(store, "a", line("x"))
        with next((tmp_path / "segments").rglob("*.ndjson")).open("ab") as segment:
            segment.write(line("y") + b'{"level": "half')
        assert stats(tmp_path, "--by", "message-pattern") == 0
        assert capsys.readouterr().out.split() == ["x", "1"]
