"""The server on a real socket: acks, order, durability modes, limits, and shutdown."""

import asyncio
import errno
import gzip
import json
import logging
import os
import socket
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from logferry.config.kinds.listen_urls import ListenUrl
from logferry.errors import LogferryError, StoreError
from logferry.protocol.compressor import encode_frame
from logferry.protocol.plain.acks import ACK_OK
from logferry.server import Patience, serve
from logferry.server.clients.memory.flow_control import MAX_UNSTORED_BYTES
from logferry.server.clients.sessions.answers import cost_of
from logferry.server.clients.sessions.plain import OVERHEAD_BYTES
from logferry.server.listen import BoundAddress
from logferry.server.storage.disk.files.file_system import FileSystem
from tests.support.running import (
    DEADLINE_S,
    RawClient,
    RunningServer,
    numbered_line,
    running_server,
    serve_settings,
    stored_lines,
    wait_until,
)
from tests.support.stores import FailingFiles

LINES = [numbered_line(number) for number in range(1000)]


def test_every_line_is_acked_and_stored_unchanged(tmp_path: Path) -> None:
    """Rules A1 and L7."""
    with running_server(tmp_path) as server, server.connect() as client:
        client.send(b"".join(LINES))
        assert client.answers(1000) == ["ok"] * 1000
        assert server.stored_lines() == LINES
        assert server.stats.lines_stored == 1000


def test_lines_and_frames_may_alternate_on_one_connection(tmp_path: Path) -> None:
    """Rule M1."""
    with running_server(tmp_path) as server, server.connect() as client:
        for start in range(0, 40, 4):
            client.send(b"".join(LINES[start : start + 2]))
            client.send(encode_frame(b"".join(LINES[start + 2 : start + 4]), level=1))
        assert client.answers(40) == ["ok"] * 40
        assert server.stored_lines() == LINES[:40]


def test_a_message_may_arrive_byte_by_byte(tmp_path: Path) -> None:
    with running_server(tmp_path) as server, server.connect() as client:
        for byte in LINES[0] + encode_frame(LINES[1], level=1):
            client.send(bytes([byte]))
        assert client.answers(2) == ["ok", "ok"]
        assert server.stored_lines() == LINES[:2]


def test_acks_and_errors_follow_the_order_of_the_lines(tmp_path: Path) -> None:
    """Rules A1 and A4."""
    with running_server(tmp_path) as server, server.connect() as client:
        for start in range(0, 60, 3):
            client.send(b"".join(LINES[start : start + 2]) + b"rubbish\n" + LINES[start + 2])
        assert client.answers(80) == ["ok", "ok", "error", "ok"] * 20
        assert server.stored_lines() == LINES[:60]
        assert server.stats.lines_rejected == 20


def test_a_large_frame_is_judged_in_steps_and_later_lines_stay_behind_it(tmp_path: Path) -> None:
    lines = [numbered_line(number) for number in range(20_000)]  # more than one step of 256 KiB
    with running_server(tmp_path) as server, server.connect() as client:
        client.send(encode_frame(b"".join(lines[:19_000]), level=1) + b"".join(lines[19_000:]))
        client.finish_sending()
        assert client.read_to_end().count(b'"ok"') == 20_000
        assert server.stored_lines() == lines


def test_a_client_that_closes_its_sending_half_gets_all_its_acks(tmp_path: Path) -> None:
    with running_server(tmp_path) as server, server.connect() as client:
        client.send(b"".join(LINES)[:-1])  # the last line has no newline
        client.finish_sending()
        assert client.read_to_end().count(b"\n") == 1000
        assert server.stored_lines() == LINES
        wait_until(lambda: server.stats.connections == 0, "the connection is closed")


