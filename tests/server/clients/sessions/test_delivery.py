"""The delivery extension on a real socket: positions, repeats, ownership, heartbeat, reports, restarts."""

import base64
import json
import socket
import zlib
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from logferry.protocol.messages.features import SERVER_FEATURES
from logferry.protocol.messages.writing import batch_header, control_line
from logferry.server import Patience
from logferry.server.storage.disk.files.file_system import FileSystem
from logferry.server.storage.disk.integrity.fsck import fsck
from logferry.server.storage.disk.ledger import Ledger
from tests.server.test_server import BlockedFiles
from tests.support.delivery import LINES, DeliveryClient, batch, hello, opening, position, size_of
from tests.support.running import DEADLINE_S, numbered_line, running_server, wait_until
from tests.support.stores import FailingFiles, small_disk


def segment_of(data_dir: Path, number: int = 0) -> Path:
    return sorted(data_dir.glob("segments/web-1/**/app.log/*.ndjson"))[number]


def test_e1_the_hello_is_answered_with_a_welcome(tmp_path: Path) -> None:
    """Rule E1."""
    with running_server(tmp_path, max_record_bytes=5000) as server, DeliveryClient(server) as client:
        with closing(Ledger(server.data_dir, durable=False, read_only=True)) as ledger:
            assert client.welcome.pop("store") == ledger.store_id
        assert client.welcome == {
            "status": "ok",
            "message": "hello",
            "version": 1,
            "encodings": ["gzip"],
            "max_batch_bytes": 5000,
            "durability": "fsync",
            "max_sources": 10_000,
            "features": list(SERVER_FEATURES),
        }


@pytest.mark.parametrize("durability", ["fsync", "os", "none"])
def test_e4_e7_e8_a_batch_is_stored_and_the_answer_says_how_far(tmp_path: Path, durability: str) -> None:
    """Rules E4, E7 and E8."""
    with running_server(tmp_path, durability=durability) as server, DeliveryClient(server, source="s1") as client:
        assert client.opened == {
            "status": "ok",
            "message": "open",
            "source": "s1",
            "committed": 0,
            "lines": 0,
            "crc32": 0,
        }
        client.send(batch(LINES[:10], start=0))
        assert client.answer() == position(LINES[:10], durability=durability)
        assert server.stored_lines() == LINES[:10]
        assert segment_of(server.data_dir).read_bytes() == b"".join(LINES[:10])
        assert server.stats.lines_stored == 10


def test_e8_a_batch_may_arrive_byte_by_byte(tmp_path: Path) -> None:
    """Rule E8."""
    with running_server(tmp_path) as server, server.connect() as client:
        for byte in hello() + opening() + batch(LINES[:2], start=0):
            client.send(bytes([byte]))
        assert [client.answer()["message"] for _ in range(2)] == ["hello", "open"]
        assert client.answer() == position(LINES[:2])


def test_e8_one_answer_covers_all_batches_of_a_group(tmp_path: Path) -> None:
    """Rule E8."""
    files = BlockedFiles("sync")
    with running_server(tmp_path, files=files) as server, DeliveryClient(server, source="s1") as client:
        for number in range(20):
            client.send(batch([LINES[number]], start=size_of(LINES[:number])))
        assert files.is_waiting.wait(DEADLINE_S)
        wait_until(lambda: server.stats.bytes_in_memory > size_of(LINES[:20]), "all have arrived")
        files.may_go_on.set()
        answers = [client.answer()]
        while answers[-1]["lines"] < 20:
            answers.append(client.answer())
        assert answers[-1] == position(LINES[:20])
        assert len(answers) <= 3
        assert server.stored_lines() == LINES[:20]


def test_e7_a_batch_may_be_gzipped_and_a_batch_may_have_no_lines(tmp_path: Path) -> None:
    """Rule E7."""
    with running_server(tmp_path) as server, DeliveryClient(server, source="s1") as client:
        client.send(batch(LINES[:100], start=0, end=1000, is_gzip=True))
        assert client.answer()["committed"] == 1000
        client.send(batch([], start=1000, end=1004))
        answer = client.answer()
        assert (answer["committed"], answer["lines"]) == (1004, 100)
        client.send(batch(LINES[100:101], start=1004, end=1010))
        assert client.answer()["lines"] == 101
        assert server.stored_lines() == LINES[:101]


