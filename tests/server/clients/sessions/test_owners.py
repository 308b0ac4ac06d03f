"""A source belongs to the client that created it (rule E36): others may ask about it, and change and read nothing."""

import json
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from logferry.protocol.messages.writing import control_line
from logferry.server.clients.identities.authenticator import Credentials, Everybody, PeerInfo, Principal
from logferry.server.storage.disk.integrity.fsck import fsck
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.disk.recovery.rebuild import rebuild
from tests.support.delivery import LINES, DeliveryClient, batch, opening, position, size_of
from tests.support.running import RunningServer, running_server

SIZE = size_of(LINES[:3])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    with running_server(tmp_path) as server:
        yield server


@pytest.fixture
def owner(server: RunningServer) -> Iterator[DeliveryClient]:
    """A client that has shipped three lines as the source s1, and goes on."""
    with DeliveryClient(server, source="s1", client="its-secret") as client:
        client.send(batch(LINES[:3], start=0))
        assert client.answer_after_alive() == position(LINES[:3])
        yield client


@pytest.fixture
def other(server: RunningServer, owner: DeliveryClient) -> Iterator[DeliveryClient]:
    with DeliveryClient(server, client="somebody-else") as client:
        yield client


def asked(client: DeliveryClient, line: bytes) -> dict[str, Any]:
    client.send(line)
    return client.answer_after_alive()


def test_e36_another_client_cannot_open_a_source(other: DeliveryClient, owner: DeliveryClient) -> None:
    """Rule E36: it gets one answer, goes on, and the owner notices nothing."""
    refusal = asked(other, opening("s1"))
    assert (refusal["status"], refusal["source"], refusal["final"]) == ("error", "s1", True)
    assert "another client" in refusal["message"]
    assert asked(other, opening("s2"))["committed"] == 0
    assert asked(owner, batch(LINES[3:5], start=SIZE)) == position(LINES[:5])


@pytest.mark.parametrize(
    "line",
    [
        control_line("skip", source="s1", start=SIZE, end=SIZE + 1000, reason="gone"),
        control_line("window", source="s1", start=SIZE, last_look=1, noticed=2, reason="gone"),
        batch(LINES[3:5], start=SIZE),
    ],
    ids=["skip", "window", "batch"],
)
def test_e36_another_client_cannot_move_or_extend_a_source(
    other: DeliveryClient, owner: DeliveryClient, line: bytes
) -> None:
    """Rule E36: nor when it does not wait for the answer to its open."""
    other.send(opening("s1") + line)
    assert [other.answer_after_alive()["status"] for _ in range(2)] == ["error", "error"]
    page = owner.report()
    assert (page["committed"], page["losses"], page["windows"]) == (SIZE, [], [])


def test_e36_another_client_cannot_add_notes_to_a_source(other: DeliveryClient, owner: DeliveryClient) -> None:
    """Rule E36."""
    other.send(opening("s1") + control_line("note", source="s1", start=0, end=SIZE, reason="all wrong"))
    other.answer_after_alive()
    asked(other, opening("s3"))  # answered after everything before it
    assert owner.report()["losses"] == []


def content_line(**changes: Any) -> bytes:
    return control_line("content", **{"source": "s1", "start": 0, "position": 0, "bytes": 1000, **changes})


def test_e36_only_the_owner_reads_stored_lines(other: DeliveryClient, owner: DeliveryClient) -> None:
    """Rule E36: the refusal is an answer, and the connection goes on."""
    refusal = asked(other, content_line())
    assert refusal["status"] == "error"
    assert "another client" in refusal["message"]
    assert "data" not in refusal
    assert asked(other, control_line("report", source="s1", after=0))["committed"] == SIZE
    assert asked(owner, content_line())["data"]


