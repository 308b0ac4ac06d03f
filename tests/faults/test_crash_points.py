"""The server is killed exactly at each durable step, at its first group and at later ones, and started again.

Judged by conservation: what was acked is there; after the client has sent again what was not, every line is there once.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from logferry.errors import StoreError
from logferry.server.storage.disk.integrity.fsck import fsck
from logferry.server.storage.disk.recovery.rebuild import rebuild
from tests.support.delivery import LINES, DeliveryClient, batch, position, size_of
from tests.support.running import RawClient, RunningServer, running_server, stored_lines, wait_until

POINTS = ["before append", "after append", "after fsync", "after transaction", "before ack"]

# In the thread that compresses, and in a repair of a compressed segment.
COMPRESSING = ["compressed file written", "compressed file renamed", "compression recorded"]
MAKING_PLAIN = ["plain file written", "plain file renamed", "plain form recorded"]

_SERVER = """
import asyncio, dataclasses, os, signal, sys
from pathlib import Path
from logferry.config import ServeSettings, load
from logferry.server import Replacements, Server

folder, durability, point, countdown = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
compression = sys.argv[5]

def crash_point(name):
    global countdown
    countdown -= name == point
    if countdown == 0:
        os.kill(os.getpid(), signal.SIGKILL)

async def run():
    options = {"server_host": "127.0.0.1", "server_port": "0", "data_dir": folder, "durability": durability,
               "segment_bytes": "1024", "segment_compression": compression}
    server = Server(load(ServeSettings, options, {}), replacements=Replacements(crash_point=crash_point))
    await server.start()
    print(server.addresses[0][1], flush=True)
    await asyncio.Event().wait()

