"""Every way in which one of several servers can fail: lines flow at the next one, and the union of the stores has all.

Black hole, refused, silent, stopped answering, full, not authorised, and without TLS. docs/protocol.md, rule E41.
"""

import os
import shutil
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from logferry.client.delivery.outputs import logferry as extension
from logferry.client.delivery.outputs import selection, several
from logferry.client.status.snapshot import read
from logferry.config.kinds.server_addresses import ServerAddress
from logferry.server.clients.connection.patience import Patience
from logferry.server.storage.memory_store import MemoryStore
from tests.faults.chaos_proxy import ChaosProxy, Direction, chaos_proxy
from tests.support.certificates import authority_file, files_of, issued
from tests.support.running import numbered_line, running_server, wait_until
from tests.support.several_servers import Fleet, fleet
from tests.support.shipping import append

QUICK = {"ack_timeout": 0.5, "connect_timeout": 0.5}


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Fleet]:
    with fleet(tmp_path, "a", "b") as found:
        yield found


@pytest.fixture
def proxy(two: Fleet) -> Iterator[ChaosProxy]:
    """What stands between the client and server a."""
    with chaos_proxy(two.servers["a"].port) as found:
        yield found


def stored(two: Fleet) -> Counter[bytes]:
    return Counter(two.lines("a") + two.lines("b"))


def lines(numbers: range) -> Counter[bytes]:
    return Counter(numbered_line(number) for number in numbers)


@contextmanager
def never_accepts() -> Iterator[int]:
    """A listener whose backlog is full: connections to it get no answer, as from a black hole."""
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        waiting = []
        for _ in range(3):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(address)
            waiting.append(client)
        try:
            yield address[1]
        finally:
            for client in waiting:
                client.close()


@contextmanager
def accepts_and_is_silent() -> Iterator[int]:
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(100)
        yield listener.getsockname()[1]


@contextmanager
def refuses() -> Iterator[int]:
    with closing(socket.socket()) as taken:  # bound, but not listening
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.mark.parametrize("failing", [never_accepts, accepts_and_is_silent, refuses])
@pytest.mark.parametrize("changes", [{}, {"resilient": True}, {"mode": "batch"}, {"ack": "line"}])
def test_lines_flow_past_a_server_that_does_not_answer(
    two: Fleet, failing: Callable[[], Iterator[int]], changes: dict[str, object]
) -> None:
    append(two.log, range(20))
    with failing() as port:  # type: ignore[attr-defined]
        servers = (ServerAddress("127.0.0.1", port), *two.addresses("b"))
        with two.shipping("b", server=servers, **QUICK, **changes) as shipped:
            shipped.wait_for_acks(20)
            shipped.stop()
    assert Counter(two.lines("b")) == lines(range(20))


@pytest.mark.parametrize("fault", ["half_open", "stall", "cut", "reset"])
def test_a_connection_that_breaks_in_the_middle_costs_nothing(two: Fleet, proxy: ChaosProxy, fault: str) -> None:
    append(two.log, range(50))
    servers = (ServerAddress("127.0.0.1", proxy.port), *two.addresses("b"))
    with two.shipping("b", server=servers, **QUICK) as shipped:
        shipped.wait_for_acks(50)
        if fault in ("cut", "reset"):
            proxy.refuse()
            getattr(proxy, fault)()
        elif fault == "stall":
            proxy.stall(Direction.DOWN)
        else:
            proxy.half_open()
            proxy.refuse()
        append(two.log, range(50, 100))
        shipped.wait_for_acks(100)
        shipped.stop()
    union = stored(two)
    assert set(union) == set(lines(range(100)))
    assert set(two.lines("b")) == set(lines(range(50, 100)))
    verdict = two.verify("a", "b")
    assert (verdict.lines, verdict.stored, verdict.missing) == (100, 100, [])
    assert sum(piece.lines for piece in verdict.doubled) == union.total() - 100
    assert all(len(piece.servers) == 2 for piece in verdict.doubled)


def test_a_lost_ack_leaves_a_range_in_two_stores_which_verify_names(two: Fleet, proxy: ChaosProxy) -> None:
    append(two.log, range(50))
    servers = (ServerAddress("127.0.0.1", proxy.port), *two.addresses("b"))
    with two.shipping("b", server=servers) as shipped:
        shipped.wait_for_acks(50)
        proxy.refuse()
        proxy.lose_next_acks_of_batches(1)
        append(two.log, range(50, 80))
        shipped.wait_for_acks(80)
        shipped.stop()
    union = stored(two)
    assert set(union) == set(lines(range(80)))
    assert union.total() > 80
    verdict = two.verify("a", "b")
    assert (verdict.lines, verdict.stored, verdict.missing, verdict.repeated) == (80, 80, [], 0)
    assert sum(piece.lines for piece in verdict.doubled) == union.total() - 80
    proxy.refuse(False)
    append(two.log, range(80, 90))
    with two.shipping("b", server=servers) as shipped:  # the first server is ahead of what this client knows of it
        shipped.wait_for_acks(10)
        shipped.stop()
    assert stored(two) == union + lines(range(80, 90))


