"""The memory account of clients, under any mix of what they can make grow: bounded, never negative, zero at the end."""

import gzip
import struct
import zlib
from collections.abc import Callable
from types import MappingProxyType
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logferry.protocol.messages.writing import batch_header, control_line
from logferry.server.clients.identities.authenticator import Authenticator, Everybody
from logferry.server.clients.memory.flow_control import MemoryBudget
from logferry.server.clients.memory.parties import Party
from tests.support.authenticators import ByHost
from tests.support.clients import FakeClient, World
from tests.support.running import numbered_line

KIB: Final = 1024

_LIMIT: Final = 512 * KIB
_CLIENTS: Final = 6
_READ: Final = 64 * KIB
_MESSAGE: Final = 300 * KIB  # the largest, inflated
_QUESTIONS: Final = 2 * 257 * KIB  # the answers that may be asked for under pressure

_BOUND: Final = _LIMIT * 5 // 4 + _QUESTIONS + _READ + 2 * _MESSAGE + _CLIENTS * (4 * KIB + 2 * KIB)

_HELLO: Final = control_line("hello", version=1, client="c", host="h", encodings=["gzip"])


def _frame(payload: bytes) -> bytes:
    body = gzip.compress(payload, 1)
    return struct.pack(">I", len(body)) + body


def _batch(source: str, payload: bytes) -> bytes:
    return (
        batch_header(
            source=source,
            start=0,
            end=len(payload),
            lines=payload.count(b"\n"),
            crc32=zlib.crc32(payload),
            size=len(payload),
            is_gzip=False,
        )
        + payload
    )


_LINES: Final = b"".join(map(numbered_line, range(300)))

# What plain clients send, by name: each is a message or many, whole or not.
_PLAIN: Final = MappingProxyType(
    {
        "lines": _LINES,
        "bad lines": b"".join(b'{"level": 1%s\n' % (b" " * (number % 40)) for number in range(500)),
        "mixed lines": b"".join(numbered_line(number) + b"x\n" for number in range(200)),
        "empty lines": b"\n" * 5000,
        "a frame": _frame(_LINES * 10),
        "a frame of newlines": _frame(b"\n" * _MESSAGE),
        "half a line": b'{"level": "INFO", "message": "' + b"x" * 100 * KIB,
        "half a frame": struct.pack(">I", 200 * KIB) + b"\x1f\x8b" + b"x" * 150 * KIB,
    }
)

_DELIVERY: Final = MappingProxyType(
    {
        "opens": b"".join(control_line("open", source=f"s{number}", path="/\U0001f600" * 300) for number in range(20)),
        "a batch": _batch("s1", _LINES * 5),
        "half a batch": _batch("s2", _LINES * 10)[: -100 * KIB],
        "notes": b"".join(control_line("note", source="s1", start=0, end=end, reason="n" * 200) for end in range(50)),
        "reports": control_line("report", source="s1", after=0) * 10,
        "positions": control_line("positions", sources=["s" * 60] * 300) * 5,
        "content": control_line("content", source="s1", start=0, position=0, bytes=200 * KIB) * 5,
        "pings": control_line("ping") * 100,
    }
)

_ACTIONS: Final = ("send", "send", "send", "block", "unblock", "leave", "stall", "resume", "time")


class _Mix:
    """Clients of one server, half of them plain, and what the account must be at any moment."""

    def __init__(self, authenticator: Authenticator) -> None:
        self.world = World(memory_limit_bytes=_LIMIT, authenticator=authenticator)
        self.parties: set[Party] = set()
        self.clients: list[FakeClient] = [self._connect(number) for number in range(_CLIENTS)]

    def _connect(self, number: int) -> FakeClient:
        client = self.world.connect(port=5000 + number)
        if number % 2:
            client.send(_HELLO)
        return client

    def act(self, number: int, action: str, what: int) -> None:
        """Do one thing with one client, or with the store or the clock."""
        client = self.clients[number]
        messages = list((_DELIVERY if number % 2 else _PLAIN).values())
        actions: dict[str, Callable[[], None]] = {
            "send": lambda: self._send(client, messages[what % len(messages)]),
            "block": lambda: self._block(client),
            "unblock": lambda: self._unblock(client),
            "leave": lambda: self._replace(number),
            "stall": lambda: self.world.store.stall("No space left on device"),
            "resume": self.world.resume_store,
            "time": lambda: self.world.pass_time(what / 4),
        }
        actions[action]()

    def _send(self, client: FakeClient, data: bytes) -> None:
        while data and client.is_read_from and not client.is_gone and not client.was_cut:
            size = min(client.max_size or _READ, _READ)
            client.send(data[:size])
            data = data[size:]
            self.check()

    def _block(self, client: FakeClient) -> None:
        if not client.is_gone and not client.untaken_bytes:
            client.untaken_bytes = 2 * KIB
            client.connection.pause_writing()

    def _unblock(self, client: FakeClient) -> None:
        if not client.is_gone and client.untaken_bytes:
            client.untaken_bytes = 0
            client.connection.resume_writing()
            self.world.run()

    def _replace(self, number: int) -> None:
        self.clients[number].leave()
        self.clients[number] = self._connect(number)

    def check(self) -> None:
        """Compare the account of all with its bounds, and with those of the clients."""
        budget = self.world.budget
        accounts = [client.connection.memory for client in self.clients]
        for part in ("partial", "unjudged", "unstored", "owed"):
            charged = [getattr(account, part) for account in accounts]
            assert min(charged) >= 0
            assert getattr(budget, part) >= (0 if part == "unstored" else sum(charged))
        self.parties |= {account.party for account in accounts if account.party}
        for party in self.parties:
            members = [account for account in accounts if account.party is party]
            assert party.connections == len(members)
            assert party.held >= sum(account.held for account in members)  # more if somebody has left
            assert party.unstored >= sum(account.unstored for account in members) >= 0
        assert budget.surplus == sum(max(0, party.connections - 1) for party in self.parties)
        assert budget.total <= _BOUND
        assert budget.sources >= 0

    def end(self) -> MemoryBudget:
        """Let the store go on and all clients leave; return the account."""
        self.world.resume_store()
        for client in self.clients:
            client.leave()
        self.world.run()
        return self.world.budget


@pytest.mark.parametrize("authenticator", [Everybody(), ByHost()], ids=["nobody", "an identity"])
@settings(max_examples=15)
@given(
    st.lists(
        st.tuples(st.integers(0, _CLIENTS - 1), st.sampled_from(_ACTIONS), st.integers(0, 7)), min_size=5, max_size=40
    )
)
def test_any_mix_of_clients_is_charged_within_the_bound_and_to_the_last_byte(
    authenticator: Authenticator, steps: list[tuple[int, str, int]]
) -> None:
    mix = _Mix(authenticator)
    for number, action, what in steps:
        mix.act(number, action, what)
        mix.check()
    budget = mix.end()
    assert (budget.partial, budget.unjudged, budget.unstored, budget.owed, budget.sources) == (0, 0, 0, 0, 0)
    assert not budget.is_tight
    assert budget.surplus == 0
    assert [(party.held, party.unstored, party.connections) for party in mix.parties] == [(0, 0, 0)] * len(mix.parties)
