"""Patterns: which files they match, and which of those are excluded."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from logferry.client.finding.patterns import Discovery, is_pattern, matching

FILES = ("app.log", "b.log", "a/app.log", "a/.hidden.log", "a/b/app.log", ".git/app.log")


@pytest.fixture(autouse=True)
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with some log files."""
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        (["*.log"], ["app.log", "b.log"]),
        (["[ab].log"], ["b.log"]),
        (["?.log"], ["b.log"]),
        (["*/app.log"], ["a/app.log"]),
        ([".*/app.log"], [".git/app.log"]),
        (["a/.*"], ["a/.hidden.log"]),
        (["**/app.log"], ["a/app.log", "a/b/app.log", "app.log"]),
        (["a/**"], ["a/app.log", "a/b/app.log"]),
        (["nothing/*"], []),
        (["b.log", "*.log"], ["b.log", "app.log"]),
        (["missing.log"], ["missing.log"]),
    ],
    ids=str,
)
def test_a_pattern_matches_as_in_a_shell(patterns: Sequence[str], found: Sequence[str]) -> None:
    assert matching(patterns, []) == found


@pytest.mark.parametrize(
    "patterns", [["*.log"], ["?.log"], ["*/app.log"], [".*/app.log"], ["a/.*"], ["**/app.log"], ["a/**"], ["b.log"]]
)
def test_a_name_that_nothing_has_now_is_asked_for_as_if_it_had_been_found(patterns: Sequence[str], tree: Path) -> None:
    found, excluding = set(matching(patterns, [])), Discovery(patterns, ["b.*"])
    assert {name for name in FILES if Discovery(patterns).asks_for(name)} == found
    assert {name for name in FILES if excluding.asks_for(name)} == found - {"b.log"}


def test_an_absolute_pattern_gives_absolute_names(tree: Path) -> None:
    assert matching([f"{tree}/a/*.log"], []) == [f"{tree}/a/app.log"]


def test_a_name_that_exists_as_written_is_not_a_pattern(tree: Path) -> None:
    assert is_pattern("[ab].log")
    (tree / "[ab].log").write_bytes(b"")
    assert not is_pattern("[ab].log")
    assert matching(["[ab].log"], []) == ["[ab].log"]


def test_only_a_named_part_follows_a_link_to_a_folder(tree: Path) -> None:
    (tree / "link").symlink_to("a")
    assert "link/app.log" in matching(["*/app.log"], [])
    assert "link/app.log" not in matching(["**/app.log"], [])


@pytest.mark.parametrize(
    ("exclude", "left"),
    [
        (["app*"], []),
        (["a/*"], ["app.log"]),
        (["b/*"], ["a/app.log", "a/b/app.log", "app.log"]),
        (["*/b/*"], ["a/app.log", "app.log"]),
    ],
    ids=str,
)
def test_an_exclusion_with_a_slash_is_for_paths_and_one_without_is_for_names(
    exclude: Sequence[str], left: Sequence[str]
) -> None:
    assert matching(["**/app.log"], exclude) == left


def test_the_folders_in_which_a_match_may_appear_are_known(tree: Path) -> None:
    discovery = Discovery([f"{tree}/a/*/app.log", "later/app.log", "app.log"])
    discovery.find()
    assert discovery.visited == {f"{tree}/a", f"{tree}/a/b", "later", os.curdir}


def test_a_new_file_is_found_by_the_next_search(tree: Path) -> None:
    discovery = Discovery(["*.log"])
    assert discovery.find() == ["app.log", "b.log"]
    (tree / "c.log").write_bytes(b"")
    assert discovery.find() == ["app.log", "b.log", "c.log"]