def test_e9_a_repeat_is_answered_counted_and_not_stored(tmp_path: Path) -> None:
    """Rule E9."""
    with running_server(tmp_path) as server, DeliveryClient(server, source="s1") as client:
        for _ in range(3):
            client.send(batch(LINES[:10], start=0))
            assert client.answer() == position(LINES[:10])
        client.send(batch(LINES[3:5], start=size_of(LINES[:3])))
        assert client.answer() == position(LINES[:10])
        assert server.stored_lines() == LINES[:10]
        assert (server.stats.repeats, server.stats.lines_stored) == (3, 10)


@pytest.mark.parametrize(("first", "last"), [(11, 20), (5, 20)], ids=["a gap", "an overlap"])
def test_e10_a_gap_and_an_overlap_are_refused_with_the_position(tmp_path: Path, first: int, last: int) -> None:
    """Rule E10."""
    with running_server(tmp_path) as server, DeliveryClient(server, source="s1") as client:
        client.send(batch(LINES[:10], start=0))
        assert client.answer() == position(LINES[:10])
        client.send(batch(LINES[first:last], start=size_of(LINES[:first])))
        answer = client.answer()
        assert (answer["status"], answer["committed"], answer["final"]) == ("error", size_of(LINES[:10]), False)
        client.send(batch(LINES[10:20], start=size_of(LINES[:10])))
        assert client.answer() == position(LINES[:20])
        assert server.stored_lines() == LINES[:20]


def test_e10_what_was_sent_after_a_refused_batch_is_refused_too(tmp_path: Path) -> None:
    """Rule E10."""
    bad = b'{"level": "INFO"}\n'
    with running_server(tmp_path) as server, DeliveryClient(server, source="s1") as client:
        client.send(batch([bad], start=0) + batch(LINES[:1], start=len(bad)))
        assert [client.answer()["final"] for _ in range(2)] == [True, False]
        assert server.stored_lines() == []


def test_e11_an_invalid_line_refuses_its_batch_permanently(tmp_path: Path) -> None:
    """Rule E11."""
    bad = b'{"level": "INFO"}\n'
    with running_server(tmp_path) as server, DeliveryClient(server, source="s1") as client:
        client.send(batch([*LINES[:5], bad, *LINES[5:10]], start=0))
        answer = client.answer()
        assert answer == {
            "status": "error",
            "message": 'missing field "message"',
            "source": "s1",
            "committed": 0,
            "final": True,
        }
        assert server.stored_lines() == []
        client.send(batch(LINES[:5], start=0))
        start = size_of(LINES[:5])
        client.send(control_line("skip", source="s1", start=start, end=start + len(bad), reason="refused"))
        client.send(batch(LINES[5:10], start=start + len(bad)))
        while client.answer()["lines"] < 10:
            pass
        assert server.stored_lines() == LINES[:10]


def test_e12_a_skip_moves_the_position_and_is_in_the_report(tmp_path: Path) -> None:
    """Rule E12."""
    with running_server(tmp_path) as server, DeliveryClient(server, source="s1") as client:
        skip = control_line("skip", source="s1", start=0, end=500, reason="truncated before it was read")
        client.send(skip)
        assert client.answer()["committed"] == 500
        client.send(skip)  # a repeat
        assert client.answer()["committed"] == 500
        client.send(control_line("skip", source="s1", start=600, end=700, reason="a gap"))
        assert (client.answer()["committed"], server.stats.repeats) == (500, 0)
        assert client.report()["losses"] == [[0, 500, "truncated before it was read"]]


def test_e13_a_note_is_recorded_and_not_answered(tmp_path: Path) -> None:
    """Rule E13."""
    with running_server(tmp_path) as server, DeliveryClient(server, source="s1") as client:
        note = control_line("note", source="s1", start=0, end=76, reason="cut after 1048576 bytes")
        client.send(note + note + batch(LINES[:1], start=0))
        assert client.answer() == position(LINES[:1])
        assert client.report()["losses"] == [[0, 76, "cut after 1048576 bytes"]]


