"""Where links lead, and which files a link may have led to in the meantime."""

import os
from pathlib import Path

import pytest

from logferry.client.finding.links import is_like, led_to_between, place_of, places_of
from logferry.client.finding.listing import FolderListings


def test_the_place_of_a_name_without_links_is_the_name(tmp_path: Path) -> None:
    assert place_of(str(tmp_path / "app.log")) == str(tmp_path / "app.log")
    assert places_of(str(tmp_path / "app.log")) == [str(tmp_path / "app.log")]


def test_the_place_of_a_name_is_found_through_links_to_files_and_folders(tmp_path: Path) -> None:
    real, link, folder = tmp_path / "real" / "app.log", tmp_path / "link.log", tmp_path / "folder"
    folder.symlink_to("real")
    link.symlink_to("folder/app.log")
    assert place_of(str(link)) == str(real), "whether or not the file exists"
    assert place_of(str(folder / "app.log")) == str(real)
    known: dict[str, str] = {}
    assert place_of(str(folder / "other.log"), known) == str(real.with_name("other.log"))
    assert known == {str(folder): str(real.parent)}


def test_every_link_on_the_way_is_a_place(tmp_path: Path) -> None:
    first, second, real = tmp_path / "a" / "first", tmp_path / "b" / "second", tmp_path / "c" / "real"
    for path in (first, second, real):
        path.parent.mkdir()
    first.symlink_to("../b/second")
    second.symlink_to(real)
    assert places_of(str(first)) == [str(first), str(second), str(real)]


def test_links_in_a_circle_come_to_an_end(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert len(places_of(str(tmp_path / "a"))) <= 40


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("run-1.log", "run-22.log"),
        ("app-20240115.log", "app-2024-01-16_08.log"),
        ("log.2024-Jan-15", "log.2024-Feb-01"),
        ("a.log", "b.log"),
        ("app.log", "app-2.log"),
        ("3f2a9b7c-json.log", "77abdeadbeef-json.log"),
        ("prog.host.log.INFO.20240115-082345.123", "prog.host.log.INFO.20240116-082345.4567"),
    ],
)
def test_names_that_differ_only_in_a_number_a_date_or_an_id_are_alike(name: str, other: str) -> None:
    assert is_like(name, other)
    assert is_like(other, name)


@pytest.mark.parametrize(
    ("name", "other"), [("access.log", "error.log"), ("app.log", "application.log"), ("app-1.log", "app-1.txt")]
)
def test_other_names_are_not_alike(name: str, other: str) -> None:
    assert not is_like(name, other)


def between(folder: Path, former: str, present: str) -> set[str]:
    found = led_to_between(str(folder / former), str(folder / present), FolderListings())
    return {os.path.relpath(path, folder) for path in found}


def test_a_link_may_have_led_to_files_with_names_like_those_before_and_after(tmp_path: Path) -> None:
    for name in ("run-1.log", "run-2.log", "run-3.log", "error-2.log", "run-2.txt"):
        (tmp_path / name).touch()
    assert between(tmp_path, "run-1.log", "run-3.log") == {"run-1.log", "run-2.log"}
    assert between(tmp_path, "run-3.log", "run-3.log") == set(), "the link did not change"


def test_a_link_may_have_led_through_folders_like_those_before_and_after(tmp_path: Path) -> None:
    for name in ("releases/1/log/app.log", "releases/2/log/app.log", "releases/3/log/app.log", "other/2/log/app.log"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    found = between(tmp_path, "releases/1/log/app.log", "releases/3/log/app.log")
    assert found == {"releases/1/log/app.log", "releases/2/log/app.log"}


def test_a_link_may_have_led_to_files_at_different_depths(tmp_path: Path) -> None:
    for name in ("run-1.log", "run-2.log", "new/run-3.log", "new/run-4.log"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert between(tmp_path, "run-1.log", "new/run-4.log") == {"run-1.log", "run-2.log", "new/run-3.log"}


def test_a_link_that_vanishes_while_it_is_looked_at_leads_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_link = os.path.islink

    def look_and_lose(path: str) -> bool:
        found = is_link(path)
        if found:
            os.unlink(path)
        return found

    (tmp_path / "link.log").symlink_to("app.log")
    monkeypatch.setattr(os.path, "islink", look_and_lose)
    assert places_of(str(tmp_path / "link.log")) == [str(tmp_path / "link.log")]
