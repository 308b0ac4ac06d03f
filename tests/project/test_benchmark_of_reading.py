"""The benchmark of reading knows what its lines are, and notices wrong results."""

from pathlib import Path

import pytest

from benchmarks.measure import BenchmarkError
from benchmarks.reading import HOSTS, at_most, check, make_day, run


def test_the_day_has_the_lines_that_are_expected_of_it(tmp_path: Path) -> None:
    day = make_day(tmp_path, 400)
    lines = [line for path in day.files.values() for line in path.read_text(encoding="ascii").splitlines()]
    assert len(day.files) == HOSTS
    assert len(lines) == day.lines == 400
    assert sum(" ERROR " in line for line in lines) == day.errors
    assert sum(" ERROR " in line and line.startswith("2026-01-15 14:") for line in lines) == day.errors_in_hour
    assert {line[:16].replace(" ", "T") for line in lines} == set(day.minutes)


def test_a_failure_and_a_wrong_result_end_the_benchmark(tmp_path: Path) -> None:
    assert run(["sh", "-c", "echo x; exit 1"], tmp_path, codes=(1,)).output == "x\n"
    with pytest.raises(BenchmarkError, match="exit code 2: problem"):
        run(["sh", "-c", "echo problem >&2; exit 2"], tmp_path)
    with pytest.raises(BenchmarkError, match="a wrong result: errors"):
        check(False, "errors")


def test_a_target_is_met_up_to_its_value() -> None:
    assert at_most("x", 2.0, 2.0, "ms").met
    assert not at_most("x", 2.1, 2.0, "ms").met
