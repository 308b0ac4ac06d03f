"""The checkpoint file in every condition: torn, damaged, of an older version, grown too long."""

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from logferry.client.state import checkpoints as checkpoint_module
from logferry.client.state.checkpoints import Checkpoints
from logferry.client.state.journal import Journal
from logferry.model.source import Source

VERSION_1 = """{"version": 1, "client": "c0ffee", "servers": ["logs:9000"], "sources": [
{"id": "a", "path": "/var/log/a.log", "device": 1, "inode": 2, "committed": 10, "lines": 1, "crc32": 7,
 "head_bytes": 10, "head": "0123", "tail_bytes": 10, "tail": "4567", "plain_until": 0, "is_finished": true,
 "seen_at": 1700000000.5},
{"id": "b", "path": "/var/log/b.log", "device": 1, "inode": 3, "committed": 0, "lines": 0, "crc32": 0,
 "head_bytes": 0, "head": "x", "tail_bytes": 0, "tail": "x", "plain_until": 0, "is_finished": false,
 "seen_at": 2.0}]}"""


def source(name: str, committed: int = 0) -> Source:
    """Return a source of this id that is stored up to `committed`."""
    return Source(f"/var/log/{name}.log", name, device=1, inode=2, committed=committed)


def known(folder: Path) -> dict[str, int]:
    """Return how far each source is stored, as `verify` finds it."""
    return {checkpoint.id: checkpoint.committed for checkpoint in Checkpoints(folder, read_only=True)}


def lines_of(folder: Path) -> list[bytes]:
    """Return the lines of the file; each must be an object."""
    lines = (folder / "checkpoints.json").read_bytes().splitlines(keepends=True)
    assert all(type(json.loads(line)) is dict and line.endswith(b"\n") for line in lines)
    return lines


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """A file of a header and three checkpoints, a line each: `a` up to 1, `b` up to 2 and `a` up to 3."""
    checkpoints = Checkpoints(tmp_path)
    first = source("a", 1)
    checkpoints.register(first)
    checkpoints.register(source("b", 2))
    first.committed = 3
    checkpoints.close()
    assert len(lines_of(tmp_path)) == 4
    return tmp_path / "checkpoints.json"


# --- torn -------------------------------------------------------------------------------------------------------------


