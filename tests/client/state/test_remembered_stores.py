"""What the checkpoints remember of each store: how far a source is stored there, and what the store had before."""

import json
import sys
from pathlib import Path

import pytest

from logferry.client.state.checkpoint import Checkpoint, checkpoint_of, from_entry, to_entry
from logferry.client.state.checkpoints import Checkpoints
from logferry.model.source import Source
from logferry.printable import moment

VERSION_2 = """{"version":2,"client":"c0ffee","servers":["logs:9000"]}
{"id":"a","path":"/var/log/a.log","device":1,"inode":2,"committed":10,"lines":1,"crc32":7,"seen_at":1700000000.5}
{"id":"b","path":"/var/log/b.log","device":1,"inode":3,"committed":20,"plain_until":20,"seen_at":2.0}
{"forget":"b"}
"""
X, Y = "x" * 16, "y" * 16


def source(committed: int = 0, *, store: str = "") -> Source:
    return Source("/var/log/app.log", "s1", device=1, inode=2, committed=committed, store=store)


def reread(folder: Path) -> Checkpoint:
    (checkpoint,) = Checkpoints(folder, read_only=True)
    return checkpoint


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    """Checkpoints in a folder."""
    return Checkpoints(tmp_path)


def move(checkpoints: Checkpoints, source: Source, committed: int, *, store: str) -> None:
    source.committed, source.store = committed, store
    checkpoints.follow(source)
    checkpoints.save()


def test_a_source_remembers_which_store_has_it(tmp_path: Path, checkpoints: Checkpoints) -> None:
    shipped = source(9120, store=X)
    shipped.plain_until, shipped.plain_server, shipped.asked_from = 500, "logs:9000", 100
    checkpoints.register(shipped)
    checkpoints.close()
    found = reread(tmp_path)
    assert (found.store, found.committed, found.elsewhere) == (X, 9120, ())
    assert (found.plain_until, found.plain_server, found.asked_from) == (500, "logs:9000", 100)


def test_a_store_that_was_set_back_had_more(tmp_path: Path, checkpoints: Checkpoints) -> None:
    shipped = source(9120, store=X)
    checkpoints.register(shipped)
    (before,) = checkpoints
    move(checkpoints, shipped, 3000, store=X)
    when = moment(before.seen_at)
    assert reread(tmp_path).why_missing(X, found=3000) == (
        f"the server was set back: it had 9120 bytes of this source on {when}"
    )
    move(checkpoints, shipped, 2000, store=X)  # set back once more: it had 9120 bytes all the same
    assert "it had 9120 bytes" in reread(tmp_path).why_missing(X, found=2000)
    move(checkpoints, shipped, 9120, store=X)
    assert reread(tmp_path).elsewhere == ()
    assert reread(tmp_path).why_missing(X, found=9120) == ""
    checkpoints.close()


def test_each_store_is_remembered_and_one_that_catches_up_is_not_set_back(
    tmp_path: Path, checkpoints: Checkpoints
) -> None:
    shipped = source(9120, store=X)
    checkpoints.register(shipped)
    move(checkpoints, shipped, 0, store=Y)
    why = reread(tmp_path).why_missing(Y, found=0)
    assert why.startswith(f"another store: store {X} had 9120 bytes of this source on ")
    assert "set back: it had 9120 bytes" in reread(tmp_path).why_missing(X, found=4000)
    move(checkpoints, shipped, 12000, store=Y)
    move(checkpoints, shipped, 9120, store=X)
    found = reread(tmp_path)
    assert [(mark.store, mark.committed) for mark in found.elsewhere] == [(Y, 12000)]
    assert found.why_missing(X, found=9120).startswith(f"another store: store {Y} had 12000 bytes")
    checkpoints.close()


def test_only_the_last_few_stores_are_remembered(tmp_path: Path, checkpoints: Checkpoints) -> None:
    shipped = source(10, store="s0")
    checkpoints.register(shipped)
    for number in range(1, 50):
        move(checkpoints, shipped, 10 + number, store=f"s{number}")
    assert [mark.store for mark in reread(tmp_path).elsewhere] == ["s45", "s46", "s47", "s48"]
    checkpoints.close()


def test_an_id_is_kept_once_in_memory_however_many_sources_a_store_has(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.register_all(Source(f"/{n}.log", str(n), device=1, inode=n, committed=5, store=X) for n in range(100))
    checkpoints.close()
    assert {id(known.store) for known in Checkpoints(tmp_path, read_only=True)} == {id(sys.intern(X))}


def test_a_file_of_version_2_is_read_and_replaced_at_the_next_save(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "checkpoints.json"
    path.write_text(VERSION_2)
    assert reread(tmp_path).store == ""
    assert path.read_text() == VERSION_2
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.client_id == "c0ffee"
    checkpoints.close()
    header, entry, again = map(json.loads, path.read_text().splitlines())
    assert header == {"version": 4, **again} == {"version": 4, "client": "c0ffee", "servers": ["logs:9000"]}
    assert (entry["id"], entry["committed"]) == ("a", 10)
    assert not caplog.text


def test_a_source_of_version_2_that_a_server_has_less_of_says_what_is_known(tmp_path: Path) -> None:
    (tmp_path / "checkpoints.json").write_text(VERSION_2)
    found = reread(tmp_path)
    had = f"the server had 10 bytes of this source on {moment(1700000000.5)}"
    assert found.why_missing(X, found=3) == found.why_missing("", found=3) == had
    assert found.why_missing(X, found=10) == ""


@pytest.mark.parametrize("elsewhere", ["7", "[7]", '[["x",5]]', '[["x","5",1.0]]', "[[5,5,1.0]]", '[["x",5,1.0,2]]'])
def test_a_damaged_mark_of_another_store_damages_only_its_source(
    tmp_path: Path, checkpoints: Checkpoints, elsewhere: str
) -> None:
    checkpoints.register(source(10, store=X))
    checkpoints.close()
    path = tmp_path / "checkpoints.json"
    path.write_text(path.read_text().replace('"committed":10', f'"committed":10,"elsewhere":{elsewhere}'))
    assert list(Checkpoints(tmp_path, read_only=True)) == []


def test_a_source_remembers_what_it_has_given_up(tmp_path: Path, checkpoints: Checkpoints) -> None:
    """Registered again, it is on the disk at once: a server must not be the only one that knows."""
    shipped = source(10, store=X)
    checkpoints.register(shipped)
    shipped.given_up = (10, 500)
    checkpoints.register(shipped)
    assert reread(tmp_path).given_up == (10, 500)
    checkpoints.close()
    known = Checkpoints(tmp_path, read_only=True).known_source("s1")
    assert known is not None
    assert known.given_up == (10, 500)


@pytest.mark.parametrize("given_up", [7, [7], [1, 2, 3], ["1", 2], [-1, 2], [1, 2**70], [1.0, 2], None])
def test_a_damaged_range_that_was_given_up_is_noticed(given_up: object) -> None:
    entry = to_entry(checkpoint_of(source(10, store=X), seen_at=1.0))
    assert from_entry({**entry, "given_up": [1, 2]}).given_up == (1, 2)
    with pytest.raises((ValueError, TypeError)):
        from_entry({**entry, "given_up": given_up})
