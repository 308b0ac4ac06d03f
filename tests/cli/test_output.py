"""What commands print is safe for a terminal, whatever it is made of, and whoever reads it may leave."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from logferry.cli.output import notices_as_json, print_notice, print_problem, print_result, shown, table

SOURCE = Path(__file__).resolve().parents[2] / "src"


def test_a_table_has_columns_as_wide_as_what_is_shown() -> None:
    rows = [("file", "lines"), ("a\x1b[2J\n", "1"), ("b", "12345")]
    assert table(rows) == ["file        lines", r"a\x1b[2J\n  1", "b           12345"]


def test_bytes_that_are_not_utf_8_are_shown() -> None:
    assert shown(Path("/l/\udcff")) == r"/l/\xff"


def test_a_problem_is_one_line_with_the_name_of_the_command(capfd: pytest.CaptureFixture[str]) -> None:
    print_problem("cannot read \x1b[2Ja\nb", command="verify")
    print_problem("cannot read a")
    assert capfd.readouterr() == ("", "logferry verify: cannot read \\x1b[2Ja\\nb\nlogferry: cannot read a\n")


def test_a_result_goes_to_stdout_as_it_is(capfd: pytest.CaptureFixture[str]) -> None:
    print_result("one\ntwo")
    assert capfd.readouterr() == ("one\ntwo\n", "")


def test_a_reader_may_close_the_pipe_early() -> None:
    """As in `logferry verify | head -1`."""
    program = "from logferry.cli.output import print_result\nfrom logferry.cli.streams import open_standard_streams\n"
    program += "open_standard_streams()\nfor _ in range(9): print_result('x' * 100_000)"
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=SOURCE, stdout=writer, stderr=subprocess.PIPE, check=False
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_name_that_the_terminal_cannot_encode_is_printed_escaped() -> None:
    program = "from logferry.cli.output import print_problem, print_result, shown\n"
    program += "print_problem('b\\u00fccher')\nprint_result(shown('b\\u00fccher'))"
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=SOURCE, env=environment, capture_output=True, check=False
    )
    assert (done.stdout, done.stderr) == (b"b\\xfccher\n", b"logferry: b\\xfccher\n")


def test_with_a_log_of_json_notices_and_problems_are_objects_and_results_are_not(
    capfd: pytest.CaptureFixture[str],
) -> None:
    notices_as_json(is_wanted=True)
    try:
        print_notice("logferry: listening on ::1 port 9000")
        print_problem("cannot read \x1b[2Ja\nb", command="verify")
        print_result("all there, once")
    finally:
        notices_as_json(is_wanted=False)
    out, err = capfd.readouterr()
    assert out == "all there, once\n"
    notice, problem = map(json.loads, err.splitlines())
    assert (notice["level"], notice["event"]) == ("info", "logferry: listening on ::1 port 9000")
    assert (problem["level"], problem["event"]) == ("error", "logferry verify: cannot read \\x1b[2Ja\\nb")