def test_e36_a_repair_with_lines_of_the_same_crc32_is_not_taken_from_another_client(
    server: RunningServer, other: DeliveryClient, owner: DeliveryClient
) -> None:
    """Rule E36."""
    (segment,) = server.data_dir.glob("segments/web-1/**/app.log/*.ndjson")
    intact = segment.read_bytes()
    segment.write_bytes(intact[:-3] + b"\0}\n")
    damaged = segment.read_bytes()
    forged = same_crc32(intact)
    assert forged != intact
    fields = {"source": "s1", "start": 0, "end": SIZE, "lines": 3, "encoding": "identity", "crc32": zlib.crc32(intact)}
    answer = asked(other, control_line("repair", **fields, bytes=len(forged)) + forged)
    assert (answer["message"], answer["whole"]) == ("repair", False)
    assert "another client" in answer["reason"]
    assert segment.read_bytes() == damaged
    assert asked(owner, control_line("repair", **fields, bytes=len(intact)) + intact)["whole"] is True
    assert segment.read_bytes() == intact


def same_crc32(lines: bytes) -> bytes:
    """Return other lines of the same number, length and CRC-32.

    CRC-32 is linear: whatever is changed, some four bytes later on make up for it, which Gauss finds.
    """
    data = bytearray(lines.replace(b"INFO", b"WARN", 1))
    place = len(data) - 40
    data[place : place + 4] = bytes(4)
    wanted = zlib.crc32(lines) ^ zlib.crc32(data)
    columns = [(_crc32_with(data, place, 1 << bit) ^ zlib.crc32(data), 1 << bit) for bit in range(32)]
    answer = 0
    for bit in range(32):
        pivot = next(column for column in columns if column[0] >> bit & 1)
        others = [column for column in columns if column != pivot]
        columns = [(c ^ pivot[0], x ^ pivot[1]) if c >> bit & 1 else (c, x) for c, x in others]
        if wanted >> bit & 1:
            wanted, answer = wanted ^ pivot[0], answer ^ pivot[1]
    data[place : place + 4] = answer.to_bytes(4, "little")
    assert zlib.crc32(data) == zlib.crc32(lines)
    return bytes(data)


def _crc32_with(data: bytearray, place: int, number: int) -> int:
    return zlib.crc32(data[:place] + number.to_bytes(4, "little") + data[place + 4 :])


def test_e36_anybody_may_ask_how_far_a_source_is_stored_and_no_answer_shows_whose_it_is(
    other: DeliveryClient, owner: DeliveryClient
) -> None:
    """Rule E36."""
    questions = [
        control_line("sources", host="web-1", path="/var/log/app.log", after=""),
        control_line("positions", sources=["s1"]),
        control_line("report", source="s1", after=0),
        control_line("damaged", source="s1", after=0),
        opening("s1"),
        content_line(),
    ]
    answers = [asked(other, question) for question in questions]
    assert [answer["status"] for answer in answers] == ["ok"] * 4 + ["error"] * 2
    assert answers[0]["sources"][0][:3] == ["s1", SIZE, 3]
    assert "its-secret" not in json.dumps(answers)
    assert "its-secret" not in json.dumps(other.welcome)