def test_complete_lines_before_a_reset_are_stored(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        client = server.connect()
        client.send(b"".join(LINES[:10]) + LINES[10][:20])
        wait_until(lambda: server.stats.lines_stored == 10, "ten lines are stored")
        client.reset()
        wait_until(lambda: server.stats.connections == 0, "the connection is gone")
        assert server.stored_lines() == LINES[:10]
        assert server.stats.bytes_in_memory == 0


@pytest.mark.parametrize("durability", ["fsync", "os", "none"])
def test_every_durability_stores_everything(tmp_path: Path, durability: str) -> None:
    with running_server(tmp_path, durability=durability) as server:
        with server.connect() as client:
            client.send(b"".join(LINES))
            assert client.answers(1000) == ["ok"] * 1000
        server.stop()
        assert server.stored_lines() == LINES
        assert (server.stats.syncs > 0) == (durability == "fsync")


class BlockedFiles(FileSystem):
    """A disk that blocks at one operation until `may_go_on` is set."""

    def __init__(self, operation: str) -> None:
        self.may_go_on = threading.Event()
        self.is_waiting = threading.Event()
        original = getattr(self, operation)

        def wait_first(*arguments: object) -> object:
            self.is_waiting.set()
            assert self.may_go_on.wait(DEADLINE_S)
            return original(*arguments)

        setattr(self, operation, wait_first)


def holds(server: RunningServer, lines: Sequence[bytes], *, deliveries: range) -> bool:
    """Whether the server holds exactly these lines, unstored, in any of these numbers of deliveries."""
    overhead = OVERHEAD_BYTES + cost_of([(ACK_OK, 1)])
    size = sum(map(len, lines))
    return server.stats.bytes_in_memory in [size + count * overhead for count in deliveries]


@pytest.mark.parametrize(("durability", "operation"), [("fsync", "sync"), ("fsync", "sync_folder"), ("os", "write")])
def test_no_ack_precedes_its_durability(tmp_path: Path, durability: str, operation: str) -> None:
    """Rule A2."""
    files = BlockedFiles(operation)
    with running_server(tmp_path, durability=durability, files=files) as server, server.connect() as client:
        client.send(LINES[0] + b"rubbish\n")
        assert files.is_waiting.wait(DEADLINE_S)
        client.socket.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.answer()
        client.socket.settimeout(DEADLINE_S)
        files.may_go_on.set()
        assert client.answers(2) == ["ok", "error"]


def test_with_durability_none_the_ack_does_not_wait_for_the_disk(tmp_path: Path) -> None:
    """Rule A2."""
    files = BlockedFiles("write")
    with running_server(tmp_path, durability="none", files=files) as server, server.connect() as client:
        client.send(LINES[0])
        assert client.answers(1) == ["ok"]
        files.may_go_on.set()
        wait_until(lambda: server.stored_lines() == LINES[:1], "the line is stored")


def test_a_line_is_not_answered_before_the_disk_accepts_it(tmp_path: Path) -> None:
    """Rule A5."""
    files = FailingFiles(write=[errno.ENOSPC] * 1_000_000)
    with running_server(tmp_path, files=files) as server, server.connect() as client:
        client.send(LINES[0])
        wait_until(lambda: server.stats.disk_is_failing, "the disk has refused it")
        client.socket.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.answer()
        client.socket.settimeout(DEADLINE_S)
        files.failures["write"] = []
        assert client.answers(1) == ["ok"]
        assert server.stored_lines() == LINES[:1]


def test_many_waiting_clients_share_one_sync(tmp_path: Path) -> None:
    files = BlockedFiles("sync")
    with running_server(tmp_path, files=files) as server:
        clients = [server.connect() for _ in range(20)]
        clients[0].send(LINES[0])
        assert files.is_waiting.wait(DEADLINE_S)
        for client, line in zip(clients[1:], LINES[1:], strict=False):
            client.send(line)
        wait_until(lambda: holds(server, LINES[:20], deliveries=range(20, 21)), "all lines have arrived")
        files.may_go_on.set()
        assert [client.answers(1) for client in clients] == [["ok"]] * 20
        assert server.stats.groups == 2
        assert server.stats.syncs == 2
        assert sorted(server.stored_lines()) == sorted(LINES[:20])


def let_the_loop_run(server: RunningServer) -> None:
    """Give the server ample opportunity to read too much: it accepts twenty new connections meanwhile."""
    for _ in range(20):
        before = server.stats.connections_total
        server.connect().close()
        wait_until(lambda before=before: server.stats.connections_total > before, "it is accepted")  # type: ignore[misc]


def test_reading_pauses_while_a_client_has_too_much_unstored_data(tmp_path: Path) -> None:
    """Rule A3."""
    files = BlockedFiles("sync")
    lines = [numbered_line(number) for number in range(200_000)]  # 15 MB
    with running_server(tmp_path, files=files) as server, server.connect() as client:
        sender = threading.Thread(target=client.send, args=(b"".join(lines),))
        sender.start()
        wait_until(lambda: server.stats.bytes_in_memory > MAX_UNSTORED_BYTES, "the limit of one client is reached")
        let_the_loop_run(server)
        assert server.stats.bytes_in_memory < MAX_UNSTORED_BYTES + 1024 * 1024
        files.may_go_on.set()
        assert client.answers(200_000) == ["ok"] * 200_000
        sender.join(DEADLINE_S)
        assert server.stored_lines() == lines


def test_all_clients_together_stay_within_the_memory_limit(tmp_path: Path) -> None:
    files = BlockedFiles("sync")
    limit, per_client = 2 * 1024 * 1024, 10_000
    with running_server(tmp_path, files=files, memory_limit_bytes=limit) as server:
        clients = [server.connect() for _ in range(8)]
        payload = b"".join(numbered_line(number) for number in range(per_client))  # 8 x 0.8 MB
        senders = [threading.Thread(target=client.send, args=(payload,)) for client in clients]
        for sender in senders:
            sender.start()
        # The limit may be exceeded only while a read is judged; the pressure lasts down to three quarters of it.
        wait_until(lambda: server.stats.bytes_in_memory > limit * 3 // 4, "reading stops for want of memory")
        let_the_loop_run(server)
        assert server.stats.bytes_in_memory <= limit * 5 // 4 + 400 * 1024  # and a read, and a small read of each
        files.may_go_on.set()
        for client in clients:
            assert client.answers(per_client) == ["ok"] * per_client
        assert server.stats.lines_stored == 8 * per_client
        assert server.stats.bytes_in_memory == 0


def test_when_incomplete_messages_fill_the_memory_the_client_that_makes_no_progress_is_dropped(tmp_path: Path) -> None:
    """Rule A6."""
    with running_server(tmp_path, memory_limit_bytes=1024 * 1024) as server:
        stuck, good = server.connect(), server.connect()
        stuck.send(b'{"level": "' + b"S" * 2_000_000)
        good.send(LINES[0])
        assert good.answers(1) == ["ok"]
        assert stuck.read_to_end() == b""  # rule A6: an answer would refuse a line for good


def test_a_health_probe_is_not_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), running_server(tmp_path) as server:
        server.connect().close()
        server.connect().reset()
        wait_until(lambda: server.stats.connections_total == 2 and not server.stats.connections, "both are gone")
        assert server.stats.connections_silent == 2
    assert [record.message for record in caplog.records if "clients" in record.name] == []


def test_rule_a6_a_connection_over_the_limit_is_closed_without_an_answer(tmp_path: Path) -> None:
    """Rule A6."""
    with running_server(tmp_path, max_connections=2) as server:
        first, second = server.connect(), server.connect()
        for client in (first, second):
            client.send(LINES[0])
            assert client.answers(1) == ["ok"]
        with server.connect() as third:
            third.send(LINES[1])
            assert third.read_to_end() == b""
        first.close()
        wait_until(lambda: server.stats.connections == 1, "there is room again")
        with server.connect() as fourth:
            fourth.send(LINES[1])
            assert fourth.answers(1) == ["ok"]
        second.close()


def test_a_silent_client_is_closed_after_the_idle_timeout(tmp_path: Path) -> None:
    with running_server(tmp_path, idle_timeout=0.2) as server, server.connect() as client:
        client.send(LINES[0])
        assert client.answers(1) == ["ok"]
        assert client.read_to_end() == b""
        assert server.stats.clients_dropped == 0


def test_a_client_that_waits_for_the_disk_is_not_idle(tmp_path: Path) -> None:
    files = BlockedFiles("sync")
    with running_server(tmp_path, idle_timeout=0.1, files=files) as server:
        client, silent = server.connect(), server.connect()
        client.send(LINES[0])
        assert files.is_waiting.wait(DEADLINE_S)
        assert silent.read_to_end() == b""  # so the timeout has passed
        files.may_go_on.set()
        assert client.answers(1) == ["ok"]


def test_foreign_objects_are_accepted_if_the_option_says_so(tmp_path: Path) -> None:
    foreign = b'{"log": "from another agent"}\n'
    with running_server(tmp_path, accept="any-object") as server, server.connect() as client:
        client.send(foreign + b"[1]\n")
        assert client.answers(2) == ["ok", "error"]
        assert server.stored_lines() == [foreign]


def test_stored_lines_are_echoed(tmp_path: Path) -> None:
    echoed: list[bytes] = []
    with running_server(tmp_path, echo=echoed.append) as server, server.connect() as client:
        client.send(b"".join(LINES[:10]))
        assert client.answers(10) == ["ok"] * 10
        wait_until(lambda: b"".join(echoed) == b"".join(LINES[:10]), "all is echoed")


def test_a_broken_echo_is_disabled_and_nothing_else(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: bytes) -> None:
        raise BrokenPipeError("nobody listens")

    with running_server(tmp_path, echo=broken) as server, server.connect() as client:
        for line in LINES[:5]:
            client.send(line)
            assert client.answers(1) == ["ok"]
    assert [message for message in caplog.messages if message.startswith("cannot echo")] == [
        "cannot echo stored lines, not trying again: nobody listens"
    ]


def test_ipv6_clients_have_folders_of_their_own(tmp_path: Path) -> None:
    if not _has_ipv6():
        pytest.skip("this machine has no IPv6 loopback")
    with running_server(tmp_path, server_host="::") as server:
        server.host = "::1"
        with server.connect() as six:
            six.send(LINES[0])
            assert six.answers(1) == ["ok"]
        server.host = "127.0.0.1"
        with server.connect() as four:
            four.send(LINES[1])
            assert four.answers(1) == ["ok"]
        folders = sorted(path.parent.parent.name for path in server.data_dir.glob("segments/**/*.ndjson"))
        assert folders == ["--1", "127.0.0.1"]


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
        return True
    except OSError:
        return False


def test_a_name_with_two_addresses_listens_on_one_port_at_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def two_addresses(*_: object, **__: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, 1, 6, "", (host, 0)) for host in ("127.0.0.1", "127.0.0.2")]

    monkeypatch.setattr(socket, "getaddrinfo", two_addresses)
    with running_server(tmp_path, server_host="both") as server:
        (first, port), (second, same_port) = server.server.addresses
        assert (first, second) == ("127.0.0.1", "127.0.0.2")
        assert port == same_port