@pytest.mark.parametrize(("known", "repeats"), [(10, 0), (9, 1), (0, 1), (None, 0)])
def test_e4_what_a_client_does_not_know_to_be_stored_is_counted_as_a_repeat(
    tmp_path: Path, known: int | None, repeats: int
) -> None:
    """Rule E4."""
    known_field = {} if known is None else {"known": size_of(LINES[:known])}
    with running_server(tmp_path) as server:
        with DeliveryClient(server, source="s1") as client:
            client.send(batch(LINES[:10], start=0))
            assert client.answer() == position(LINES[:10])
        with DeliveryClient(server) as client:
            client.send(control_line("open", source="s1", path="/var/log/app.log", **known_field))
            answer = client.answer()
            assert (answer["message"], answer["committed"], answer["lines"]) == ("open", size_of(LINES[:10]), 10)
        assert server.stats.repeats == repeats


def test_e5_a_source_belongs_to_the_connection_that_opened_it_last(tmp_path: Path) -> None:
    """Rule E5."""
    with running_server(tmp_path) as server, DeliveryClient(server, source="s1") as old:
        old.send(batch(LINES[:5], start=0))
        assert old.answer() == position(LINES[:5])
        with DeliveryClient(server, source="s1") as new:
            assert new.opened["committed"] == size_of(LINES[:5])
            old.send(batch(LINES[5:10], start=size_of(LINES[:5])))
            answer = old.answer()
            assert (answer["status"], answer["final"]) == ("error", False)
            assert answer["committed"] == size_of(LINES[:5])
            new.send(batch(LINES[5:8], start=size_of(LINES[:5])))
            assert new.answer() == position(LINES[:8])
        assert server.stored_lines() == LINES[:8]


def test_e5_the_answer_to_an_open_follows_the_data_of_older_connections(tmp_path: Path) -> None:
    """Rule E5."""
    files = BlockedFiles("sync")
    with running_server(tmp_path, files=files) as server:
        old = DeliveryClient(server, source="s1")
        old.send(batch(LINES[:10], start=0))
        assert files.is_waiting.wait(DEADLINE_S)
        old.reset()
        new = DeliveryClient(server)
        new.send(opening("s1"))
        new.socket.settimeout(0.2)
        with pytest.raises(TimeoutError):
            new.answer()
        new.socket.settimeout(DEADLINE_S)
        files.may_go_on.set()
        assert new.answer()["committed"] == size_of(LINES[:10])
        new.send(batch(LINES[10:20], start=size_of(LINES[:10])))
        assert new.answer() == position(LINES[:20])
        new.close()


def test_e5_an_older_connection_that_ends_takes_nothing_from_the_newer_one(tmp_path: Path) -> None:
    """Rule E5."""
    with running_server(tmp_path) as server:
        old, new = DeliveryClient(server, source="s1"), DeliveryClient(server, source="s1")
        old.close()
        wait_until(lambda: server.stats.connections == 1, "the older one is gone")
        new.send(batch(LINES[:1], start=0))
        assert new.answer() == position(LINES[:1])
        new.close()


def test_two_sources_on_one_connection_are_independent(tmp_path: Path) -> None:
    with running_server(tmp_path) as server, DeliveryClient(server, source="s1") as client:
        client.send(opening("s2", "/var/log/app.log"))
        assert client.answer()["committed"] == 0
        client.send(batch(LINES[:3], start=0) + batch(LINES[3:5], start=0, source="s2"))
        answers = {answer["source"]: answer for answer in (client.answer(), client.answer())}
        assert answers == {"s1": position(LINES[:3]), "s2": position(LINES[3:5], source="s2")}
        assert server.stored_lines() == LINES[:5]


