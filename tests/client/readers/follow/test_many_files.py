"""Many files at the same time: which of them are followed, in what turns, and with how few descriptors."""

import os
import resource
import sys
from functools import partial
from pathlib import Path

import pytest

from logferry.model.chunk import Chunk
from tests.support.following import Observed, Scene, created_with_inode_of
from tests.support.processes import ROOT, client, program
from tests.support.running import running_server, wait_until
from tests.support.shipping import append, log_line

# Legal file names, none of which suits code like `name.split()`.
ODD_NAMES = [
    *(b"with space.log", b"two\nlines.log", b"[ab].log", b"a.log", b"star*.log", b"what?.log", b"back\\slash.log"),
    *(b"caf\xe9.log", b"\xff\xfe.log", b"-rf.log", b"'quoted\".log", b"tab\t.log", "日本語.log".encode(), b"a:b.log"),
    *(b"cafe\xcc\x81.log", b"x" * 250 + b".log", b"{}.log", b"%s.log", b"\x01\x1b[31m.log"),
]


def fill(folder: Path, names: list[str], lines: int, *, first: int = 0) -> dict[Path, range]:
    """Write a file for each name; return the numbers of the lines that are in it, a thousand further on for each."""
    files = {folder / name: range(index * 1000, index * 1000 + lines) for index, name in enumerate(names, first)}
    for path, numbers in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        append(path, numbers)
    return files


def all_of(files: dict[Path, range]) -> list[int]:
    """Return the numbers of all lines."""
    return [number for numbers in files.values() for number in numbers]


# --- which files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["flags", "environment"])
def test_names_and_patterns_may_be_given_several_times_or_separated_by_colons(scene: Scene, way: str) -> None:
    files = fill(scene.folder, ["one.log", "two.log", "a/deep/three.log", "a/four.log", "a/b/c/five.log"], 10)
    fill(scene.folder, ["one.txt", "a/.hidden.log", "a/four.log.gz", "a/skipped.log", "b/six.log"], 5)
    names: list[Path | str] = [scene.folder / "one.log", scene.folder / "tw?.[kl]og", f"{scene.folder}/a/**/*.log"]
    exclude = ["skipped*", f"{scene.folder}/b/*"]
    words, env = ["--mode", "continuous"], {}
    if way == "flags":
        words += [word for name in names for word in ("--log-file", str(name))]
        words += [word for pattern in exclude for word in ("--exclude", pattern)]
    else:
        env = {"LOG_FILE": ":".join(map(str, names)), "LOGFERRY_EXCLUDE": ":".join(exclude)}
    with client(None, scene.server.port, *words, folder=scene.tmp_path, env=env) as run:
        wait_until(lambda: scene.server.stats.lines_stored >= 50, "all is stored")
        assert run.terminate() == 0
    scene.names, scene.settings = names, {"exclude": tuple(exclude)}
    scene.conclude(all_of(files), proven=files)


def test_files_and_folders_that_appear_are_followed(scene: Scene) -> None:
    scene.names = [scene.folder / "**" / "*.log"]
    scene.settings = {"exclude": ("not-*", "*/secret/*")}
    files = fill(scene.folder, ["a.log"], 10)
    with scene.running() as run:
        run.settle()
        files |= fill(
            scene.folder, [f"{number}/b.log" for number in range(3)] + ["new/newer/newest/c.log"], 10, first=1
        )
        fill(scene.folder, ["not-this.log", "secret/d.log", "new/e.txt", ".hidden/f.log"], 10)
        run.settle()
        (scene.folder / "new" / "newer").rename(scene.folder / "moved")
        append(scene.folder / "moved" / "newest" / "c.log", [9999])
        run.settle()
    numbers = [*all_of(files), 9999]
    del files[scene.folder / "new" / "newer" / "newest" / "c.log"]
    scene.conclude(numbers, proven=[*files, scene.folder / "moved" / "newest" / "c.log"])


def test_files_with_odd_names_are_followed_found_and_rotated_as_any_other(scene: Scene) -> None:
    files = fill(scene.folder, [os.fsdecode(name) for name in ODD_NAMES], 5)
    scene.names = [scene.folder / "*.log"]
    with scene.running() as run:
        run.settle()
        for path in files:
            append(path, range(files[path].stop, files[path].stop + 5))
            path.rename(path.with_name(path.name[:200] + ".1"))
            append(path, range(files[path].stop + 5, files[path].stop + 10))
        run.settle()
    rotated = [path.with_name(path.name[:200] + ".1") for path in files]
    numbers = [number for held in files.values() for number in range(held.start, held.stop + 10)]
    scene.conclude(numbers, proven=[*files, *rotated])