asyncio.run(run())
"""

BATCH = 5
TOTAL = 50


@contextmanager
def server_that_crashes(
    data_dir: Path, point: str, at: int, *, durability: str = "fsync", compression: str = "none"
) -> Iterator[int]:
    """Run a server that kills itself when it comes to `point` for the `at`-th time; yield its port."""
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVER, str(data_dir), durability, point, str(at), compression],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "src")},
        text=True,
    )
    try:
        assert process.stdout
        yield int(process.stdout.readline())
        assert process.wait(15) == -signal.SIGKILL
    finally:
        process.kill()
        process.communicate()


class Unstarted(RunningServer):
    """Only an address, for clients of a server in another process."""

    def __init__(self, port: int) -> None:
        self.host, self.port = "127.0.0.1", port


def ship_until_the_crash(port: int, *, durability: str = "fsync") -> int:
    """Send batches, each when the one before is acked; return how many lines were acked."""
    acked = 0
    try:
        with DeliveryClient(Unstarted(port), source="s1") as client:
            acked = client.opened["lines"]
            while acked < TOTAL:
                client.send(batch(LINES[acked : acked + BATCH], start=size_of(LINES[:acked])))
                assert client.answer() == position(LINES[: acked + BATCH], durability=durability)
                acked += BATCH
    except (AssertionError, ConnectionError):
        pass  # of the kill; after a wrong answer the number is wrong
    return acked


def assert_it_is_sound(data_dir: Path) -> None:
    assert [finding for finding in fsck(data_dir) if finding.problem] == []


@pytest.mark.parametrize("at", [1, 2, 3, 5, 9])  # 1 is the opening of the source; each third batch begins a segment
@pytest.mark.parametrize("point", POINTS)
def test_a_crash_loses_nothing_that_was_acked_and_repeats_nothing(tmp_path: Path, point: str, at: int) -> None:
    data_dir = tmp_path / "data"
    with server_that_crashes(data_dir, point, at) as port:
        acked = ship_until_the_crash(port)
    assert acked == max(0, at - 2) * BATCH
    assert stored_lines(data_dir)[:acked] == LINES[:acked]
    with running_server(tmp_path, segment_bytes=1024) as server, DeliveryClient(server, source="s1") as client:
        assert client.opened["committed"] >= size_of(LINES[:acked])
        was_in_ledger = client.opened["lines"] > acked
        assert was_in_ledger == (at > 1 and point in ("after transaction", "before ack"))
        assert (server.stats.recovered_bytes > 0) == (at > 1 and point in ("after append", "after fsync"))
        for start in range(acked, TOTAL, BATCH):  # as if the client did not ask where to go on
            client.send(batch(LINES[start : start + BATCH], start=size_of(LINES[:start])))
        answer = client.answer()
        while answer["lines"] < TOTAL:
            answer = client.answer()
        assert answer == position(LINES[:TOTAL])
        assert server.stats.repeats == was_in_ledger
        assert server.stored_lines() == LINES[:TOTAL]
        assert [extent[4] for extent in client.report()["extents"]].count("ok") == len(client.report()["extents"])
    assert_it_is_sound(data_dir)


@pytest.mark.parametrize("point", POINTS)
def test_a_second_crash_in_the_same_place_changes_nothing(tmp_path: Path, point: str) -> None:
    data_dir = tmp_path / "data"
    for _ in range(2):
        with server_that_crashes(data_dir, point, 4) as port:
            acked = ship_until_the_crash(port)
    with running_server(tmp_path, segment_bytes=1024) as server, DeliveryClient(server, source="s1") as client:
        assert client.opened["lines"] >= acked
        start = client.opened["lines"]
        client.send(batch(LINES[start:TOTAL], start=size_of(LINES[:start])))
        assert client.answer() == position(LINES[:TOTAL])
        assert server.stored_lines() == LINES[:TOTAL]
    assert_it_is_sound(data_dir)


@pytest.mark.parametrize("at", [1, 4])
@pytest.mark.parametrize("point", POINTS)
def test_what_a_plain_client_was_acked_is_there_after_a_crash(tmp_path: Path, point: str, at: int) -> None:
    data_dir = tmp_path / "data"
    acked = 0
    with server_that_crashes(data_dir, point, at) as port, RawClient("127.0.0.1", port) as client:
        try:
            while True:
                client.send(LINES[acked])
                assert client.answers(1) == ["ok"]
                acked += 1
        except (AssertionError, ConnectionError):
            pass
    assert acked == at - 1
    with running_server(tmp_path, segment_bytes=1024) as server, server.connect() as again:
        assert server.stored_lines()[:acked] == LINES[:acked]
        again.send(b"".join(LINES[acked:20]))
        assert again.answers(20 - acked) == ["ok"] * (20 - acked)
        repeated = len(server.stored_lines()) - 20
        assert repeated == (point in ("after transaction", "before ack"))  # at least once, as it always was
    assert_it_is_sound(data_dir)


@pytest.mark.parametrize("durability", ["os", "none"])
def test_a_killed_process_loses_nothing_of_a_source_whatever_the_durability(tmp_path: Path, durability: str) -> None:
    data_dir = tmp_path / "data"
    with server_that_crashes(data_dir, "after append", 4, durability=durability) as port:
        assert ship_until_the_crash(port, durability=durability) == 10
    with running_server(tmp_path, durability=durability) as server, DeliveryClient(server, source="s1") as client:
        assert client.opened["lines"] == 10
        assert server.stored_lines() == LINES[:10]
    # What the ledger lacks may have been acked where acks do not wait for the disk, so fsck reports it.
    assert {finding.kind for finding in fsck(data_dir) if finding.problem} <= {"surplus"}


@pytest.mark.parametrize("at", [2, 5])
@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("lost", ["ledger.sqlite3*", "ledger.sqlite3-*"])
def test_a_crash_that_also_costs_the_ledger_or_its_log_loses_and_repeats_nothing(
    tmp_path: Path, lost: str, point: str, at: int
) -> None:
    data_dir = tmp_path / "data"
    with server_that_crashes(data_dir, point, at) as port:
        acked = ship_until_the_crash(port)
    for path in data_dir.glob(lost):
        path.unlink()
    if acked:
        with pytest.raises(StoreError, match="fsck --rebuild"), running_server(tmp_path):
            pass
    with suppress(StoreError):  # before anything was acked, there may be nothing to rebuild
        rebuild(data_dir)
    assert stored_lines(data_dir)[:acked] == LINES[:acked]
    with running_server(tmp_path, segment_bytes=1024) as server, DeliveryClient(server, source="s1") as client:
        assert client.opened["lines"] >= acked
        start = client.opened["lines"]
        client.send(batch(LINES[start:TOTAL], start=size_of(LINES[:start])))
        assert client.answer() == position(LINES[:TOTAL])
        assert server.stored_lines() == LINES[:TOTAL]
    assert_it_is_sound(data_dir)


def ship_all(tmp_path: Path) -> None:
    """Store all lines; three of four segments are closed."""
    with running_server(tmp_path, segment_bytes=1024) as server, DeliveryClient(server, source="s1") as client:
        for start in range(0, TOTAL, BATCH):
            client.send(batch(LINES[start : start + BATCH], start=size_of(LINES[:start])))
        while client.answer()["lines"] < TOTAL:
            pass


def compressed(data_dir: Path) -> list[Path]:
    return sorted(data_dir.glob("segments/**/*.ndjson.gz"))


def end_with_compressed(tmp_path: Path, count: int) -> None:
    """Let a server compress, and see that everything is there, once, in one file for each segment."""
    data_dir = tmp_path / "data"
    with (
        running_server(tmp_path, segment_bytes=1024, segment_compression="gzip") as server,
        DeliveryClient(server, source="s1") as client,
    ):
        wait_until(lambda: len(compressed(data_dir)) == count, "all closed segments are compressed")
        wait_until(lambda: len(list(data_dir.glob("segments/**/*.ndjson"))) == 1, "only the open one is plain")
        assert {extent[4] for extent in client.report()["extents"]} == {"ok"}
        assert server.stored_lines() == LINES[:TOTAL]
    assert_it_is_sound(data_dir)
    assert not list(data_dir.rglob("*.new"))


def repair_all(server: RunningServer) -> None:
    """Send each extent once more, as a client does that was notified of damage."""
    with DeliveryClient(server, source="s1") as client:
        extents = client.report()["extents"]
    with DeliveryClient(server, source="s1", features=["heal"]) as client:
        for start, end, *_ in extents:
            lines = b"".join(LINES)[start:end].splitlines(keepends=True)
            client.send(batch(lines, start=start).replace(b'"batch"', b'"repair"', 1))
            while (answer := client.answer())["message"] != "repair":
                pass  # a notice of damage
            assert answer["whole"]


@pytest.mark.parametrize("point", COMPRESSING)
def test_a_crash_while_segments_are_compressed_loses_and_repeats_nothing(tmp_path: Path, point: str) -> None:
    data_dir = tmp_path / "data"
    ship_all(tmp_path)
    closed = len(list(data_dir.glob("segments/**/*.ndjson"))) - 1
    with server_that_crashes(data_dir, point, 2, compression="gzip"):
        pass
    assert stored_lines(data_dir) == LINES[:TOTAL]
    assert_it_is_sound(data_dir)
    end_with_compressed(tmp_path, closed)


@pytest.mark.parametrize("point", MAKING_PLAIN)
def test_a_crash_while_a_compressed_segment_is_repaired_loses_nothing(tmp_path: Path, point: str) -> None:
    data_dir = tmp_path / "data"
    ship_all(tmp_path)
    closed = len(list(data_dir.glob("segments/**/*.ndjson"))) - 1
    end_with_compressed(tmp_path, closed)
    damaged = compressed(data_dir)[0]
    content = damaged.read_bytes()
    damaged.write_bytes(content[:-6] + bytes([content[-6] ^ 1]) + content[-5:])
    with (
        server_that_crashes(data_dir, point, 1, compression="gzip") as port,
        suppress(AssertionError, ConnectionError),  # of the kill
    ):
        repair_all(Unstarted(port))
    with running_server(tmp_path, segment_bytes=1024) as server:
        repair_all(server)
    end_with_compressed(tmp_path, closed)
