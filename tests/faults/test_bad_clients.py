"""Clients that are broken or hostile: each is answered or closed, in bounded memory, and nobody else notices."""

import os
import random
import resource
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from logferry.protocol.compressor import encode_frame
from logferry.server import Patience
from tests.support.running import (
    DEADLINE_S,
    PeakMemory,
    RawClient,
    RunningServer,
    numbered_line,
    running_server,
    wait_until,
)

MIB = 1024 * 1024


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    """A server whose good clients, one from before the test and one from after it, must get every line stored."""
    with running_server(tmp_path, idle_timeout=600) as running, good_clients_unharmed(running):
        yield running


@contextmanager
def good_clients_unharmed(server: RunningServer) -> Iterator[None]:
    """Ship lines before, during and after what happens within, and look for each of them, once, on the disk."""
    good = [numbered_line(1_000_000 + number) for number in range(300)]
    with server.connect() as early:
        early.send(b"".join(good[:100]))
        assert early.answers(100) == ["ok"] * 100
        yield
        with server.connect() as late:
            for client, lines in ((early, good[100:200]), (late, good[200:])):
                client.send(b"".join(lines))
                assert client.answers(100) == ["ok"] * 100
    wanted = set(good)
    assert [line for line in server.stored_lines() if line in wanted] == good