@pytest.mark.parametrize("name", [name for name in ODD_NAMES if any(sign in name for sign in b"*?[")])
def test_a_name_that_exists_literally_is_not_a_pattern(scene: Scene, name: bytes) -> None:
    wanted = scene.folder / os.fsdecode(name)
    scene.names = [wanted]
    append(wanted, range(10))
    for other in ("a.log", "b.log", "starling.log", "whats.log"):
        append(scene.folder / other, range(1000, 1005))
    scene.conclude(range(10), proven=[wanted])


def test_a_file_that_two_patterns_match_is_followed_once(scene: Scene) -> None:
    files = fill(scene.folder, ["a.log", "b.log"], 10)
    link = scene.folder / "link.log"
    link.symlink_to(scene.folder / "a.log")
    os.link(scene.folder / "b.log", scene.folder / "hard.log")
    scene.names = [scene.folder / "*.log", scene.folder / "a.log", f"{scene.folder}/./b.log"]
    with scene.running() as run:
        run.settle()
        for path in files:
            append(path, [files[path].stop])
        run.settle()
    scene.conclude([number for held in files.values() for number in [*held, held.stop]], proven=files)


# --- turns ------------------------------------------------------------------------------------------------------------


class Race:
    """A fast file that grows by as much as was read of it, and a slow one that gets a line at every fifth chunk of it.

    All of it happens in the client's thread, so it is the same every time. `waits` counts, for each line of the slow
    file, the chunks of the fast one that were read between a look that could see the line, and the line.
    """

    def __init__(self, folder: Path, *, lines_per_chunk: int) -> None:
        self.fast, self.slow = folder / "fast.log", folder / "slow.log"
        self.reader: Observed | None = None
        self.written: list[int] = []
        self.waits: list[int] = []
        self._lines_per_chunk = lines_per_chunk
        self._chunks = 0
        self._seen_from = 0  # the look that can see the newest line of the slow file
        self._waiting = 0
        for _ in range(20):
            self._write(self.fast, lines_per_chunk)
        self._write(self.slow, 1)

    def _write(self, path: Path, lines: int) -> None:
        numbers = range(10_000 + len(self.written), 10_000 + len(self.written) + lines)
        append(path, numbers)
        self.written += numbers

    def go_on(self, chunk: Chunk | None) -> None:
        """A chunk was read."""
        if chunk is None or self.reader is None:
            return
        if chunk.source.path == str(self.slow):
            self.waits.append(self._waiting)
            self._waiting = 0
            self._seen_from = sys.maxsize
            return
        self._waiting += self.reader.polls >= self._seen_from
        self._chunks += 1
        if len(self.waits) < 20:
            self._write(self.fast, self._lines_per_chunk)
            if self._chunks % 5 == 0:
                self._write(self.slow, 1)
                self._seen_from = min(self._seen_from, self.reader.polls + 1)


def test_a_file_that_grows_as_fast_as_it_is_read_starves_no_other(scene: Scene, one_batch_at_a_time: int) -> None:
    race = Race(scene.folder, lines_per_chunk=one_batch_at_a_time)
    scene.names = [race.fast, race.slow]
    scene.reader_options = {"is_paused": True}
    with scene.running() as run:
        race.reader, run.reader.after_read, run.reader.is_paused = run.reader, race.go_on, False
        run.settle()
    scene.reader_options = {}
    assert len(race.waits) >= 20
    assert max(race.waits) <= 1
    scene.conclude(race.written, proven=[race.fast, race.slow])


# --- few descriptors --------------------------------------------------------------------------------------------------


def open_logs(folder: Path) -> int:
    """Return how many files in a folder this process has open for reading."""
    return sum(map(partial(_is_read_in, folder), os.listdir("/proc/self/fd")))


def _is_read_in(folder: Path, descriptor: str) -> bool:
    try:
        flags = int(Path(f"/proc/self/fdinfo/{descriptor}").read_text().split()[3], 8)
        return flags & os.O_ACCMODE == os.O_RDONLY and os.readlink(f"/proc/self/fd/{descriptor}").startswith(
            f"{folder}/"
        )
    except OSError:
        return False  # closed since


