"""A copy that has a name of its own beside its original: what it repeats is stored once, what is its own is stored."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from logferry.client.files.content.fd_pool import DescriptorPool
from logferry.client.files.identity import LEAST_PROOF_BYTES
from logferry.client.finding.listing import FolderListings
from logferry.client.readers.follow import repetition
from logferry.client.readers.follow.followed.copies import SkipTo, Wait
from logferry.client.readers.follow.followed.file import FollowedFile
from logferry.client.readers.follow.followed.name import FollowedName
from logferry.client.readers.follow.followed.registry import Registry
from logferry.client.readers.follow.repetition import Repetitions
from logferry.client.readers.input_rules import InputRules
from logferry.config import InputSettings
from tests.client.readers.follow.test_identity import dwarf_line
from tests.support.following import Run, Scene, settle_copies_at_once
from tests.support.running import numbered_line
from tests.support.shipping import append, input_settings, log_line

LINE = len(log_line(0))


@pytest.fixture(autouse=True)
def followed_by_pattern(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Follow whatever begins like the log, and do not wait long for a truncation."""
    settle_copies_at_once(monkeypatch)
    scene.names = [scene.folder / "app.log*"]


def copied(scene: Scene, name: str = "app.log0") -> Path:
    """Copy the log to a name that only begins like its own."""
    return Path(shutil.copy(scene.log, scene.folder / name))


def go_on(scene: Scene, copy: Path) -> None:
    """Append to the log and to its copy, each its own lines."""
    append(scene.log, range(20, 25))
    append(copy, range(100, 105))


@pytest.mark.parametrize("name", ["app.log0", "app.log~", "app.log-copy"])
def test_a_copy_that_is_made_while_the_client_runs_is_not_stored_again(scene: Scene, name: str) -> None:
    append(scene.log, range(20))
    with scene.running() as run:
        run.settle()
        copy = copied(scene, name)
        run.settle()
        go_on(scene, copy)
        run.settle()
    scene.conclude([*range(25), *range(100, 105)], proven=[scene.log, copy], lost=is_skipped)


@pytest.mark.parametrize("is_known", [True, False], ids=["shipped", "new"])
def test_a_copy_that_is_there_at_the_start_is_not_stored_again(scene: Scene, is_known: bool) -> None:
    append(scene.log, range(20))
    if is_known:
        scene.follow()
    copy = copied(scene)
    with scene.running() as run:
        run.settle()
        go_on(scene, copy)
        run.settle()
    scene.conclude([*range(25), *range(100, 105)], proven=[scene.log, copy], lost=is_skipped)


def rename(scene: Scene, run: Run) -> list[int]:
    """Rename the original, and begin another file of its name."""
    scene.log.rename(scene.folder / "app.log.1")
    append(scene.log, range(20, 25))
    run.settle()
    return list(range(20, 25))


def delete(scene: Scene, run: Run) -> list[int]:
    """Delete the original."""
    scene.log.unlink()
    run.look()
    return []


@pytest.mark.parametrize("act", [rename, delete])
def test_a_copy_of_a_file_that_loses_its_name_is_not_stored_again(
    scene: Scene, act: Callable[[Scene, Run], list[int]]
) -> None:
    append(scene.log, range(20))
    with scene.running() as run:
        run.settle()
        copy = copied(scene)
        more = act(scene, run)
        run.settle()
        append(copy, range(100, 105))
        run.settle()
    scene.follow()
    expected = [*range(20), *more, *range(100, 105)]
    assert sorted(scene.server.stored_lines()) == sorted(map(numbered_line, expected))


def test_a_copy_with_the_beginning_of_a_line_is_read_from_there(scene: Scene) -> None:
    append(scene.log, range(20))
    with scene.running() as run:
        run.settle()
        with run.paused():
            scene.log.write_bytes(scene.log.read_bytes() + log_line(20)[:-4])
            copy = copied(scene)
            with scene.log.open("ab") as file:
                file.write(log_line(20)[-4:])
        run.settle()
        with copy.open("ab") as file:
            file.write(log_line(555)[-5:])
        run.settle()
    scene.conclude([*range(21), 555], proven=[scene.log, copy], lost=is_skipped)


HEADER = b"#Software: a program\n#Version: 1.0\n#Date: today\n#Fields: some\n"
assert len(HEADER) < LEAST_PROOF_BYTES


@pytest.mark.parametrize("common", [0, 7])
def test_an_independent_file_that_begins_alike_and_goes_on_in_another_way_is_stored(scene: Scene, common: int) -> None:
    scene.log.write_bytes(HEADER + b"".join(map(log_line, range(10))))
    other = scene.folder / "app.log0"
    with scene.running() as run:
        run.settle()
        other.write_bytes(HEADER + b"".join(map(log_line, [*range(common), 555])))
        run.settle()
        append(other, [556])
        run.settle()
    conclude_with_headers(scene, [*range(10), *range(common), 555, 556], proven=[scene.log, other])