def test_e4_many_sources_may_be_opened_together_and_each_has_its_own_order(tmp_path: Path) -> None:
    """Rule E4."""
    names = [f"s{number}" for number in range(500)]
    with running_server(tmp_path) as server, DeliveryClient(server) as client:
        client.send(b"".join(opening(name, f"/var/log/{name}.log") for name in names))
        opened = [client.answer_after_alive() for _ in names]
        assert [answer["source"] for answer in opened] == names
        for number in range(2):
            start = size_of(LINES[:number])
            client.send(b"".join(batch([LINES[number]], start=start, source=name) for name in names))
        lines: dict[str, int] = {}
        while list(lines.values()) != [2] * len(names):
            answer = client.answer_after_alive()
            lines[answer["source"]] = answer["lines"]
        assert sorted(server.stored_lines()) == sorted(LINES[:2] * len(names))
        for path in server.data_dir.glob("segments/web-1/**/*.ndjson"):
            assert path.read_bytes() == b"".join(LINES[:2])


def test_e4_a_connection_that_opens_too_many_sources_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule E4."""
    for module in ("logferry.server.clients.sessions.delivery", "logferry.protocol.delivery.server"):
        monkeypatch.setattr(f"{module}.MAX_SOURCES", 3)
    with running_server(tmp_path) as server, DeliveryClient(server) as client:
        assert client.welcome["max_sources"] == 3
        client.send(b"".join(opening(f"s{number}") for number in (0, 1, 1, 2)))
        assert [client.answer()["message"] for _ in range(4)] == ["open"] * 4
        client.send(opening("s3"))
        assert "more than 3 sources" in client.read_to_end().decode()


def test_e14_a_ping_is_answered(tmp_path: Path) -> None:
    """Rule E14."""
    with running_server(tmp_path) as server, DeliveryClient(server) as client:
        client.send(control_line("ping") * 3)
        assert [client.answer() for _ in range(3)] == [{"status": "ok", "message": "alive"}] * 3


def test_e14_a_client_that_is_owed_an_answer_gets_signs_of_life_while_the_disk_fails(
    tmp_path: Path,
) -> None:
    """Rule E14."""
    files = FailingFiles(write=[28] * 1_000_000)
    patience = Patience(linger_s=0.2, alive_s=0.05)
    with running_server(tmp_path, files=files, patience=patience) as server, DeliveryClient(server, source="s1") as c:
        c.send(batch(LINES[:10], start=0))
        assert [c.answer()["message"] for _ in range(3)] == ["alive"] * 3
        assert server.stats.disk_is_failing
        c.send(control_line("ping"))
        assert c.answer()["message"] == "alive"
        files.failures["write"] = []
        answer = c.answer()
        while answer["message"] == "alive":
            answer = c.answer()
        assert answer == position(LINES[:10])


def test_e14_a_client_that_is_owed_nothing_gets_no_sign_of_life(tmp_path: Path) -> None:
    """Rule E14."""
    patience = Patience(linger_s=0.2, alive_s=0.02)
    with running_server(tmp_path, patience=patience) as server, DeliveryClient(server, source="s1") as client:
        client.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.answer()


def violations() -> dict[str, bytes]:
    payload = numbered_line(1)
    fields: dict[str, Any] = {"source": "s1", "start": 0, "end": 9, "lines": 1, "size": len(payload), "is_gzip": False}
    return {
        "a line that is not a control line": numbered_line(1),
        "a second hello": hello(),
        "an unknown kind": control_line("sing"),
        "a batch of a source that was not opened": batch(LINES[:1], start=0, source="s2"),
        "a wrong checksum": batch_header(**fields, crc32=1) + payload,
        "a wrong line count": batch(LINES[:1], start=0).replace(b'"lines": 1', b'"lines": 2'),
        "a payload that is not gzip": batch_header(**(fields | {"is_gzip": True}), crc32=1) + payload,
        "a batch that is too large": batch_header(**(fields | {"size": 9_000_000}), crc32=1),
        "a source that is not an id": opening("../etc"),
        "an endless control line": b'{"logferry": "' + b"x" * 70_000,
    }


@pytest.mark.parametrize("name", violations())
def test_e3_e16_a_client_that_breaks_the_rules_gets_one_error_and_is_disconnected(tmp_path: Path, name: str) -> None:
    """Rules E3 and E16."""
    with running_server(tmp_path) as server, DeliveryClient(server, source="s1") as client:
        client.send(batch(LINES[:1], start=0) + violations()[name])
        assert client.answer() == position(LINES[:1])
        assert client.answer()["status"] == "error"
        assert client.read_to_end() == b""
        assert server.stored_lines() == LINES[:1]
        wait_until(lambda: server.stats.bytes_in_memory == 0, "nothing is left")


def test_e3_the_hello_comes_first(tmp_path: Path) -> None:
    """Rule E3."""
    with running_server(tmp_path) as server, server.connect() as client:
        client.send(opening())
        assert client.answer()["status"] == "error"
        assert client.read_to_end() == b""


def test_an_incomplete_batch_at_the_end_is_not_stored(tmp_path: Path) -> None:
    with running_server(tmp_path) as server, DeliveryClient(server, source="s1") as client:
        client.send(batch(LINES[:1], start=0) + batch(LINES[1:9], start=size_of(LINES[:1]))[:-1])
        client.finish_sending()
        assert client.answer() == position(LINES[:1])
        assert client.read_to_end() == b""
        assert server.stored_lines() == LINES[:1]


@pytest.mark.parametrize("key", [b"", b"log", b"logfer", b"logferr1", b"logferry2"])
def test_a_plain_client_whose_first_bytes_look_like_a_hello_is_a_plain_client(tmp_path: Path, key: bytes) -> None:
    line = b'{"%s": "x", "level": "INFO", "message": "x"}\n' % key
    with running_server(tmp_path) as server, server.connect() as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in line[:15]:
            client.send(bytes([byte]))
        client.send(line[15:])
        assert client.answers(1) == ["ok"]
        assert server.stored_lines() == [line]


def test_a_plain_client_that_ends_within_a_possible_hello_is_answered(tmp_path: Path) -> None:
    with running_server(tmp_path) as server, server.connect() as client:
        client.send(b'{"log')
        client.finish_sending()
        assert b"invalid JSON" in client.read_to_end()


def test_plain_and_delivery_clients_do_not_disturb_each_other(tmp_path: Path) -> None:
    with running_server(tmp_path) as server, DeliveryClient(server, source="s1") as client, server.connect() as plain:
        for number in range(0, 100, 2):
            client.send(batch([LINES[number]], start=size_of(LINES[:number:2]), end=size_of(LINES[: number + 1 : 2])))
            plain.send(LINES[number + 1])
        assert plain.answers(50) == ["ok"] * 50
        while client.answer()["lines"] < 50:
            pass
        assert sorted(server.stored_lines()) == sorted(LINES[:100])


def test_a_restart_keeps_the_position_and_continues_in_the_same_segment(tmp_path: Path) -> None:
    for start in (0, 10, 20):
        with running_server(tmp_path) as server, DeliveryClient(server, source="s1") as client:
            assert client.opened["committed"] == size_of(LINES[:start])
            assert client.opened["crc32"] == (position(LINES[:start])["crc32"])
            client.send(batch(LINES[:10], start=0))
            client.send(batch(LINES[start : start + 10], start=size_of(LINES[:start])))
            while client.answer()["lines"] < start + 10:
                pass
    assert segment_of(tmp_path / "data").read_bytes() == b"".join(LINES[:30])


def test_with_durability_none_a_position_is_not_sent_before_the_store_has_it(tmp_path: Path) -> None:
    files = BlockedFiles("write")
    with (
        running_server(tmp_path, durability="none", files=files) as server,
        DeliveryClient(server, source="s1") as client,
    ):
        client.send(batch(LINES[:1], start=0))
        assert files.is_waiting.wait(DEADLINE_S)
        client.socket.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.answer()
        client.socket.settimeout(DEADLINE_S)
        files.may_go_on.set()
        assert client.answer() == position(LINES[:1], durability="none")


@pytest.mark.parametrize("operation", ["open_for_append", "write", "sync", "sync_folder"])
def test_a_disk_that_fails_for_a_while_loses_and_repeats_nothing(tmp_path: Path, operation: str) -> None:
    files: FileSystem = FailingFiles(**{operation: [28] * 3})
    with running_server(tmp_path, files=files) as server, DeliveryClient(server, source="s1") as client:
        for number in range(20):
            client.send(batch([LINES[number]], start=size_of(LINES[:number])))
        answer = client.answer()
        while answer["lines"] < 20:
            answer = client.answer()
        assert answer == position(LINES[:20])
        assert server.stored_lines() == LINES[:20]


def test_a_disk_that_is_really_full_stores_everything_once_there_is_room(tmp_path: Path) -> None:
    lines = [numbered_line(number) for number in range(15_000)]  # 1.2 MB, onto a disk with about 1 MB free
    patience = Patience(linger_s=0.2, alive_s=0.1)
    with (
        small_disk(tmp_path / "disk", megabytes=2) as disk,
        running_server(disk, patience=patience) as server,
        DeliveryClient(server, source="s1") as client,
    ):
        (disk / "ballast").write_bytes(bytes(1024 * 1024))
        for start in range(0, 15_000, 100):
            client.send(batch(lines[start : start + 100], start=size_of(lines[:start])))
        wait_until(lambda: server.stats.disk_is_failing, "the disk is full")
        while client.answer()["message"] != "alive":
            pass
        (disk / "ballast").unlink()
        while (answer := client.answer())["message"] == "alive" or answer["lines"] < 15_000:
            pass
        assert answer == position(lines)
        assert server.stored_lines() == lines
        assert [finding for finding in fsck(server.data_dir) if finding.problem] == []


def test_a_path_that_is_not_utf8_and_a_reason_full_of_surrogates_do_no_harm(tmp_path: Path) -> None:
    with running_server(tmp_path) as server, DeliveryClient(server) as client:
        client.send(opening("s1", "/var/log/\udcff\0.log"))
        assert client.answer()["committed"] == 0
        client.send(control_line("skip", source="s1", start=0, end=5, reason="\ud800" * 1000))
        assert client.answer()["committed"] == 5
        client.send(batch(LINES[:1], start=5, end=6))
        assert client.answer()["lines"] == 1
        assert client.report()["losses"][0][2].startswith("\\ud800")


# --- reports


def test_e19_a_report_lists_the_extents_of_a_source_and_checks_them(tmp_path: Path) -> None:
    """Rule E19."""
    with running_server(tmp_path) as server, DeliveryClient(server, source="s1") as client:
        client.send(batch(LINES[:10], start=0) + batch(LINES[10:20], start=size_of(LINES[:10])))
        while client.answer()["lines"] < 20:
            pass
        here = position(LINES[:20])
        name = str(segment_of(server.data_dir).relative_to(server.data_dir / "segments"))
        assert client.report() == {
            "status": "ok",
            "message": "report",
            "source": "s1",
            "known": True,
            "committed": here["committed"],
            "lines": 20,
            "crc32": here["crc32"],
            "extents": [[0, here["committed"], 20, here["crc32"], "ok", name]],
            "losses": [],
            "more": False,
            "windows": [],
            "skipped": [],
            "unreadable": [],
        }


def test_e19_an_unknown_source_is_reported_as_unknown(tmp_path: Path) -> None:
    """Rule E19."""
    with running_server(tmp_path) as server, DeliveryClient(server) as client:
        page = client.report("never-heard-of")
        assert (page["known"], page["committed"], page["extents"]) == (False, 0, [])


def test_e19_a_report_shows_damage_to_the_segments(tmp_path: Path) -> None:
    """Rule E19."""
    with running_server(tmp_path, segment_bytes=1024) as server, DeliveryClient(server, source="s1") as client:
        for number in range(4):
            start = 10 * number
            client.send(batch(LINES[start : start + 10], start=size_of(LINES[:start])))
        while client.answer()["lines"] < 40:
            pass
        assert [extent[4] for extent in client.report()["extents"]] == ["ok"] * 4
        content = bytearray(segment_of(server.data_dir, 0).read_bytes())
        content[100] ^= 1
        segment_of(server.data_dir, 0).write_bytes(content)
        removed = segment_of(server.data_dir, 1)
        removed.write_bytes(b"".join(removed.read_bytes().splitlines(keepends=True)[1:]))
        segment_of(server.data_dir, 2).unlink()
        assert [extent[4] for extent in client.report()["extents"]] == ["altered", "altered", "missing", "ok"]


def test_e19_a_report_comes_in_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule E19."""
    monkeypatch.setattr("logferry.server.storage.disk.integrity.source_report.REPORT_PAGE", 2)
    with running_server(tmp_path, segment_bytes=1024) as server, DeliveryClient(server, source="s1") as client:
        for number in range(5):
            start = 10 * number
            client.send(batch(LINES[start : start + 10], start=size_of(LINES[:start])))
        while client.answer()["lines"] < 50:
            pass
        after, lines, pages = 0, 0, 0
        more = True
        while more:
            page = client.report(after=after)
            after, more = page["extents"][-1][1], page["more"]
            lines += sum(extent[2] for extent in page["extents"])
            pages += 1
        assert (pages, lines) == (3, 50)


