"""Which names a log file gets when it is rotated, and which it had before."""

import pytest

from logferry.client.finding.rotation_names import (
    former_names,
    is_archive_name,
    original_names,
    rotation_number,
    without_archive_suffix,
)


@pytest.mark.parametrize(
    ("rotated", "originals"),
    [
        ("app.log.1", ["app.log"]),
        ("app.log.12", ["app.log"]),
        ("app.log-20240115", ["app.log"]),
        ("app.log.2024-01-15", ["app.log", "app.log.2024", "app.log.2024-01"]),
        ("app-20240115.log", ["app.log"]),
        ("app.1.log", ["app.log"]),
        ("app.log-20240115T082345", ["app.log"]),
        ("app.log-20240115_08:23:45", ["app.log"]),
        ("app", []),
        ("app.log", []),
        ("app.log.gz", []),
        ("app.log.1.gz", ["app.log.gz"]),
        ("app-v2.log", []),
        (".1", []),
        ("", []),
    ],
)
def test_a_rotated_file_had_the_name_before_its_number_or_date(rotated: str, originals: list[str]) -> None:
    assert sorted({*original_names(rotated)}) == originals


def test_a_file_may_have_been_followed_under_its_original_name_its_own_and_lower_numbers() -> None:
    assert list(former_names("app.log.3")) == ["app.log", "app.log.3", "app.log.0", "app.log.1", "app.log.2"]
    assert list(former_names("app.log")) == ["app.log"]
    assert list(former_names("app.log-20240115")) == ["app.log", "app.log-20240115"]


@pytest.mark.parametrize(
    ("name", "number"),
    [("app.log", 0), ("app.log.1", 1), ("app.log.999", 999), ("app.log.2024", 0), ("app.log-20240115", 0), ("7", 7)],
)
def test_a_number_of_more_than_three_digits_is_a_date(name: str, number: int) -> None:
    assert rotation_number(name) == number


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zst"])
def test_an_archive_is_recognised_by_its_suffix_which_is_removed_once(suffix: str) -> None:
    assert is_archive_name(f"app.log.1{suffix}")
    assert without_archive_suffix(f"app.log.1{suffix}") == "app.log.1"
    assert without_archive_suffix(f"app.log{suffix}{suffix}") == f"app.log{suffix}"


@pytest.mark.parametrize("name", ["app.log.1", "app.log", "app.log.1.lz4", "gz"])
def test_other_names_are_no_archives_and_stay_as_they_are(name: str) -> None:
    assert not is_archive_name(name)
    assert without_archive_suffix(name) == name