def test_a_pipe_goes_on_at_a_server_that_is_ahead_of_what_it_acked(two: Fleet, proxy: ChaosProxy) -> None:
    """What the second server acked is gone from memory, so that nobody can compare what the first one has of it."""
    os.mkfifo(two.log)
    size = 5000
    with chaos_proxy(two.servers["b"].port) as second:
        servers = tuple(ServerAddress("127.0.0.1", each.port) for each in (proxy, second))
        with two.shipping("b", server=servers) as shipped, two.log.open("ab", buffering=0):
            append(two.log, range(size))
            shipped.wait_for_acks(size)
            proxy.refuse()
            proxy.lose_next_acks_of_batches(1)
            append(two.log, range(size, 2 * size))
            shipped.wait_for_acks(2 * size)
            append(two.log, range(2 * size, 2 * size + 10))
            shipped.wait_for_acks(2 * size + 10)
            proxy.refuse(False)
            second.refuse()
            second.reset()
            append(two.log, range(2 * size + 10, 2 * size + 20))
            shipped.wait_for_acks(2 * size + 20)
            assert shipped.stop().problems == ()
    assert set(stored(two)) == set(lines(range(2 * size + 20)))
    assert numbered_line(2 * size + 19) in two.lines("a")


def test_what_one_store_was_to_skip_is_not_skipped_in_the_next_one(two: Fleet, proxy: ChaosProxy) -> None:
    """The other server has not acked yet that it skips what the first one had, and the first one comes back empty."""
    append(two.log, range(100))
    servers = (*two.addresses("b"), ServerAddress("127.0.0.1", proxy.port))
    with two.shipping("b", server=servers) as shipped:
        shipped.wait_for_acks(100)
        proxy.delay_acks(0.4)
        two.stop("b")
        append(two.log, range(100, 110))
        wait_until(lambda: two.lines("a"), "the skip and the lines behind it are stored")
        proxy.refuse()
        proxy.reset()
        shutil.rmtree(two.tmp_path / "b")
        two.start("b")
        wait_until(lambda: numbered_line(109) in two.lines("b"), "the new store gets the last line")
        shipped.stop()
    assert set(two.lines("b")) >= set(lines(range(100)))


def test_a_server_whose_disk_is_full_is_left_and_said_to_be(
    two: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(several, "_WITHHELD_S", 0.1)
    store = MemoryStore()
    append(two.log, range(20))
    with running_server(tmp_path / "full", store=store, patience=Patience(linger_s=0.2, alive_s=0.05)) as full:
        store.stall("No space left on device")
        servers = (ServerAddress("127.0.0.1", full.port), *two.addresses("b"))
        with two.shipping("b", server=servers) as shipped:
            shipped.wait_for_acks(20)
            wait_until(lambda: "No space left on device" in _why(two), "the status says why")
            shipped.stop()
    assert Counter(two.lines("b")) == lines(range(20))


def _why(two: Fleet) -> str:
    status = read(two.state)
    return status.client.link.why_not_first if status else ""


def test_a_server_with_too_many_clients_is_left(two: Fleet, tmp_path: Path) -> None:
    append(two.log, range(20))
    with running_server(tmp_path / "full", max_connections=1) as full, full.connect() as first:
        first.send(b'{"level": "INFO", "message": "x"}\n')
        first.answer()
        servers = (ServerAddress("127.0.0.1", full.port), *two.addresses("b"))
        with two.shipping("b", server=servers, **QUICK) as shipped:
            shipped.wait_for_acks(20)
            shipped.stop()
    assert Counter(two.lines("b")) == lines(range(20))


@pytest.mark.parametrize("mode", ["batch", "continuous"])
def test_a_server_that_does_not_admit_the_client_is_left_at_once(two: Fleet, tmp_path: Path, mode: str) -> None:
    (tmp_path / "clients.toml").write_text(f'[[client]]\nname = "web"\ntoken_sha256 = "{"0" * 64}"\n')
    append(two.log, range(20))
    with running_server(tmp_path / "closed", clients=tmp_path / "clients.toml") as closed:
        servers = (ServerAddress("127.0.0.1", closed.port), *two.addresses("b"))
        with two.shipping("b", server=servers, mode=mode) as shipped:
            shipped.wait_for_acks(20)
            shipped.stop()
    assert Counter(two.lines("b")) == lines(range(20))


def test_a_server_whose_certificate_is_refused_is_left_at_once(two: Fleet, tmp_path: Path) -> None:
    good = files_of(issued("127.0.0.1"), tmp_path, "good")
    bad = files_of(issued("127.0.0.1", by="Another Authority"), tmp_path, "bad")
    append(two.log, range(20))
    with (
        running_server(tmp_path / "bad-server", tls_cert=bad.certificate, tls_key=bad.key) as first,
        running_server(tmp_path / "good-server", tls_cert=good.certificate, tls_key=good.key) as second,
    ):
        servers = tuple(ServerAddress("127.0.0.1", server.port) for server in (first, second))
        with two.shipping(server=servers, tls=True, tls_ca=authority_file(tmp_path)) as shipped:
            shipped.wait_for_acks(20)
            shipped.stop()
        assert Counter(second.stored_lines()) == lines(range(20))
        assert first.stored_lines() == []


def test_with_the_settings_as_they_come_lines_flow_again_within_half_a_minute() -> None:
    """The longest wait at a server that goes silent in the middle, and at one more that is a black hole."""
    assert selection._SILENCE_S + selection._DIAL_S < 30
    assert extension.HELLO_TIMEOUT_S + selection._DIAL_S < 30


def test_every_address_of_a_name_is_tried(two: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo
    port = two.servers["b"].port

    def found(host: str, *args: object, **options: object) -> object:
        if host != "logs.example":
            return real(host, *args, **options)  # type: ignore[arg-type]
        if options.get("flags"):
            raise socket.gaierror(socket.EAI_NONAME, "not an address")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in ("127.0.0.2", "127.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", found)
    append(two.log, range(20))
    with two.shipping(server=(ServerAddress("logs.example", port), *two.addresses("a"))) as shipped:
        shipped.wait_for_acks(20)
        shipped.stop()
    assert Counter(two.lines("b")) == lines(range(20))