def test_a_last_line_that_was_torn_does_not_count_and_is_cut_off(three: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = three.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    for size in range(last, len(whole)):
        three.write_bytes(whole[:size])
        assert known(three.parent) == {"a": 1, "b": 2}
        checkpoints = Checkpoints(three.parent)
        checkpoints.register(source("c", 4))
        checkpoints.close()
        assert known(three.parent) == {"a": 1, "b": 2, "c": 4}
        assert len(lines_of(three.parent)) == 4
    assert not caplog.text


def test_a_disk_that_gets_full_during_a_save_is_logged_once_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    checkpoints = Checkpoints(tmp_path)
    first, second = source("a", 1), source("b", 2)
    checkpoints.register_all([first, second])
    first.committed, second.committed = 3, 4
    real = os.pwrite

    def half(descriptor: int, data: bytes, offset: int) -> int:
        if len(data) < 20:
            raise OSError(28, "No space left on device")
        return real(descriptor, data[: len(data) // 2], offset)

    monkeypatch.setattr(os, "pwrite", half)
    for _ in range(3):
        checkpoints.save()
        assert known(tmp_path).items() <= {("a", 1), ("a", 3), ("b", 2), ("b", 4)}
    monkeypatch.undo()
    assert caplog.text.count("cannot save checkpoints to") == 1
    checkpoints.save()
    assert "are saved to" in caplog.text
    assert known(tmp_path) == {"a": 3, "b": 4}
    assert len(lines_of(tmp_path)) == 5
    checkpoints.close()


def test_a_full_disk_is_not_retried_for_each_new_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    checkpoints = Checkpoints(tmp_path, clock=lambda: now[0])
    tries: list[bytes] = []

    def fail(_: Journal, lines: bytes) -> None:
        tries.append(lines)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Journal, "replace", fail)
    for number in range(1000):
        checkpoints.register(source(str(number)))
    assert len(tries) == 1
    now[0] += 10
    checkpoints.register(source("late"))
    assert len(tries) == 2
    monkeypatch.undo()
    checkpoints.close()
    assert len(known(tmp_path)) == 1001


def test_a_file_that_is_removed_while_the_client_runs_is_written_again(three: Path) -> None:
    checkpoints = Checkpoints(three.parent)
    three.unlink()
    checkpoints.register(source("c", 4))
    assert known(three.parent) == {"a": 3, "b": 2, "c": 4}
    checkpoints.close()


# --- damaged ----------------------------------------------------------------------------------------------------------

DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "garbage": lambda line: b"\xff\x00" + line[2:],
    "no object": lambda line: b"17\n",
    "cut": lambda line: line[:20] + b"\n",
    "deep": lambda line: b"[" * 200_000 + b"\n",
    "a field missing": lambda line: line.replace(b'"path"', b'"pass"'),
    "wrong type": lambda line: line.replace(b'"committed":2', b'"committed":"2"'),
    "huge hash": lambda line: line.replace(b'"committed":2', b'"committed":99999,"head_bytes":9999'),
    "hash beyond": lambda line: line.replace(b'"committed":2', b'"committed":2,"tail_bytes":3'),
    "renderings": lambda line: line.replace(b'"committed":2', b'"committed":2,"renderings":[[0,17]]'),
    "rendering of another version": lambda line: line.replace(
        b'"committed":2', b'"committed":2,"renderings":[[0,{"style":"bold"}]]'
    ),
    "renderings out of order": lambda line: line.replace(
        b'"committed":2', b'"committed":2,"renderings":[[5,{}],[0,{}]]'
    ),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_what_is_readable_of_a_damaged_file_is_used_and_the_file_is_kept_and_written_anew(
    three: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[bytes], bytes]
) -> None:
    lines = lines_of(three.parent)
    spoiled = damage(lines[2])
    assert spoiled != lines[2]
    damaged = b"".join([*lines[:2], spoiled, lines[3]])
    three.write_bytes(damaged)
    assert known(three.parent) == {"a": 3}
    assert not three.with_name("checkpoints.json.damaged").exists()  # a read-only process changes nothing
    caplog.clear()
    client_id = json.loads(lines[0])["client"]
    checkpoints = Checkpoints(three.parent)
    assert "cannot read all of the checkpoints in" in caplog.text
    assert "(damaged lines: 1)" in caplog.text
    assert "may be stored again" in caplog.text
    assert checkpoints.client_id == client_id
    checkpoints.close()
    assert len(lines_of(three.parent)) == 2
    assert known(three.parent) == {"a": 3}
    kept = three.with_name("checkpoints.json.damaged")
    assert kept.read_bytes() == damaged
    assert kept.stat().st_mode & 0o777 == 0o600


def test_a_first_line_that_cannot_be_read_costs_no_checkpoint(three: Path) -> None:
    three.write_bytes(b"\x00" * 10 + three.read_bytes())
    checkpoints = Checkpoints(three.parent)
    checkpoints.close()
    assert known(three.parent) == {"a": 3, "b": 2}
    assert json.loads(lines_of(three.parent)[0])["client"] == checkpoints.client_id


def test_a_damaged_first_line_does_not_cost_the_id_of_the_client(tmp_path: Path) -> None:
    """Without it, a server would refuse every source (rule E36)."""
    checkpoints = Checkpoints(tmp_path)
    checkpoints.register(source("a", 1))
    checkpoints.learn_extension("logs:9000")
    checkpoints.close()
    for _ in range(3):  # the file that replaces a damaged one holds the id twice again
        path = tmp_path / "checkpoints.json"
        first, rest = path.read_bytes().split(b"\n", 1)
        path.write_bytes(bytes(len(first)) + b"\n" + rest)
        found = Checkpoints(tmp_path)
        assert found.client_id == checkpoints.client_id
        found.close()


@pytest.mark.parametrize("value", ["", "x" * 256, "\ud800", 7, None, ["a"]])
def test_what_is_not_an_id_that_a_server_accepts_is_damage(tmp_path: Path, value: object) -> None:
    """With such an id, no server would welcome the client."""
    entry = {"version": 3, "client": value, "servers": []}
    (tmp_path / "checkpoints.json").write_text(json.dumps(entry) + "\n")
    checkpoints = Checkpoints(tmp_path)
    assert len(checkpoints.client_id) == 32
    checkpoints.close()
    assert (tmp_path / "checkpoints.json.damaged").exists()


# --- of version 1 -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [VERSION_1, VERSION_1 + "\n", json.dumps(json.loads(VERSION_1))])
def test_a_file_of_version_1_is_read_and_replaced_at_the_next_save(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    path = tmp_path / "checkpoints.json"
    path.write_text(text)
    assert known(tmp_path) == {"a": 10, "b": 0}
    assert path.read_text() == text
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.client_id == "c0ffee"
    assert checkpoints.knows_extension("logs:9000")
    (first,) = checkpoints.of_path("/var/log/a.log")
    assert (first.lines, first.crc32, first.head, first.is_finished, first.seen_at) == (1, 7, "0123", True, 1.7e9 + 0.5)
    assert first.renderings == ()
    checkpoints.save()
    assert json.loads(lines_of(tmp_path)[0]) == {"version": 4, "client": "c0ffee", "servers": ["logs:9000"]}
    assert {checkpoint.id: checkpoint for checkpoint in Checkpoints(tmp_path, read_only=True)}["a"] == first
    checkpoints.close()
    assert not caplog.text


def test_a_damaged_entry_of_version_1_costs_no_other(tmp_path: Path) -> None:
    (tmp_path / "checkpoints.json").write_text(VERSION_1.replace('"inode": 2', '"inode": "2"'))
    Checkpoints(tmp_path).close()
    assert known(tmp_path) == {"b": 0}
    assert (tmp_path / "checkpoints.json.damaged").exists()


# --- grown too long ---------------------------------------------------------------------------------------------------


def test_a_journal_of_outdated_lines_is_replaced_by_one_of_current_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_module, "_OUTDATED_LINES", 20)
    replacements: list[bytes] = []
    replace = Journal.replace

    def count(journal: Journal, lines: bytes) -> None:
        replacements.append(lines)
        replace(journal, lines)

    monkeypatch.setattr(Journal, "replace", count)
    checkpoints = Checkpoints(tmp_path)
    sources = [source(str(number)) for number in range(10)]
    checkpoints.register_all(sources)
    for committed in range(1, 201):
        sources[3].committed = committed
        checkpoints.save()
        assert known(tmp_path) == {str(number): committed if number == 3 else 0 for number in range(10)}
        assert len(lines_of(tmp_path)) <= 2 * 10 + 20
    assert len(replacements) <= 1 + 200 // 25
    checkpoints.close()


def test_a_newly_known_server_is_appended(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.register(source("a"))
    checkpoints.learn_extension("logs:9000")
    checkpoints.learn_extension("logs:9001")
    checkpoints.learn_extension("logs:9000")
    checkpoints.register(source("b"))
    *_, said, last = map(json.loads, lines_of(tmp_path))
    assert said == {"client": checkpoints.client_id, "servers": ["logs:9000", "logs:9001"]}
    assert last["id"] == "b"
    assert len(lines_of(tmp_path)) == 5
    checkpoints.close()
    again = Checkpoints(tmp_path, read_only=True)
    assert again.knows_extension("logs:9000")
    assert again.knows_extension("logs:9001")
    assert again.client_id == checkpoints.client_id


def test_a_wrong_digit_does_not_pass_for_another_offset(three: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A larger offset from which a source is asked for would let the client skip what is before it."""
    lines = three.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b'"committed":2', b'"committed":7')
    three.write_bytes(b"".join(lines))
    assert known(three.parent) == {"a": 3}
    assert "its checksum does not match (damaged lines: 1)" in caplog.text


def test_lines_without_a_checksum_are_those_of_an_earlier_version(three: Path) -> None:
    without = [line.partition(b',"sum":')[0] + b"}" for line in three.read_bytes().splitlines()]
    three.write_bytes(b"\n".join([*without[:1], *without[1:], b""]).replace(b"}}", b"}"))
    assert known(three.parent) == {"a": 3, "b": 2}
