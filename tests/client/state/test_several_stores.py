"""What a client remembers of a source that several servers have, each in a store of its own."""

import json
from pathlib import Path

import pytest

from logferry.client.state.checkpoints import Checkpoints
from logferry.model.holdings import Held, Holdings, Part
from logferry.model.source import Source

# As the version before this wrote it: one store for each source, and no word about which server has which.
VERSION_3 = (
    '{"version":3,"client":"c0ffee","servers":["a:1","b:2"]}\n'
    '{"id":"s1","path":"/app.log","device":1,"inode":2,"committed":10,"lines":2,"crc32":7,"seen_at":1.5,"store":"old",'
    '"server":"a:1"}\n'
    '{"id":"s2","path":"/b.log","device":1,"inode":3,"committed":10,"lines":2,"crc32":7,"seen_at":2.5,"store":"A",'
    '"server":"a:1"}\n'
    '{"client":"c0ffee","servers":["a:1","b:2"]}\n'
)


def shipped_to_two() -> Source:
    source = Source("/app.log", "s", device=1, inode=2, committed=100, lines=4, crc32=7, store="A", server="a:1")
    source.move_to("B")
    source.committed, source.lines, source.crc32, source.server = 150, 2, 9, "b:2"
    return source


def test_what_each_store_has_is_remembered(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.learn_store("a:1", "A")
    checkpoints.learn_store("b:2", "B")
    checkpoints.register(shipped_to_two())
    checkpoints.close()
    again = Checkpoints(tmp_path, read_only=True)
    known = again.of_source("s")
    assert known is not None
    assert known.holdings == Holdings((Part(100, "A"),), (Held("A", 100, 4, 7),))
    assert (known.committed, known.lines, known.crc32, known.store) == (150, 2, 9, "B")
    source = again.known_source("s")
    assert source is not None
    assert source.holdings == known.holdings
    assert [again.store_of(server) for server in ("a:1", "b:2", "c:3")] == ["A", "B", ""]


def test_a_changed_holding_is_on_disk_when_a_source_is_registered(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    source = Source("/app.log", "s", device=1, inode=2, committed=100, lines=4, crc32=7, store="A")
    checkpoints.register(source)
    source.move_to("B")
    checkpoints.register(source)
    known = Checkpoints(tmp_path, read_only=True).of_source("s")
    assert known is not None
    assert known.holdings.parts == (Part(100, "A"),)
    checkpoints.close()


def test_a_file_of_version_3_is_read_and_its_checkpoints_say_which_server_has_which_store(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints.json"
    path.write_text(VERSION_3)
    checkpoints = Checkpoints(tmp_path)
    known = checkpoints.of_source("s2")
    assert known is not None
    assert (known.store, known.server, known.holdings) == ("A", "a:1", Holdings())
    assert [checkpoints.store_of(server) for server in ("a:1", "b:2")] == ["A", ""]
    checkpoints.learn_store("b:2", "B")
    checkpoints.close()
    header, *entries, again = map(json.loads, path.read_text().splitlines())
    stores = {"a:1": "A", "b:2": "B"}
    assert header == {"version": 4, "client": "c0ffee", "servers": ["a:1", "b:2"], "stores": stores}
    assert again["stores"] == stores
    assert [entry["id"] for entry in entries] == ["s1", "s2"]


@pytest.mark.parametrize("field", ["parts", "held"])
@pytest.mark.parametrize(
    "value",
    ["7", "[7]", '[["x",5]]', "[[5,5]]", "[[5]]", '[[-1,"x"]]', '[[5,"x"],[5,"y"]]', '[["x",-1,0,0]]', '[["x",1,2]]'],
)
def test_a_damaged_holding_damages_only_its_source(tmp_path: Path, field: str, value: str) -> None:
    lines = VERSION_3.splitlines()
    lines[1] = f'{lines[1][:-1]},"{field}":{value}}}'
    (tmp_path / "checkpoints.json").write_text("\n".join(lines) + "\n")
    assert [known.id for known in Checkpoints(tmp_path, read_only=True)] == ["s2"]


@pytest.mark.parametrize("stores", ["7", "[7]", '"x"', '{"a:1":7}', '{"a:1":""}'])
def test_damaged_stores_cost_no_source(tmp_path: Path, stores: str) -> None:
    lines = VERSION_3.splitlines()
    lines[0] = f'{lines[0][:-1]},"stores":{stores}}}'
    (tmp_path / "checkpoints.json").write_text("\n".join(lines) + "\n")
    checkpoints = Checkpoints(tmp_path, read_only=True)
    assert checkpoints.client_id == "c0ffee"
    assert [known.id for known in checkpoints] == ["s1", "s2"]