def test_e19_reports_are_answered_one_after_the_other(tmp_path: Path) -> None:
    """Rule E19."""
    with running_server(tmp_path) as server, DeliveryClient(server, source="s1") as client:
        client.send(control_line("report", source="s1", after=0) * 20)
        assert [client.answer()["message"] for _ in range(20)] == ["report"] * 20


def test_e19_a_ledger_that_cannot_be_read_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule E19."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("logferry.server.storage.disk.integrity.source_report.report", fail)
    with running_server(tmp_path) as server, DeliveryClient(server, source="s1") as client:
        assert client.report()["status"] == "error"
        client.send(batch(LINES[:1], start=0))
        assert client.answer() == position(LINES[:1])


def extents(client: DeliveryClient) -> list[list[int]]:
    """Return the first and last offset of each extent of the source."""
    return [extent[:2] for extent in client.report()["extents"]]


def test_e20_a_split_batch_begins_a_new_extent_and_others_extend_the_last(tmp_path: Path) -> None:
    """Rule E20."""
    ends = [size_of(LINES[:number]) for number in range(5)]
    with running_server(tmp_path) as server, DeliveryClient(server, source="s1") as client:
        for number, is_split in enumerate([False, False, True, False]):
            client.send(batch([LINES[number]], start=ends[number], is_split=is_split))
            assert client.answer_after_alive()["committed"] == ends[number + 1]
        assert extents(client) == [[0, ends[2]], [ends[2], ends[4]]]
        assert [extent[4] for extent in client.report()["extents"]] == ["ok", "ok"]