def test_a_short_header_alone_is_stored_for_each_file(scene: Scene) -> None:
    scene.log.write_bytes(HEADER + log_line(0))
    other = scene.folder / "app.log0"
    with scene.running() as run:
        run.settle()
        other.write_bytes(HEADER)
        run.settle()
        append(other, [1])
        run.settle()
    conclude_with_headers(scene, [0, 1], proven=[scene.log, other])


def conclude_with_headers(scene: Scene, numbers: list[int], *, proven: list[Path]) -> None:
    """Conclude with these lines, and a header of each of two files."""
    scene.follow()
    headers = [dwarf_line(line.decode()) for line in HEADER.splitlines() * 2]
    scene.reckon([*headers, *map(numbered_line, numbers)], proven=proven)


def test_a_copy_of_what_was_not_asked_for_is_stored(scene: Scene) -> None:
    append(scene.log, range(20))
    with scene.running(start_at="end") as run:
        run.settle()
        copy = copied(scene)
        run.settle()
    assert sorted(scene.server.stored_lines()) == sorted(map(numbered_line, range(20)))
    assert scene.verdict(copy).is_proven


def is_skipped(loss: object) -> bool:
    """Whether a range was skipped because it is stored from the original."""
    return "shipped already" in str(loss)


# --- the judgement ----------------------------------------------------------------------------------------------------


class Pair:
    """A followed file that is acked to its end, and a suspect beside it."""

    def __init__(self, folder: Path, original: bytes, suspect: bytes, **settings: Any) -> None:
        self.registry = Registry()
        self.original = self._add(folder / "app.log", original, input_settings("app.log"))
        self.suspect = self._add(folder / "app.log0", suspect, input_settings("app.log", **settings))
        self.suspect.is_suspect = True
        self.original.learn_head()
        self.original.source.committed = len(original)
        self.repetitions = Repetitions(self.registry)

    def _add(self, path: Path, data: bytes, settings: InputSettings) -> FollowedFile:
        path.write_bytes(data)
        self.registry.add_name(FollowedName(str(path), InputRules(settings)))
        file = FollowedFile(str(path), str(path), descriptors=DescriptorPool(8), folders=FolderListings(), now=0.0)
        self.registry.add(file)
        return file

    def verdict(self) -> SkipTo | Wait | None:
        """Judge the suspect, if it has an original."""
        found = self.repetitions.original_of(self.suspect)
        return None if found is None else self.repetitions.judge(self.suspect, found)


LINES = b"".join(map(log_line, range(1000)))


def test_a_file_that_differs_far_from_both_ends_is_not_a_repetition(tmp_path: Path) -> None:
    pair = Pair(tmp_path, LINES, LINES.replace(b"line 500\n", b"line 5oo\n"))
    assert pair.verdict() is None


def test_a_repetition_waits_until_its_original_is_acked_that_far(tmp_path: Path) -> None:
    pair = Pair(tmp_path, LINES, LINES[: LINE * 10])
    pair.original.source.committed = LINE * 10 - 1
    assert pair.verdict() == Wait()
    pair.original.source.committed = LINE * 10
    assert pair.verdict() == SkipTo(LINE * 10)


def test_a_repetition_that_is_rendered_in_another_way_is_none(tmp_path: Path) -> None:
    assert Pair(tmp_path, LINES, LINES, include=("line 1",)).verdict() is None


def test_a_large_file_is_compared_a_little_in_each_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repetition, "_BYTES_PER_LOOK", len(LINES) // 3 + 1)
    monkeypatch.setattr(repetition, "_PIECE_BYTES", 1000)
    pair = Pair(tmp_path, LINES, LINES)
    assert [pair.verdict() for _ in range(3)] == [Wait(), Wait(), SkipTo(len(LINES))]


def test_a_file_that_grows_is_compared_anew(tmp_path: Path) -> None:
    pair = Pair(tmp_path, LINES, LINES[: LINE * 10])
    pair.suspect.weigh(0.0, longest_step_s=1.0)
    assert pair.verdict() == SkipTo(LINE * 10)
    pair.suspect.path.write_bytes(LINES[: LINE * 12])
    pair.suspect.weigh(1.0, longest_step_s=1.0)
    assert pair.suspect.same_until == ("", 0)


@pytest.mark.parametrize("size", [LEAST_PROOF_BYTES - 1, LEAST_PROOF_BYTES])
def test_fewer_bytes_may_be_alike_by_chance(tmp_path: Path, size: int) -> None:
    data = b"x" * (size - 1) + b"\n"
    assert Pair(tmp_path, data + LINES, data).verdict() == (SkipTo(size) if size == LEAST_PROOF_BYTES else None)
