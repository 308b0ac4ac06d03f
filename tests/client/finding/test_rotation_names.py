"""Which names a log file gets when it is rotated, and which it had before."""

import pytest

from logferry.client.finding.rotation_names import (
    earlier_rotated_names,
    is_archive_name,
    original_names,
    rotation_number,
    without_archive_suffix,
)


@pytest.mark.parametrize(
    "rotated",
    [
        *("app.log.1", "app.log.12", "app.1.log", "app-1.log", "app_1.log", "app.log_1", "app.log~1", "app.log.0"),
        *("app.log.old", "app.old.log", "app-old.log", "app_old.log", "app.log.prev", "app.log.1.old", "app.log.old.2"),
        *("app.log-20240115", "app.log_20240115", "app.log.20240115", "app-20240115.log", "app_20240115.log"),
        *("app.log.2024-01-15", "app-2024-01-15.log", "app.log.2024.01.15", "app.log.2024_01_15", "app.log.15012024"),
        *("app.log_20240115-082345", "app.log-20240115_08:23:45", "app.log-20240115T082345Z", "app.log.2024011508"),
        *("app.log.2024-01-15T08:23:45+01:00", "app-2024-01-15T08-23-45.123.log", "app__2024-01-15_08-23-45.log"),
        *("app.log-1705306425", "app.log.1705306425123", "app.log-20240115-1705306425", "app.log.1705306425.log"),
        *(
            "app.log.15-Jan-2024",
            "app.log.2024-Jan-15",
            "app-Mon-Jan-15-2024.log",
            "app.log.2024-W03",
            "app.log.2024-01",
        ),
        *("app.log.2024-01-15.1", "app-2024-01-15-3.log", "app-01-15-2024-1.log", "app.log.1.2024-01-15"),
        *("app20240115.log", "20240115-app.log", "2024-01-15_app.log", "2024-01-15T08-23-45-app.log"),
    ],
)
def test_a_number_or_a_date_in_any_form_is_taken_off_wherever_it_is(rotated: str) -> None:
    originals = set(original_names(rotated))
    assert "app.log" in originals or "app.log.log" in originals


@pytest.mark.parametrize(
    ("rotated", "original"),
    [
        ("0.log.20240115-082345", "0.log"),
        ("3f2a-json.log.1", "3f2a-json.log"),
        ("localhost_access_log.2024-01-15.txt", "localhost_access_log.txt"),
        ("catalina.2024-01-15.out", "catalina.out"),
        ("messages-20240115", "messages"),
        ("app-20240115.out.log", "app.out.log"),
        ("@400000005f1b2c3d0a1b2c3d.s", "current"),
        ("Xorg.0.log.old", "Xorg.0.log"),
    ],
)
def test_programs_rotate_in_their_own_ways(rotated: str, original: str) -> None:
    assert original in set(original_names(rotated))


@pytest.mark.parametrize(
    "name",
    [
        *(
            "app",
            "app.log",
            "app.log.gz",
            "app-v2.log",
            "app2.log",
            ".1",
            "",
            "app.log.bak",
            "app.log.1~",
            "app.log.swp",
        ),
        *("ceph-mon.log", "app-may.log", "app.Wed", "service-1a.log", "app.log.part", "threshold.log", "1234"),
    ],
)
def test_other_names_are_not_those_of_rotated_files(name: str) -> None:
    assert list(original_names(name)) == []


@pytest.mark.parametrize(
    "name", ["1-" * 127, "a" + ".1" * 127 + "!", "2024" * 63 + "x", "Mar" * 80 + "2024!", "-" * 255]
)
def test_a_hostile_name_takes_no_time(name: str) -> None:
    for _ in range(100):
        list(original_names(name))


@pytest.mark.parametrize(
    ("rotated", "originals"),
    [
        ("app.log.1", ["app.log"]),
        ("app.log.2024-01-15", ["app.log", "app.log.2024", "app.log.2024-01"]),
        ("app.log.1.gz", ["app.log.gz"]),
    ],
)
def test_a_rotated_file_had_the_name_before_its_number_or_date(rotated: str, originals: list[str]) -> None:
    assert sorted({*original_names(rotated)}) == originals


@pytest.mark.parametrize(
    ("name", "earlier"),
    [
        ("app.log.3", ["app.log.0", "app.log.1", "app.log.2"]),
        ("app.2.log", ["app.0.log", "app.1.log"]),
        ("app_1.log", ["app_0.log"]),
        ("app.log", []),
        ("app.log-20240115", []),
        ("app.log.2024-01-15", []),
    ],
)
def test_a_file_with_a_number_had_lower_numbers_before(name: str, earlier: list[str]) -> None:
    assert list(earlier_rotated_names(name)) == earlier


@pytest.mark.parametrize(
    ("name", "number"),
    [
        *(
            ("app.log", 0),
            ("app.log.1", 1),
            ("app.log.999", 999),
            ("app.log.2024", 0),
            ("app.log-20240115", 0),
            ("7", 7),
        ),
        *(("7", 7), ("app.2.log", 2), ("app_2.log", 2), ("app.log.2024-01-15", 0)),
    ],
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