def test_a_port_in_use_is_a_clear_error(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        settings = serve_settings(tmp_path / "other", server_port=server.port)
        with pytest.raises(LogferryError, match=rf"cannot listen on 127.0.0.1 port {server.port}: .*in use"):
            RunningServer(settings)


def test_an_unknown_host_name_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(LogferryError, match=r"cannot listen on no-such-host.invalid port 0: "):
        RunningServer(serve_settings(tmp_path, server_host="no-such-host.invalid"))


def test_a_second_server_on_the_same_folder_names_the_first(tmp_path: Path) -> None:
    with running_server(tmp_path) as server, pytest.raises(StoreError, match=f"process {os.getpid()}"):
        RunningServer(serve_settings(server.data_dir))


def test_a_stop_stores_and_acks_all_received_lines(tmp_path: Path) -> None:
    files = BlockedFiles("sync")
    with running_server(tmp_path, files=files) as server, server.connect() as client:
        client.send(b"".join(LINES))
        wait_until(lambda: holds(server, LINES, deliveries=range(1, 10)), "all is received")
        assert files.is_waiting.wait(DEADLINE_S)
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        files.may_go_on.set()
        assert client.read_to_end().count(b'"ok"') == 1000
        client.close()
        stopping.join(DEADLINE_S)
        assert not stopping.is_alive()
        assert server.stored_lines() == LINES


def test_a_stop_is_bounded_when_the_disk_hangs(tmp_path: Path) -> None:
    """Rule A6."""
    files = BlockedFiles("sync")
    patience = Patience(linger_s=0.1)
    with running_server(tmp_path, files=files, shutdown_timeout=0.3, patience=patience) as server:
        client = server.connect()
        client.send(LINES[0])
        assert files.is_waiting.wait(DEADLINE_S)
        server.stop()  # exceeds the helper's deadline if the stop is not bounded
        assert client.read_to_end() == b""  # no ack for what is not stored
        files.may_go_on.set()


def test_after_a_stop_the_next_server_continues_where_the_first_ended(tmp_path: Path) -> None:
    for start in (0, 500):
        with running_server(tmp_path) as server, server.connect() as client:
            client.send(b"".join(LINES[start : start + 500]))
            assert client.answers(500) == ["ok"] * 500
    assert stored_lines(tmp_path / "data") == LINES
    assert len(list((tmp_path / "data").glob("segments/**/*.ndjson"))) == 1


def test_serve_runs_until_it_is_asked_to_stop(tmp_path: Path) -> None:
    async def scenario() -> int:
        stop = asyncio.Event()
        ready: asyncio.Future[Sequence[BoundAddress]] = asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(serve(serve_settings(tmp_path), stop_requested=stop, on_ready=ready.set_result))
        host, port = (await asyncio.wait_for(ready, DEADLINE_S))[0][:2]
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(gzip_frame(LINES[:3]))
        for _ in range(3):
            assert json.loads(await asyncio.wait_for(reader.readline(), DEADLINE_S))["status"] == "ok"
        writer.close()
        stop.set()
        return (await asyncio.wait_for(serving, DEADLINE_S)).lines_stored

    assert asyncio.run(scenario()) == 3


def gzip_frame(lines: list[bytes]) -> bytes:
    """Frame lines with the standard library alone, as a foreign client would."""
    body = gzip.compress(b"".join(lines))
    return len(body).to_bytes(4, "big") + body


def test_serve_ends_with_an_error_when_the_writer_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(*_: object) -> None:
        raise RuntimeError("a bug")

    async def scenario() -> None:
        def send_a_line(addresses: Sequence[BoundAddress]) -> None:
            with socket.create_connection(addresses[0][:2]) as client:
                client.sendall(LINES[0])

        settings = serve_settings(tmp_path, shutdown_timeout=10)
        serving = serve(settings, stop_requested=asyncio.Event(), on_ready=send_a_line)
        await asyncio.wait_for(serving, 5)  # less than the shutdown timeout: there is nothing to wait for

    monkeypatch.setattr(FileSystem, "make_folder", bug)
    with pytest.raises(StoreError, match="the store has failed"):
        asyncio.run(scenario())


@pytest.mark.parametrize(("host", "is_exposed"), [("127.0.0.1", False), ("0.0.0.0", True)])
def test_a_server_that_other_machines_can_reach_warns_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, host: str, is_exposed: bool
) -> None:
    with running_server(tmp_path, server_host=host) as server:
        warnings = [message for message in caplog.messages if "there is no login and no encryption" in message]
        assert len(warnings) == int(is_exposed)
        assert all(f"0.0.0.0 port {server.port} " in message for message in warnings)


def test_a_server_listens_at_every_url(tmp_path: Path) -> None:
    urls = (ListenUrl("tcp", "127.0.0.1", 0), ListenUrl("tcp", "::1", 0), ListenUrl("tcp", "127.0.0.1", 0))
    with running_server(tmp_path, listen=urls) as server:
        addresses = server.server.addresses
        assert [host for host, _ in addresses] == ["127.0.0.1", "::1", "127.0.0.1"]
        for host, port in addresses:
            with RawClient(host, port) as client:
                client.send(LINES[0])
                assert client.answers(1) == ["ok"]


def test_a_url_that_cannot_be_bound_frees_the_others(tmp_path: Path) -> None:
    with running_server(tmp_path) as taken:
        free = socket.create_server(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        urls = (ListenUrl("tcp", "127.0.0.1", port), ListenUrl("tcp", "127.0.0.1", taken.port))
        with pytest.raises(LogferryError, match=rf"^cannot listen on 127\.0\.0\.1 port {taken.port}: "):
            RunningServer(serve_settings(tmp_path / "other", listen=urls))
        socket.create_server(("127.0.0.1", port)).close()
