"""Opening a store on NATS: what is missing is made, what would break a promise is refused, nothing is changed."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from logferry.errors import StoreError
from logferry.server.storage.nats.connection import connect
from logferry.server.storage.nats.names import Names
from logferry.server.storage.nats.nats_store import NatsStore
from logferry.server.storage.nats.settings import NatsSettings
from tests.support.nats_servers import NatsCluster, binary_or_skip, free_ports, running_nodes
from tests.support.nats_stores import NatsPlace, run
from tests.support.processes import ROOT
from tests.support.running import DEADLINE_S


@pytest.fixture
def place(nats_node: NatsCluster) -> NatsPlace:
    return NatsPlace(nats_node)


def opened_once(place: NatsPlace) -> str:
    """Open a store and close it; return its id."""
    store = place.new()
    store.open(lambda: None)
    try:
        return store.id
    finally:
        store.close(DEADLINE_S)


def ask(place: NatsPlace, operation: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Make a request of the API of JetStream."""

    async def asked() -> dict[str, Any]:
        wire = await connect(place.settings)
        try:
            return await wire.api(operation, body)
        finally:
            await wire.close()

    return run(asked())


def config(place: NatsPlace, stream: str) -> dict[str, Any]:
    """Return the settings of a stream."""
    found = ask(place, f"STREAM.INFO.{stream}")["config"]
    assert isinstance(found, dict)
    return found


def refusal(place: NatsPlace) -> str:
    """Return why a store cannot be opened."""
    with pytest.raises(StoreError) as caught:
        place.new().open(lambda: None)
    return str(caught.value)


def test_the_first_gateway_makes_the_streams_and_others_leave_them_as_they_are(place: NatsPlace) -> None:
    store_id = opened_once(place)
    streams = (place.names.meta, *place.names.streams)
    before = [config(place, stream) for stream in streams]
    assert all((each["discard"], each["deny_delete"], each["allow_direct"]) == ("new", True, True) for each in before)
    assert {each["num_replicas"] for each in before} == {1}
    place.settings = dataclasses.replace(place.settings, shards=5, max_bytes=10**9)
    assert opened_once(place) == store_id
    assert [config(place, stream) for stream in streams] == before
    assert refusal_of_stream(place, f"{place.settings.prefix.upper()}_2") == "stream not found"


def refusal_of_stream(place: NatsPlace, stream: str) -> str:
    with pytest.raises(StoreError) as caught:
        ask(place, f"STREAM.INFO.{stream}")
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"max_age": 10**12}, "has max_age 1000000000000: set it to 0"),
        ({"discard": "old"}, 'has discard "old": set it to "new"'),
        ({"max_msgs_per_subject": 1}, "has max_msgs_per_subject 1: set it to -1"),
        ({"storage": "memory"}, 'has storage "memory": set it to "file"'),
        ({"deny_delete": False}, "has deny_delete false: set it to true"),
        ({"max_msg_size": 1000}, "set its max_msg_size to -1"),
        ({"subjects": ["elsewhere.PREFIX.*"]}, "give this store a --nats-prefix of its own"),
    ],
)
def test_a_stream_that_would_break_a_promise_is_refused_with_what_to_set(
    place: NatsPlace, changes: dict[str, Any], said: str
) -> None:
    opened_once(place)
    stream = place.names.streams[1]
    wanted = config(place, stream)
    ask(place, f"STREAM.DELETE.{stream}")
    made = {key: wanted[key] for key in ("name", "subjects", "storage", "discard", "deny_delete", "allow_direct")}
    made |= {"retention": "limits", "num_replicas": 1, **changes}
    made["subjects"] = [subject.replace("PREFIX", place.settings.prefix) for subject in made["subjects"]]
    ask(place, f"STREAM.CREATE.{stream}", made)
    before = config(place, stream)
    why = refusal(place)
    assert why.startswith(f"the stream {stream} ")
    assert said in why
    assert config(place, stream) == before


def test_servers_that_are_too_old_are_refused(place: NatsPlace) -> None:
    place.faults.version = (2, 9, 10)
    assert "version 2.9.10" in (why := refusal(place))
    assert "use 2.15 or newer on every node" in why


def test_servers_before_2_15_are_warned_about(place: NatsPlace, caplog: pytest.LogCaptureFixture) -> None:
    place.faults.version = (2, 12, 8)
    opened_once(place)
    assert "version 2.12.8" in caplog.text


def test_messages_that_may_be_too_small_are_refused(place: NatsPlace) -> None:
    place.faults.max_payload = 1024 * 1024
    assert "set max_payload: 8MB" in refusal(place)


def test_more_replicas_than_servers_are_refused(place: NatsPlace) -> None:
    place.settings = dataclasses.replace(place.settings, replicas=3)
    assert "--nats-replicas" in refusal(place)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (b"{", "it is not Logferry's"),
        (json.dumps({"version": 2, "store": "x", "shards": 2}).encode(), "newer Logferry"),
        (json.dumps({"version": 1, "store": "x", "shards": 10**9}).encode(), "no valid id"),
        (json.dumps({"version": 1, "store": "x y", "shards": 2}).encode(), "no valid id"),
    ],
)
def test_an_entry_that_does_not_say_what_the_store_is_is_refused(place: NatsPlace, entry: bytes, said: str) -> None:
    place.settings = dataclasses.replace(place.settings, shards=1)
    opened_once(place)

    async def overwrite() -> None:
        wire, names = await connect(place.settings), Names(place.settings.prefix, 1)
        last = await wire.last(names.meta, names.store)
        assert last
        await wire.publish(names.store, [entry], {}, stream=names.meta, after=last.sequence)
        await wire.close()

    run(overwrite())
    assert said in refusal(place)


def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    pytest.importorskip("nats", reason="needs nats-py: pip install 'logferry[nats]'")
    (port,) = free_ports(1)
    store = NatsStore(NatsSettings(urls=(f"nats://user:secret@127.0.0.1:{port}",)))
    with pytest.raises(StoreError, match=f"cannot connect to NATS at nats://127.0.0.1:{port}: "):
        store.open(lambda: None)


def test_without_the_library_one_sentence_names_the_command(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['nats'] = sys.modules['nats.aio'] = sys.modules['nats.aio.client'] = None\n"
        "from logferry.cli.start import main\n"
        "sys.argv = ['logferry', 'serve', '--store', 'nats', '--nats', 'nats://127.0.0.1:1', '--server-port', '0']\n"
        "sys.exit(main())\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT / "src")},
    )
    assert ended.returncode == 1
    assert "pip install 'logferry[nats]'" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("syncs", "promised"), [("sync_interval: always", "fsync"), ("", "os")])
def test_an_ack_promises_what_the_servers_say(tmp_path: Path, syncs: str, promised: str) -> None:
    with running_nodes(binary_or_skip(), tmp_path, jetstream=syncs) as node:
        place = NatsPlace(node, monitors=tuple(node.monitors.split(",")))
        for monitors, durability in ((place.settings.monitors, promised), ((), "os")):
            place.settings = dataclasses.replace(place.settings, monitors=monitors)
            store = place.new()
            store.open(lambda: None)
            assert store.durability == durability
            store.close(DEADLINE_S)