def test_more_files_than_descriptors_take_turns_which_is_logged_once(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    files = fill(scene.folder, [f"{number}.log" for number in range(60)], 3)
    scene.names = [scene.folder / "*.log"]
    most = 0

    def count(_: Chunk | None) -> None:
        nonlocal most
        most = max(most, open_logs(scene.folder))

    with scene.running(max_open_files=8) as run:
        run.reader.after_read = count
        for end in (3, 4, 5):
            for path, numbers in files.items():
                append(path, range(numbers.start + end, numbers.start + end + 1))
            run.settle()
        renamed = [path.rename(path.with_suffix(".log.1")) for path in list(files)[::3]]
        for path in list(files)[::3]:
            append(path, range(files[path].start + 10, files[path].start + 12))
        run.settle()
    assert 0 < most <= 8
    assert caplog.text.count("files take turns") == 1
    extra = [files[path].start + number for path in list(files)[::3] for number in (10, 11)]
    always = [held.start + number for held in files.values() for number in range(6)]
    scene.conclude([*always, *extra], proven=[*files, *renamed])


def test_a_file_that_is_deleted_unread_while_its_descriptor_is_lent_is_reported_lost(scene: Scene) -> None:
    files = fill(scene.folder, [f"{number:02}.log" for number in range(20)], 3)
    scene.names = [scene.folder / "*.log"]
    victim = scene.folder / "00.log"
    with scene.running(max_open_files=8) as run:
        run.settle()
        with run.paused():
            size = victim.stat().st_size
            append(victim, [999])
            run.look()
            for path in list(files)[1:]:  # the descriptor of the first one is lent to these
                append(path, [files[path].stop])
                files[path] = range(files[path].start, files[path].stop + 1)
            run.look()
            victim.unlink()
        run.settle()
    assert run.shipping.counters.bytes_lost == len(log_line(999))
    del files[victim]
    scene.conclude(
        [*all_of(files), 0, 1, 2],
        proven=files,
        lost=lambda loss: (loss.start, loss.end) == (size, size + len(log_line(999))),
        unknown=[size + len(log_line(999))],
    )


@pytest.mark.parametrize("lines", [5, 9, 15], ids=["shorter", "equal", "longer"])
def test_an_inode_that_is_used_again_while_its_descriptor_is_lent_is_another_file(scene: Scene, lines: int) -> None:
    files = fill(scene.folder, [f"{number:02}.log" for number in range(20)], 9)
    scene.names = [scene.folder / "*.log"]
    with scene.running(max_open_files=8) as run:
        run.settle()
        for path in list(files)[1:]:  # the descriptor of the first one is lent to these
            append(path, [files[path].stop])
            files[path] = range(files[path].start, files[path].stop + 1)
        run.settle()
        append(created_with_inode_of(scene.folder / "00.log"), range(100, 100 + lines))
        run.settle()
    gone = sum(len(log_line(number)) for number in range(9))
    scene.conclude([*all_of(files), *range(100, 100 + lines)], proven=files, unknown=[gone])


def few_descriptors() -> None:
    """Let a process have 96 of them, whatever it asks for."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (96, 96))


def test_a_process_with_few_descriptors_follows_hundreds_of_files_and_their_rotations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_server(tmp_path, durability="os") as server:
        scene = Scene(tmp_path, server, monkeypatch)
        files = fill(scene.folder, [f"{number % 7}/{number:03}.log" for number in range(500)], 2)
        scene.names = [scene.folder / "**" / "*.log"]
        words: list[str | Path] = ["--mode", "continuous", "--batch-size", "auto", "--state-dir", scene.state]
        words += ["--server-host", "127.0.0.1", "--server-port", str(server.port), "--log-file", scene.names[0]]
        renamed, numbers = [], all_of(files)
        with program(sys.executable, ROOT / "main.py", *words, folder=tmp_path, limits=few_descriptors) as run:
            wait_until(lambda: server.stats.lines_stored >= len(numbers), "all is stored")
            for path, held in files.items():
                append(path, [held.stop])
                numbers.append(held.stop)
                if held.start % 5000 == 0:
                    renamed.append(path.rename(path.with_suffix(".log.1")))
                    append(path, [held.stop + 1])
                    numbers.append(held.stop + 1)
            wait_until(lambda: server.stats.lines_stored >= len(numbers), "all that came since is stored")
            assert run.terminate() == 0
        assert run.stderr.count("files take turns") == 1
        scene.conclude(numbers, proven=[*list(files)[::50], *renamed[::10]])


def test_a_thousand_files_in_one_folder_are_all_shipped_and_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_server(tmp_path, durability="os") as server:  # a thousand segments on the disk take it seconds
        scene = Scene(tmp_path, server, monkeypatch)
        files = fill(scene.folder, [f"{number:04}.log" for number in range(1000)], 2)
        scene.names = [scene.folder / "*.log"]
        with scene.running() as run:
            run.settle()
            append(scene.folder / "0777.log", [777_002])
            run.settle()
        scene.conclude([*all_of(files), 777_002], proven=list(files)[770:780])