@pytest.mark.parametrize("operation", ["write", "sync"])
def test_e20_a_repeat_and_a_disk_that_fails_for_a_while_begin_no_further_extent(tmp_path: Path, operation: str) -> None:
    """Rule E20."""
    ends = [size_of(LINES[:number]) for number in range(4)]
    files = FailingFiles(**{operation: [5, 5]})
    with running_server(tmp_path, files=files) as server, DeliveryClient(server, source="s1") as client:
        for number in (0, 1, 1, 0, 2, 1):
            client.send(batch([LINES[number]], start=ends[number], is_split=number == 1))
            client.answer_after_alive()
        assert extents(client) == [[0, ends[1]], [ends[1], ends[3]]]
        assert server.stored_lines() == LINES[:3]


def repair(lines: list[bytes], start: int = 0, **changes: Any) -> bytes:
    payload = b"".join(lines)
    fields = {"source": "s1", "start": start, "end": start + len(payload), "lines": len(lines), "bytes": len(payload)}
    fields |= {"encoding": "identity", "crc32": zlib.crc32(payload)}
    return control_line("repair", **(fields | changes)) + payload


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[12] ^= 1
    path.write_bytes(content)


def test_e23_to_e26_a_client_is_notified_of_damage_and_another_connection_repairs_it_without_an_open(
    tmp_path: Path,
) -> None:
    """Rules E23, E24, E25 and E26."""
    with (
        running_server(tmp_path) as server,
        DeliveryClient(server, source="s1", features=["heal"]) as client,
        DeliveryClient(server) as other,
    ):
        client.send(batch(LINES[:10], start=0))
        assert client.answer() == position(LINES[:10])
        damage(segment_of(server.data_dir))
        assert other.report()["extents"][0][4] == "altered"
        assert client.answer() == {"status": "ok", "message": "damage", "source": "s1"}
        other.send(control_line("content", source="s1", start=0, position=0, bytes=5))
        assert other.answer()["data"] == base64.b64encode(LINES[0][:5]).decode()
        other.send(control_line("damaged", source="s1", after=0))
        size = size_of(LINES[:10])
        extent = [0, size, 10, zlib.crc32(b"".join(LINES[:10]))]
        page = other.answer()
        assert (page["source"], page["extents"], page["more"]) == ("s1", [extent], False)
        assert server.stats.damaged_extents == 1
        other.send(repair(LINES[1:11]))
        assert not other.answer()["whole"]
        other.send(repair(LINES[:10]))
        outcome = other.answer()
        assert (outcome["source"], outcome["start"], outcome["whole"], outcome["reason"]) == ("s1", 0, True, "")
        assert (server.stats.damaged_extents, server.stats.extents_repaired) == (0, 1)
        client.send(batch(LINES[10:20], start=size))
        assert client.answer() == position(LINES[:20])
        assert server.stored_lines() == LINES[:20]
    findings = [(finding.kind, finding.problem) for finding in fsck(tmp_path / "data")]
    assert findings == [("segment", ""), ("repaired", "")]  # the damaged bytes are kept