def test_e36_the_log_of_the_server_shows_no_id_of_a_client(
    other: DeliveryClient, owner: DeliveryClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Rule E36."""
    caplog.set_level("DEBUG")
    asked(other, opening("s1"))
    asked(owner, control_line("skip", source="s1", start=SIZE, end=SIZE + 5, reason="gone"))
    text = caplog.text
    assert "another client" in text
    assert "its-secret" not in text
    assert "somebody-else" not in text


def test_e36_the_owner_may_be_connected_several_times(server: RunningServer, owner: DeliveryClient) -> None:
    """Rule E36: a copy of a state folder is the same client, and rule E5 decides between connections."""
    with DeliveryClient(server, source="s1", client="its-secret") as copy:
        assert copy.opened["committed"] == SIZE
        assert asked(owner, batch(LINES[3:5], start=SIZE))["final"] is False
        assert asked(copy, batch(LINES[3:5], start=SIZE)) == position(LINES[:5])
        assert asked(owner, content_line())["data"]


def test_e36_ownership_survives_a_restart(tmp_path: Path) -> None:
    """Rule E36."""
    with running_server(tmp_path) as server, DeliveryClient(server, source="s1", client="a") as client:
        client.send(batch(LINES[:3], start=0))
        client.answer_after_alive()
    with running_server(tmp_path) as server:
        with DeliveryClient(server, client="b") as client:
            assert asked(client, opening("s1"))["status"] == "error"
            assert asked(client, content_line())["status"] == "error"
        with DeliveryClient(server, client="a") as client:
            assert asked(client, opening("s1"))["committed"] == SIZE


def test_e36_a_source_that_nobody_owns_belongs_to_the_next_who_opens_it(tmp_path: Path) -> None:
    """Rule E36: a ledger that was made anew may not know who created its sources."""
    with running_server(tmp_path) as server, DeliveryClient(server, source="s1", client="a") as client:
        client.send(batch(LINES[:3], start=0))
        client.answer_after_alive()
    with closing(Ledger(tmp_path / "data", durable=False)) as ledger, ledger.transaction():
        ledger._database.execute("UPDATE sources SET client = ''")
    with running_server(tmp_path) as server:
        with DeliveryClient(server, client="a") as client:
            assert asked(client, content_line())["data"]
            assert asked(client, opening("s1"))["committed"] == SIZE
        with DeliveryClient(server, client="b") as client:
            assert asked(client, opening("s1"))["status"] == "error"
            assert asked(client, content_line())["status"] == "error"


class OneTeam(Everybody):
    """Every client proves the same identity."""

    def check(self, credentials: Credentials | None, peer_info: PeerInfo) -> Principal:
        return Principal("team-a")


def test_e36_an_identity_owns_what_its_clients_create(tmp_path: Path) -> None:
    """Rule E36: the id of a client is only what it says."""
    with running_server(tmp_path, authenticator=OneTeam()) as server:
        with DeliveryClient(server, source="s1", client="a") as client:
            client.send(batch(LINES[:3], start=0))
            client.answer_after_alive()
        with DeliveryClient(server, client="b") as client:
            assert asked(client, opening("s1"))["committed"] == SIZE
            assert asked(client, content_line())["data"]
    with running_server(tmp_path) as server, DeliveryClient(server, client="a") as client:
        assert asked(client, opening("s1"))["status"] == "error"


class ByHost(Everybody):
    """Each host is an identity with a folder of its own."""

    def check(self, credentials: Credentials | None, peer_info: PeerInfo) -> Principal:
        assert credentials
        return Principal(credentials.host, folder=credentials.host)


def as_identity(name: str, server: RunningServer, *, source: str | None = None, client: str = "a") -> DeliveryClient:
    return DeliveryClient(server, source=source, client=client, host=name)


QUESTIONS = (
    control_line("positions", sources=["s1"]),
    control_line("report", source="s1", after=0),
    control_line("losses", source="s1", first=[0, 0, 0]),
    control_line("damaged", source="s1", after=0),
    content_line(),
)


def test_e37_an_identity_that_knows_the_id_of_a_source_of_another_gets_one_of_its_own(tmp_path: Path) -> None:
    """Rule E37: even with the id of the other's client, no answer differs from that for an id that nobody has."""
    with running_server(tmp_path, authenticator=ByHost()) as server:
        with as_identity("db", server, source="s1", client="its-secret") as owner:
            owner.send(batch(LINES[:3], start=0))
            owner.answer_after_alive()
        with as_identity("web", server, client="thief") as other, as_identity("app", server) as third:
            unknown = [asked(third, question.replace(b"s1", b"zz")) for question in QUESTIONS]
            assert [asked(other, question.replace(b"s1", b"zz")) for question in QUESTIONS] == unknown
            shown = [json.loads(json.dumps(asked(other, question)).replace("s1", "zz")) for question in QUESTIONS]
            assert shown == unknown
            assert asked(other, opening("s1"))["committed"] == 0
            assert asked(other, batch(LINES[5:7], start=0)) == position(LINES[5:7])
            assert asked(other, QUESTIONS[0])["positions"][0][:2] == ["s1", size_of(LINES[5:7])]
            assert asked(other, content_line())["data"]
            named = control_line("sources", host="db", path="/var/log/app.log", after="")
            assert asked(other, named)["sources"] == []
        with as_identity("web", server, source="s1", client="thief") as again:
            assert again.opened["committed"] == size_of(LINES[5:7])
            named = control_line("sources", host="web", path="/var/log/app.log", after="")
            assert [each[:2] for each in asked(again, named)["sources"]] == [["s1", size_of(LINES[5:7])]]
        with as_identity("db", server, source="s1", client="its-secret") as owner:
            assert owner.opened["committed"] == SIZE
            assert asked(owner, batch(LINES[3:5], start=SIZE)) == position(LINES[:5])
        assert sorted(path.name for path in (server.data_dir / "segments").iterdir() if path.is_dir()) == ["db", "web"]
    assert b"".join(path.read_bytes() for path in tmp_path.rglob("segments/db/db/**/app.log/*.ndjson")) == b"".join(
        LINES[:5]
    )
    assert b"".join(path.read_bytes() for path in tmp_path.rglob("segments/web/web/**/*.ndjson")) == b"".join(
        LINES[5:7]
    )


def test_e37_a_client_keeps_its_sources_when_it_gets_an_identity(tmp_path: Path) -> None:
    """Rule E37: nothing is stored twice because a server begins to ask who its clients are."""
    with running_server(tmp_path) as server, DeliveryClient(server, source="s1", client="a") as client:
        client.send(batch(LINES[:3], start=0))
        client.answer_after_alive()
    with running_server(tmp_path, authenticator=ByHost()) as server:
        with as_identity("web-1", server, client="another-client", source="s1") as other:
            assert other.opened["committed"] == 0
        with as_identity("web-1", server, client="a", source="s1") as client:
            assert client.opened["committed"] == SIZE
            assert asked(client, batch(LINES[3:5], start=SIZE)) == position(LINES[:5])
    with running_server(tmp_path) as server, DeliveryClient(server, source="s1", client="a") as client:
        assert client.opened["committed"] == size_of(LINES[:5])


def test_e37_the_id_of_a_client_is_never_taken_for_an_identity(tmp_path: Path) -> None:
    """Rule E37."""
    with running_server(tmp_path, authenticator=ByHost()) as server, as_identity("web", server, source="s1") as owner:
        owner.send(batch(LINES[:3], start=0))
        owner.answer_after_alive()
    with running_server(tmp_path) as server, DeliveryClient(server, client="@web") as client:
        assert asked(client, opening("s1"))["status"] == "error"


def test_e37_a_rebuilt_ledger_knows_the_sources_of_identities(tmp_path: Path) -> None:
    """Rule E37: their segments lie one folder deeper."""
    with running_server(tmp_path, authenticator=ByHost()) as server:
        for name in ("db", "web"):
            with as_identity(name, server, source="s1") as client:
                client.send(batch(LINES[:3], start=0))
                client.answer_after_alive()
        data_dir = server.data_dir
    assert [finding.problem for finding in fsck(data_dir)] == ["", ""]
    (data_dir / "ledger.sqlite3").unlink()
    assert rebuild(data_dir).sources == 2
    with running_server(tmp_path, authenticator=ByHost()) as server:
        for name in ("db", "web"):
            with as_identity(name, server, source="s1") as client:
                assert client.opened["committed"] == SIZE


def test_e36_a_client_without_an_id_is_refused(server: RunningServer) -> None:
    """Rule E36: nobody could own what it sends."""
    with DeliveryClient(server, client="") as client:
        assert client.welcome["status"] == "error"
