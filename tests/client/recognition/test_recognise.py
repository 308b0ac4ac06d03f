"""Which file is which: known by device, inode and content, whatever its name."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from logferry.client.files.archives.archive import open_content
from logferry.client.files.identity import FINGERPRINT_OF_NOTHING, LEAST_PROOF_BYTES
from logferry.client.files.lines.line_reader import SourceFile
from logferry.client.recognition.recognise import Recogniser, is_copy, is_same_file
from logferry.client.state.checkpoints import Checkpoints
from tests.support.following import compress
from tests.support.shipping import (
    append,
    log_line,
)

pytestmark = pytest.mark.usefixtures("quick_backoff")


class Memory:
    """Checkpoints in memory, of files that were read and stored to their end."""

    def __init__(self) -> None:
        self.checkpoints = Checkpoints(None)
        self._recogniser = Recogniser(self.checkpoints)

    def ship(self, path: Path) -> str:
        """Pretend that a file was shipped; return its source's id."""
        file = SourceFile(path, max_line_bytes=1000)
        while chunk := file.read(is_final=True):
            file.source.committed, file.source.tail = chunk.end, chunk.tail
        self.checkpoints.register(file.source)
        self.checkpoints.save()
        file.close()
        return file.source.id

    def recognise(self, path: Path) -> tuple[str, int]:
        """Return the source that a file is taken for, and where it goes on."""
        file = SourceFile(path, max_line_bytes=1000, content=open_content(path))
        self._recogniser.recognise(file)
        file.close()
        return file.source.id, file.offset


@pytest.fixture
def memory() -> Memory:
    """Return a memory that knows nothing."""
    return Memory()


@pytest.mark.parametrize("lines", [1, 3, 2000])
def test_a_file_is_recognised_whatever_its_name_and_goes_on_where_it_was(
    tmp_path: Path, memory: Memory, lines: int
) -> None:
    log = append(tmp_path / "app.log", range(lines))
    source, size = memory.ship(log), log.stat().st_size
    renamed = append(log.rename(tmp_path / "something-else"), range(lines, lines + 5))
    assert memory.recognise(renamed) == (source, size)


def test_a_file_of_12_bytes_is_recognised(tmp_path: Path, memory: Memory) -> None:
    log = tmp_path / "app.log"
    log.write_bytes(b"hello world\n")
    source = memory.ship(log)
    assert memory.recognise(log) == (source, 12)


# What version 0.1 wrote after it had shipped the one line `2024-01-15 08:23:45 INFO text`.
SAVED_EARLIER = """\
{"version":2,"client":"0123456789abcdef","servers":["127.0.0.1:9000"]}
{"id":"00112233445566aa","path":"%s","device":%d,"inode":%d,"committed":30,"lines":1,"crc32":1790921346,\
"head_bytes":30,"head":"31e82bdbc585563aae9840515df6e536","tail_bytes":30,"tail":"31e82bdbc585563aae9840515df6e536",\
"seen_at":1705307025.5,"renderings":[[0,{}]]}
"""


def test_a_file_is_recognised_by_what_an_earlier_version_has_saved(tmp_path: Path) -> None:
    log, state = tmp_path / "app.log", tmp_path / "state"
    log.write_bytes(b"2024-01-15 08:23:45 INFO text\nnext\n")
    state.mkdir()
    identity = (log.stat().st_dev, log.stat().st_ino)
    (state / "checkpoints.json").write_text(SAVED_EARLIER % (log, *identity))
    checkpoints = Checkpoints(state)
    file = SourceFile(log, max_line_bytes=1000)
    Recogniser(checkpoints).recognise(file)
    assert (file.source.id, file.offset, file.source.crc32) == ("00112233445566aa", 30, 1790921346)
    file.close()
    checkpoints.close()