def test_e23_a_client_that_connects_is_notified_of_its_damage_and_of_no_other(tmp_path: Path) -> None:
    """Rule E23."""
    with running_server(tmp_path) as server:
        with DeliveryClient(server, source="s1") as client:
            client.send(batch(LINES[:10], start=0))
            client.answer()
            damage(segment_of(server.data_dir))
            client.report()
        with DeliveryClient(server, features=["heal"]) as client:
            assert client.answer() == {"status": "ok", "message": "damage", "source": "s1"}
        for changes in ({}, {"features": ["else"]}, {"features": ["heal"], "client": "another"}):
            with DeliveryClient(server, **changes) as client:
                assert client.report("none")["message"] == "report"


def test_e26_a_second_repair_before_the_answer_to_the_first_ends_the_connection(tmp_path: Path) -> None:
    """Rule E26."""
    with running_server(tmp_path) as server, DeliveryClient(server, source="s1") as client:
        client.send(repair(LINES[:1]) * 2)
        messages = {client.answer()["message"] for _ in range(2)}
        assert messages == {"a repair before the answer to the one before", "repair"}


def test_e39_after_the_end_everything_is_answered_and_nothing_more_is_taken(tmp_path: Path) -> None:
    """Rule E39."""
    files = BlockedFiles("sync")
    with running_server(tmp_path, files=files) as server, DeliveryClient(server, source="s1") as client:
        client.send(batch(LINES[:1], start=0))
        assert files.is_waiting.wait(DEADLINE_S)
        client.send(control_line("report", source="s1", after=0))
        client.send(control_line("end") + batch(LINES[1:2], start=size_of(LINES[:1])) + b"rubbish\n")
        files.may_go_on.set()
        answers = [json.loads(line) for line in client.read_to_end().splitlines()]
        assert {answer["message"] for answer in answers} == {"received", "report"}
        assert server.stored_lines() == LINES[:1]
        assert server.stats.lines_rejected == 0


def test_e39_an_end_needs_a_hello_as_any_line_does(tmp_path: Path) -> None:
    """Rule E39."""
    with running_server(tmp_path) as server, server.connect() as client:
        client.send(control_line("end"))
        assert client.answer()["status"] == "error"
        assert client.read_to_end() == b""


def test_e39_the_welcome_lists_the_feature(tmp_path: Path) -> None:
    """Rule E39."""
    with running_server(tmp_path) as server, server.connect() as client:
        client.send(hello())
        assert "end" in client.answer()["features"]
