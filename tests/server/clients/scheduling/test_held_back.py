"""A disk without inodes: who sends lines for new files waits, and nobody else does, however much waits."""

from pathlib import Path

from logferry.server.clients.memory.flow_control import MAX_UNSTORED_BYTES, MemoryAccount, MemoryBudget
from tests.support.clients import MIB
from tests.support.delivery import DeliveryClient, batch, opening
from tests.support.running import RawClient, RunningServer, numbered_line, running_server, wait_until
from tests.support.stores import NoNames

LINES = [numbered_line(number) for number in range(20_000)]  # 1.5 MB


def test_what_waits_for_a_name_is_not_what_the_store_has_yet_to_store() -> None:
    budget = MemoryBudget(64 * MIB)
    first, second = MemoryAccount(budget), MemoryAccount(budget)
    for account in (first, second):
        account.submitted(MAX_UNSTORED_BYTES + 1)
    assert budget.update()
    for account in (first, second):
        account.hold_back(MAX_UNSTORED_BYTES + 1)
        assert (account.is_exhausted, account.has_room(is_reading=False)) == (True, False)
    assert (budget.update(), budget.is_tight, budget.unstored) == (True, False, 0)
    first.stored(MAX_UNSTORED_BYTES + 1, was_held=True)
    assert first.has_room(is_reading=False)
    assert budget.total == budget.held == MAX_UNSTORED_BYTES + 1


def test_clients_without_memory_to_give_back_are_not_waited_for() -> None:
    budget = MemoryBudget(4 * MIB)
    account = MemoryAccount(budget)
    account.submitted(5 * MIB)
    account.hold_back(5 * MIB)
    assert budget.update()
    assert not budget.waits_for_clients


def _known(server: RunningServer, files: NoNames) -> DeliveryClient:
    """Return a client whose log has a segment; from then on the disk has no names."""
    client = DeliveryClient(server, source="known")
    client.send(batch(LINES[:1], start=0, source="known"))
    assert client.answer_after_alive()["committed"] == len(LINES[0])
    files.is_full = True
    return client


def _asks_for_names(server: RunningServer, number: int, lines: int) -> DeliveryClient:
    client = DeliveryClient(server, client=f"c{number}")
    client.send(opening(f"s{number}", f"/new/{number}.log"))
    client.answer_after_alive()
    client.send(batch(LINES[:lines], start=0, source=f"s{number}"))
    return client


def _held(server: RunningServer) -> int:
    return server.server._budget.held


def _is_cut(client: RawClient) -> bool:
    try:
        while client.socket.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return True


def test_who_needs_no_name_is_acked_whatever_waits_for_one(tmp_path: Path) -> None:
    """The memory that waits is bounded: who has most of it waiting is cut, and the rest is stored once it can be."""
    files = NoNames()
    limit = 4 * MIB
    with running_server(tmp_path, files=files, memory_limit_bytes=limit) as server:
        known = _known(server, files)
        position = len(LINES[0])
        small = _asks_for_names(server, 0, 1000)
        wait_until(lambda: _held(server) > 70_000, "the first one waits")
        for number in range(1, 5):  # each has more than what all may have
            greedy = _asks_for_names(server, number, 20_000)
            assert _is_cut(greedy)
            lines = LINES[1:10_000]  # more than the client's share under pressure
            known.send(batch(lines, start=position, source="known"))
            position += sum(map(len, lines))
            assert known.answer_after_alive()["committed"] == position
            wait_until(lambda: _held(server) <= limit // 4, "what the store has given up is forgotten")
        assert _held(server) > 70_000
        files.is_full = False
        assert small.answer_after_alive()["lines"] == 1000
        wait_until(lambda: server.stats.bytes_in_memory == 0, "nothing is held any more")
        assert sum(path.read_bytes().count(b"\n") for path in tmp_path.glob("data/segments/**/*.ndjson")) == 40_997


def test_what_waits_of_clients_that_have_left_goes_first(tmp_path: Path) -> None:
    files = NoNames()
    with running_server(tmp_path, files=files, memory_limit_bytes=4 * MIB) as server:
        known = _known(server, files)
        gone = _asks_for_names(server, 1, 5000)
        wait_until(lambda: _held(server) > 300_000, "it waits")
        gone.close()
        wait_until(lambda: server.stats.connections == 1, "the client has left")
        stays = _asks_for_names(server, 2, 11_000)
        wait_until(lambda: 0 < _held(server) - 300_000 < 600_000, "what the other had waiting is given up")
        files.is_full = False
        assert stays.answer_after_alive()["lines"] == 11_000
        known.close()
    assert not list(tmp_path.glob("data/segments/**/*1.log*/*.ndjson"))