def raw_frame(body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + body


def zeros_bomb(gigabytes: int) -> bytes:
    """Return the gzip of that many GB of zeros, quickly: blocks after a full flush may be repeated."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, 31)
    first = compressor.compress(bytes(MIB)) + compressor.flush(zlib.Z_FULL_FLUSH)
    block = compressor.compress(bytes(64 * MIB)) + compressor.flush(zlib.Z_FULL_FLUSH)
    return first + block * (gigabytes * 1024 // 64)


@pytest.mark.parametrize("seed", range(10))
def test_random_bytes_are_refused_and_nothing_of_them_is_stored(server: RunningServer, seed: int) -> None:
    with server.connect() as client:
        with suppress(ConnectionError):  # the server may close in the middle of them
            client.send(random.Random(seed).randbytes(300_000) + b"\n")
            client.finish_sending()
        answers = client.read_to_end()
    assert answers.count(b'"status": "error"') == answers.count(b"\n") > 0
    assert server.stats.lines_stored == 100


@pytest.mark.parametrize("half", [b"\0", b"\0\0\1\0", b"\0\0\1\0\x1f\x8b", b"\0\0\1\0\x1f\x8b" + bytes(50), b'{"level'])
def test_half_a_message_and_then_silence_is_closed_after_the_idle_timeout(tmp_path: Path, half: bytes) -> None:
    with running_server(tmp_path, idle_timeout=0.2) as server, server.connect() as client:
        client.send(half)
        assert client.read_to_end() == b""
        with server.connect() as other:
            other.send(numbered_line(1))
            assert other.answers(1) == ["ok"]
        assert server.stats.bytes_in_memory == 0


def test_half_a_frame_and_then_the_end_is_one_error(server: RunningServer) -> None:
    """Rule M9."""
    with server.connect() as client:
        client.send(encode_frame(numbered_line(1), level=1)[:-5])
        client.finish_sending()
        assert b"in the middle of a frame" in client.read_to_end()


def test_a_frame_of_length_zero_is_one_error_and_the_connection_goes_on(server: RunningServer) -> None:
    with server.connect() as client:
        client.send(b"\0\0\0\0" + numbered_line(1))
        assert [client.answer()["message"], client.answer()["message"]] == ["empty frame", "received"]


@pytest.mark.parametrize("length", [2**32 - 1, 2**31, 2**24])
def test_a_frame_length_that_is_not_legal_is_one_error_and_the_end(server: RunningServer, length: int) -> None:
    """Rule M7."""
    with server.connect() as client:
        client.send(struct.pack(">I", length) + b"\x1f\x8b" + bytes(100))
        assert "frame longer than 16777215 bytes" in client.answer()["message"]
        assert client.read_to_end() == b""


def test_a_frame_length_over_the_configured_limit_is_one_error_and_the_end(tmp_path: Path) -> None:
    with (
        running_server(tmp_path, max_frame_bytes=2000) as server,
        good_clients_unharmed(server),
        server.connect() as client,
    ):
        client.send(struct.pack(">I", 2001) + b"\x1f\x8b" + bytes(100))
        assert client.answer()["message"] == "frame longer than 2000 bytes"
        assert client.read_to_end() == b""


def test_the_error_arrives_although_the_client_goes_on_sending(server: RunningServer) -> None:
    with server.connect() as client:
        client.send(struct.pack(">I", 2**32 - 1) + b"\x1f\x8b")
        send_often(client, bytes(100_000), 50)  # raises if the server resets the connection
        client.finish_sending()
        assert "frame longer" in client.answer()["message"]
        assert client.read_to_end() == b""


def test_ten_gigabytes_of_zeros_in_a_frame_cost_neither_time_nor_memory(server: RunningServer) -> None:
    bomb = raw_frame(zeros_bomb(10))
    assert len(bomb) < 16 * MIB
    with PeakMemory() as memory, server.connect() as client:
        client.send(bomb + numbered_line(1))
        assert client.answer()["message"] == "frame inflates to more than 33554432 bytes"
        assert client.answers(1) == ["ok"]
    assert memory.grown_bytes < 120 * MIB  # the frame twice, what it may inflate to, and what the allocator rounds up


def test_of_a_frame_of_a_million_refused_lines_the_rest_is_refused_at_once(server: RunningServer) -> None:
    frame = encode_frame(b"\n" * MIB, level=9)
    assert len(frame) < 2000
    with PeakMemory() as memory, server.connect() as client:
        client.send(frame + numbered_line(1))
        assert client.answers(1002) == ["error"] * 1001 + ["ok"]
    assert memory.grown_bytes < 80 * MIB


def test_bad_lines_in_a_run_take_time_in_proportion_to_their_number(server: RunningServer) -> None:
    lines = [b"x" * MIB, *[b"\xff"] * 200_000]  # would take minutes if each cost a look at all of them
    with server.connect() as client:
        sender = threading.Thread(target=lambda: client.send(b"\n".join(lines) + b"\n"))
        sender.start()  # beside what follows: the server reads no more while its answers are not read
        assert client.answers(len(lines)) == ["error"] * len(lines)
        sender.join(DEADLINE_S)


@pytest.mark.parametrize("cut", [1, 8, 20])
def test_a_whole_frame_of_truncated_gzip_is_one_error(server: RunningServer, cut: int) -> None:
    body = encode_frame(numbered_line(1), level=1)[4:-cut]
    with server.connect() as client:
        client.send(raw_frame(body) + numbered_line(2))
        assert "bad gzip" in client.answer()["message"]
        assert client.answers(1) == ["ok"]


def test_a_frame_that_is_not_gzip_is_skipped_with_one_error(server: RunningServer) -> None:
    """Rule M5."""
    with server.connect() as client:
        client.send(raw_frame(numbered_line(1) * 100) + numbered_line(2))
        assert client.answer()["message"] == "frame is not gzip"
        assert client.answers(1) == ["ok"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"[1, 2]", "not a JSON object"),
        (b'"text"', "not a JSON object"),
        (b"17", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b'{"level": "INFO"}', 'missing field "message"'),
        (b'{"message": "x"}', 'missing field "level"'),
        (b'{"level": "INFO", "message": NaN}', "NaN is not JSON"),
        (b'{"level": "INFO", "message": "x"', "invalid JSON"),
        (b'{"level": "INFO", "message": "\xff"}', "not valid UTF-8"),
        (b"", "empty line"),
        (b"[" * (8 * MIB - 1), "invalid JSON"),
        (b'{"a":' * MIB, "invalid JSON"),
    ],
    ids=lambda value: repr(value[:20]),
)
def test_a_line_that_is_not_taken_is_one_error_with_the_reason(server: RunningServer, line: bytes, reason: str) -> None:
    with server.connect() as client:
        client.send(line + b"\n" + numbered_line(1))
        assert reason in client.answer()["message"]
        assert client.answers(1) == ["ok"]


def test_a_number_of_a_million_digits_is_legal_and_stored(server: RunningServer) -> None:
    line = b'{"level": "INFO", "message": %s}\n' % (b"7" * 1_000_000)
    with server.connect() as client:
        client.send(line)
        assert client.answers(1) == ["ok"]
    assert line in server.stored_lines()


@pytest.mark.parametrize("end", [b"\n", b""], ids=["with its newline", "cut off"])
def test_a_line_of_a_hundred_megabytes_is_one_error_in_bounded_memory(server: RunningServer, end: bytes) -> None:
    piece = b"x" * MIB
    with PeakMemory() as memory, server.connect() as client:
        for _ in range(100):
            client.send(piece)
        client.send(end + numbered_line(1) if end else b"")
        client.finish_sending()
        answers = client.read_to_end()
    assert answers.count(b"line longer than 8388608 bytes") == 1
    assert answers.count(b'"ok"') == (1 if end else 0)
    assert memory.grown_bytes < 50 * MIB


def test_a_line_of_the_greatest_length_is_taken_and_one_byte_more_is_not(tmp_path: Path) -> None:
    frame = b'{"level": "INFO", "message": "%s"}'
    longest = frame % (b"x" * (2000 - len(frame) + 2))
    assert len(longest) == 2000
    with (
        running_server(tmp_path, max_record_bytes=2000) as server,
        good_clients_unharmed(server),
        server.connect() as client,
    ):
        client.send(longest.replace(b"xx", b"x", 1) + b"\n" + longest + b"\n")
        assert client.answers(1) == ["ok"]
        assert "line longer than 2000 bytes" in client.answer()["message"]


def test_a_thousand_idle_connections_harm_nobody(server: RunningServer) -> None:
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 2200:
        pytest.skip("needs 2,200 open files in this process")
    with PeakMemory() as memory:
        idle = [server.connect() for _ in range(1000)]
        wait_until(lambda: server.stats.connections == 1001, "all are connected")
        with server.connect() as client:
            client.send(numbered_line(1))
            assert client.answers(1) == ["ok"]
    assert memory.grown_bytes < 30 * MIB
    for connection in idle:
        connection.close()
    wait_until(lambda: server.stats.connections == 1, "all are gone")


def send_often(client: RawClient, payload: bytes, times: int) -> None:
    for _ in range(times):
        client.send(payload)


def test_a_client_that_never_reads_its_acks_is_bounded_and_dropped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with running_server(tmp_path, patience=Patience(ack_stall_s=0.5, linger_s=0.2)) as server:
        with good_clients_unharmed(server), PeakMemory() as memory:
            client = server.connect(receive_buffer=4096)
            payload = b"".join(map(numbered_line, range(10_000)))
            with pytest.raises(ConnectionError):
                send_often(client, payload, 500)  # 400 MB of lines and 200 MB of acks
            client.close()
        assert server.stats.clients_dropped == 1
        assert server.stats.lines_stored < 4_000_000
        assert server.stats.bytes_in_memory == 0
    assert memory.grown_bytes < 60 * MIB
    assert len([message for message in caplog.messages if "has not read its acks for 0.5 s" in message]) == 1


def test_a_client_that_reads_its_acks_slowly_is_not_dropped(tmp_path: Path) -> None:
    count = 150_000
    with running_server(tmp_path, patience=Patience(ack_stall_s=0.5, linger_s=0.2)) as server:
        client = server.connect(receive_buffer=65536)
        payload = b"".join(map(numbered_line, range(count)))
        sender = threading.Thread(target=client.send, args=(payload,))
        sender.start()
        received = 0
        while received < count * 40:
            received += len(client.socket.recv(16384))
            time.sleep(0.01)  # this is the slowness: far longer in all than the limit for no progress
        sender.join(DEADLINE_S)
        assert (received, server.stats.clients_dropped) == (count * 40, 0)
        client.close()


@pytest.mark.parametrize("sent", [numbered_line(1)[:30], encode_frame(numbered_line(1), level=1)[:20], b"", b"\0"])
def test_a_client_that_resets_in_the_middle_leaves_nothing_behind(server: RunningServer, sent: bytes) -> None:
    client = server.connect()
    client.send(sent)
    client.reset()
    wait_until(lambda: server.stats.connections == 1, "it is gone")
    assert server.stats.bytes_in_memory == 0
    assert server.stats.lines_stored == 100


def test_a_client_that_resets_while_acks_are_on_their_way_loses_no_line(server: RunningServer) -> None:
    lines = [numbered_line(number) for number in range(20_000)]
    client = server.connect(receive_buffer=4096)
    client.send(b"".join(lines))
    wait_until(lambda: server.stats.lines_stored == 20_100, "all is stored")
    client.reset()
    wait_until(lambda: server.stats.connections == 1, "it is gone")
    wanted = set(lines)
    assert [line for line in server.stored_lines() if line in wanted] == lines


def test_rubbish_is_logged_once_with_its_reason_and_then_counted(
    server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    with server.connect() as client:
        client.send(b"rubbish\n" * 500)
        assert client.answers(500) == ["error"] * 500
    wait_until(lambda: server.stats.connections == 1, "it is gone")
    about = [message for message in caplog.messages if "rejected" in message]
    assert len(about) == 2
    assert "rejected: invalid JSON" in about[0]
    assert "500 lines rejected in total" in about[1]


_SMALL_SERVER = """
import asyncio, logging, sys
from pathlib import Path
from logferry.config import ServeSettings, load
from logferry.server import serve
logging.basicConfig(level="INFO")
options = {"server_host": "127.0.0.1", "server_port": "0", "data_dir": sys.argv[1]}
ready = lambda addresses: print(addresses[0][1], flush=True)
asyncio.run(serve(load(ServeSettings, options, {}), stop_requested=asyncio.Event(), on_ready=ready))
"""


def test_more_connections_than_descriptors_neither_stop_nor_spin_the_server(tmp_path: Path) -> None:
    def allow_80_files() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (80, 80))

    source, started_at = str(Path(__file__).parents[2] / "src"), time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-c", _SMALL_SERVER, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": source},
        preexec_fn=allow_80_files,
        text=True,
    )
    try:
        assert process.stdout
        port = int(process.stdout.readline())
        clients = [connect_to(port) for _ in range(100)]
        clients[0].send(numbered_line(1))
        assert clients[0].answers(1) == ["ok"]
        before = cpu_seconds(process.pid)
        time.sleep(0.5)  # what is measured is the time itself: a server that spins uses all of it
        assert cpu_seconds(process.pid) - before < 0.2
        for client in clients:
            client.close()
        wait_until(lambda: takes_a_line(port), "new clients are served again")
    finally:
        process.kill()
        _, log = process.communicate()
    # A few lines a second, however many clients there are and however long the machine takes.
    assert len(log.splitlines()) < 15 + 5 * (time.monotonic() - started_at)


def connect_to(port: int) -> RawClient:
    return RawClient("127.0.0.1", port)


def takes_a_line(port: int) -> bool:
    with connect_to(port) as client, suppress(AssertionError, ConnectionError):
        client.send(numbered_line(2))
        return client.answers(1) == ["ok"]
    return False


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