REWRITTEN = {
    "shorter": lambda data: data[: len(data) // 2].replace(b"line", b"LINE"),
    "cut short": lambda data: data[: len(data) // 2],
    "equal": lambda data: data.replace(b"line", b"LINE"),
    "longer": lambda data: data.replace(b"line", b"LINES"),
    "another beginning": lambda data: data.replace(b"line 0\n", b"line X\n", 1),
    "another end": lambda data: data[:-2] + b"X\n",
    "empty": lambda data: b"",
}


@pytest.mark.parametrize("lines", [4, 500])
@pytest.mark.parametrize("rewrite", REWRITTEN.values(), ids=REWRITTEN.keys())
def test_a_file_with_the_same_inode_and_other_content_is_another_source(
    tmp_path: Path, memory: Memory, rewrite: Callable[[bytes], bytes], lines: int
) -> None:
    """A recycled inode and a file that is rewritten in place look alike, and are treated alike."""
    log = append(tmp_path / "app.log", range(lines))
    source, inode = memory.ship(log), log.stat().st_ino
    log.write_bytes(rewrite(log.read_bytes()))
    assert log.stat().st_ino == inode
    found, offset = memory.recognise(log)
    assert found != source
    assert offset == 0


def test_twins_are_two_sources(tmp_path: Path, memory: Memory) -> None:
    log = append(tmp_path / "app.log", range(100))
    twin = Path(shutil.copy(log, tmp_path / "twin.log"))
    source = memory.ship(log)
    assert memory.recognise(twin)[0] != source
    assert memory.recognise(log)[0] == source


def test_the_last_of_several_runs_of_a_file_is_remembered(
    tmp_path: Path, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = append(tmp_path / "app.log", range(100))
    times = iter([1.0, 2.0, 3.0])
    monkeypatch.setattr("logferry.client.state.checkpoints.time.time", lambda: next(times))
    sources = [memory.ship(log) for _ in range(3)]
    assert memory.recognise(log)[0] == sources[-1]


def test_a_checkpoint_without_any_byte_fits_any_file_of_its_inode(tmp_path: Path, memory: Memory) -> None:
    """The position that the server reports decides (rule E17)."""
    log = tmp_path / "app.log"
    log.touch()
    source = memory.ship(log)
    append(log, range(10))
    assert memory.recognise(log) == (source, 0)


def test_an_unshipped_file_is_known_by_its_content_at_every_start(tmp_path: Path, memory: Memory) -> None:
    log = append(tmp_path / "app.log", range(100))
    file = SourceFile(log, max_line_bytes=1000)
    Recogniser(memory.checkpoints).remember(file)
    file.close()
    for _ in range(2):
        memory.checkpoints.save()
        assert memory.recognise(log) == (file.source.id, 0)
    memory.checkpoints.save()
    log.write_bytes(b"what was written into it after it was copied and truncated\n")
    assert memory.recognise(log)[0] != file.source.id


def test_a_file_that_the_server_has_put_back_is_recognised_by_its_beginning(tmp_path: Path, memory: Memory) -> None:
    """When the server knows less than the checkpoint, the bytes before that offset were not read for it."""
    log = append(tmp_path / "app.log", range(100))
    file = SourceFile(log, max_line_bytes=1000)
    while chunk := file.read():
        file.source.committed, file.source.tail = chunk.end, chunk.tail
    file.source.go_to(len(log_line(0)), 1, 99)
    memory.checkpoints.register(file.source)
    memory.checkpoints.save()
    file.close()
    assert memory.recognise(log) == (file.source.id, len(log_line(0)))


def test_another_open_of_a_file_does_not_disturb_what_is_known_of_it(tmp_path: Path) -> None:
    log = append(tmp_path / "app.log", range(3))
    file = SourceFile(log, max_line_bytes=1000)
    file.read()
    head = file.source.head
    duplicate = file.duplicate()
    duplicate.rewind(0)
    assert duplicate.read(max_lines=1)
    duplicate.close()
    assert file.source.head == head == log.read_bytes()
    file.close()


def test_a_checkpoint_does_not_match_a_shorter_file(tmp_path: Path, memory: Memory) -> None:
    log = append(tmp_path / "app.log", range(100))
    memory.ship(log)
    checkpoint = next(iter(memory.checkpoints))
    os.truncate(log, checkpoint.committed - 1)
    file = SourceFile(log, max_line_bytes=1000)
    assert not is_same_file(file, checkpoint)
    file.close()


# --- a file that took the place of another ----------------------------------------------------------------------------


def replace(log: Path, data: bytes) -> None:
    """Put another file in the place of the log, with other content and another inode."""
    aside = log.with_name("aside")
    aside.write_bytes(data)
    aside.rename(log)


def finish(memory: Memory, source: str) -> None:
    """Pretend that the run that shipped a source expects nothing more of it."""
    memory.checkpoints.change(source, is_finished=True)


@pytest.mark.parametrize("is_finished", [True, False])
def test_a_file_goes_on_in_the_longer_copy_that_replaced_it(tmp_path: Path, memory: Memory, is_finished: bool) -> None:
    """Also if its run has ended: a batch run of a file that rsync brings up to date from time to time."""
    log = append(tmp_path / "app.log", range(100))
    source, size = memory.ship(log), log.stat().st_size
    if is_finished:
        finish(memory, source)
    replace(log, log.read_bytes() + log_line(100))
    assert memory.recognise(log) == (source, size)


def test_a_file_goes_on_where_it_is_stored_although_a_copy_in_between_is_lost(tmp_path: Path, memory: Memory) -> None:
    """The copy was deleted before it was read. What its position says was recorded as lost, and is in the next copy."""
    log = append(tmp_path / "app.log", range(100))
    stored, size = memory.ship(log), log.stat().st_size
    finish(memory, stored)
    replace(log, log.read_bytes() + log_line(100))
    lost = memory.ship(log)
    memory.checkpoints.change(lost, tail_bytes=0, tail=FINGERPRINT_OF_NOTHING, is_finished=True)
    replace(log, log.read_bytes() + log_line(101))
    assert memory.recognise(log) == (stored, size)


def test_a_few_equal_bytes_are_no_proof_that_a_finished_file_goes_on(tmp_path: Path, memory: Memory) -> None:
    log = tmp_path / "app.log"
    log.write_bytes(b"started\n")
    source = memory.ship(log)
    finish(memory, source)
    replace(log, b"started\nready\n")
    assert memory.recognise(log)[1] == 0


def test_an_inode_that_is_used_again_does_not_win_over_a_checkpoint_that_is_further_on(
    tmp_path: Path, memory: Memory
) -> None:
    """The inode's own checkpoint fits too, but the same path was shipped further under another inode."""
    log = append(tmp_path / "app.log", range(100))
    first = memory.ship(log)
    inode = log.rename(tmp_path / "kept")
    replace(log, b"".join(map(log_line, range(200))))
    second, size = memory.ship(log), log.stat().st_size
    log.unlink()
    append(inode, range(100, 250)).rename(log)
    assert first != second
    assert memory.recognise(log) == (second, size)


def test_a_checkpoint_that_is_further_on_does_not_count_if_its_file_is_still_there(
    tmp_path: Path, memory: Memory
) -> None:
    log = append(tmp_path / "app.log", range(100))
    first, size = memory.ship(log), log.stat().st_size
    kept = log.rename(tmp_path / "kept")
    replace(log, b"".join(map(log_line, range(200))))
    memory.ship(log)
    log.rename(tmp_path / "app.log.9")
    append(kept, range(100, 250)).rename(log)
    assert memory.recognise(log) == (first, size)


def test_a_file_is_its_own_source_and_not_a_twin_that_got_equally_far(tmp_path: Path, memory: Memory) -> None:
    log = append(tmp_path / "app.log", range(100))
    first, size = memory.ship(log), log.stat().st_size
    kept = log.rename(tmp_path / "kept")
    replace(log, kept.read_bytes())
    memory.ship(log)
    log.unlink()
    kept.rename(log)
    assert memory.recognise(log) == (first, size)


def test_a_file_that_was_empty_is_not_taken_for_the_one_that_replaced_it(tmp_path: Path, memory: Memory) -> None:
    log = tmp_path / "app.log"
    log.touch()
    source = memory.ship(log)
    replace(log, log_line(0))
    assert memory.recognise(log)[0] != source


@pytest.mark.parametrize("size", [LEAST_PROOF_BYTES - 1, LEAST_PROOF_BYTES])
def test_how_many_equal_bytes_are_a_proof_that_a_finished_file_goes_on(
    tmp_path: Path, memory: Memory, size: int
) -> None:
    log = tmp_path / "app.log"
    log.write_bytes(b"x" * (size - 1) + b"\n")
    finish(memory, memory.ship(log))
    replace(log, log.read_bytes() + b"more\n")
    assert memory.recognise(log)[1] == (size if size >= LEAST_PROOF_BYTES else 0)


@pytest.mark.parametrize("is_finished", [True, False])
def test_a_finished_file_does_not_go_on_in_an_archive(tmp_path: Path, memory: Memory, is_finished: bool) -> None:
    log = append(tmp_path / "app.log", range(100))
    source, size = memory.ship(log), log.stat().st_size
    if is_finished:
        finish(memory, source)
    assert (memory.recognise(compress(log)) == (source, size)) is not is_finished


def test_a_source_goes_on_in_one_of_two_copies(tmp_path: Path, memory: Memory) -> None:
    log = append(tmp_path / "app.log", range(100))
    source, size = memory.ship(log), log.stat().st_size
    copies = [Path(shutil.copy(log, tmp_path / f"app.log.{number}")) for number in (1, 2)]
    log.unlink()
    assert [memory.recognise(copy)[1] for copy in copies] == [size, 0]
    assert memory.recognise(copies[1])[0] != source


@pytest.mark.parametrize("led_to_now", ["/var/pods/2/app.log", ""])
def test_where_a_link_led_is_remembered_unless_it_leads_elsewhere_now(
    tmp_path: Path, memory: Memory, led_to_now: str
) -> None:
    log = append(tmp_path / "app.log", range(3))
    memory.checkpoints.change(memory.ship(log), place="/var/pods/1/app.log")
    file = SourceFile(log, max_line_bytes=1000)
    file.source.place = led_to_now
    Recogniser(memory.checkpoints).recognise(file)
    file.close()
    assert (file.offset > 0, file.source.place) == (True, led_to_now or "/var/pods/1/app.log")


@pytest.mark.parametrize("is_same", [True, False])
def test_a_file_of_the_same_size_is_a_copy_only_if_it_ends_alike(tmp_path: Path, memory: Memory, is_same: bool) -> None:
    log = append(tmp_path / "app.log", range(100))
    checkpoint = memory.checkpoints.of_source(memory.ship(log))
    other = tmp_path / "other"
    data = log.read_bytes()
    other.write_bytes(data if is_same else data[:-5] + b"else\n")
    file = SourceFile(other, max_line_bytes=1000)
    assert checkpoint is not None
    assert is_copy(file, checkpoint) is is_same
    file.close()


def test_a_position_without_its_last_bytes_does_not_match_a_shorter_file(tmp_path: Path, memory: Memory) -> None:
    """As after a server has stated how far it is: what is before that was not read."""
    log = append(tmp_path / "app.log", range(2000))
    source = memory.ship(log)
    memory.checkpoints.change(source, tail_bytes=0, tail=FINGERPRINT_OF_NOTHING)
    assert memory.recognise(log)[0] == source
    os.truncate(log, log.stat().st_size // 2)
    assert memory.recognise(log)[0] != source
