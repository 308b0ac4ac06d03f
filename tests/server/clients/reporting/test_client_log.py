"""The log about clients: details of a few, counts of thousands, and nothing that a client can forge."""

import logging
from collections.abc import Iterator

import pytest

from logferry.protocol.messages.writing import control_line
from logferry.protocol.strangers import Stranger
from logferry.server.clients.connection.patience import Patience
from logferry.server.clients.identities.authenticator import Denied, PeerInfo, Principal
from logferry.server.clients.reporting.client_log import ClientLabel, ClientLog
from tests.support.clients import MIB, World
from tests.support.delivery import LINES, batch, hello, opening

CLIENT = ClientLabel(PeerInfo("10.0.0.7", 5000), "web-1", "delivery", Principal("anonymous"))
SHOWN = "web-1 at 10.0.0.7 port 5000 (delivery protocol, principal anonymous)"


@pytest.fixture
def messages(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """The messages logged at the usual level, in one list that grows; `caplog.messages` is a new list each time."""
    found: list[str] = []

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    keeper = Keeper()
    logging.getLogger("logferry").addHandler(keeper)
    with caplog.at_level(logging.INFO, "logferry"):
        yield found
    logging.getLogger("logferry").removeHandler(keeper)


def test_a_delivery_client_connects_and_leaves(messages: list[str]) -> None:
    world = World()
    client = world.connect()
    assert messages == []
    client.send(hello() + opening() + batch(LINES[:3], start=0) + batch(LINES[:3], start=0))
    assert messages == [f"connected: {SHOWN}"]
    client.leave()
    assert messages[1:] == [f"disconnected: {SHOWN}: the client closed the connection; 6 lines acked"]


def test_a_plain_client_connects_and_leaves(messages: list[str]) -> None:
    client = World().connect()
    client.send(LINES[0])
    client.leave(ConnectionResetError(104, "Connection reset by peer"))
    shown = "10.0.0.7 port 5000 (plain protocol, principal anonymous)"
    assert messages == [
        f"connected: {shown}",
        f"disconnected: {shown}: the connection broke: Connection reset by peer; 1 line acked",
    ]


def test_a_connection_that_sends_nothing_is_only_counted(messages: list[str]) -> None:
    world = World()
    for port in range(500):
        world.connect(port=port).leave()
    assert messages == []
    assert world.counters.connections_silent == 500


def test_a_thousand_simultaneous_clients_are_a_few_lines_and_a_count(messages: list[str]) -> None:
    world = World(max_connections=1000)
    clients = [world.connect(port=port) for port in range(1000)]
    for client in clients:
        client.send(LINES[0])
    for client in clients:
        client.leave()
    assert len(messages) == 6
    world.pass_time(1)
    assert messages[6:] == [
        "... 997 more connects in 1.0 s were not logged",
        "... 997 more disconnects in 1.0 s were not logged",
    ]


def test_at_debug_level_nothing_is_suppressed(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "logferry"):
        world = World()
        for port in range(50):
            client = world.connect(port=port)
            client.send(LINES[0])
            client.leave()
        world.connect().leave()
    assert len([message for message in caplog.messages if message.startswith("connected: ")]) == 50
    assert len([message for message in caplog.messages if message.startswith("disconnected: ")]) == 51


@pytest.mark.parametrize(
    ("why", "expected"),
    [
        ("silent", "silent for 600 s"),
        ("stop", "the server is stopping"),
        ("stuck", "it has not read its acks for 30 s"),
        ("broken", "it broke the protocol: open: source is not an id"),
        ("memory", "memory is short, and it has not completed its message for the longest time"),
    ],
)
def test_the_log_says_why_the_server_ended_a_connection(messages: list[str], why: str, expected: str) -> None:
    world = World(patience=Patience(idle_s=600, ack_stall_s=30), memory_limit_bytes=MIB)
    client = world.connect()
    client.send(hello() if why in ("broken", "silent") else LINES[0])
    match why:
        case "silent":
            world.pass_time(601)
        case "stop":
            world.roster.stop_reading()
            world.roster.finish()
        case "stuck":
            client.connection.pause_writing()
            world.pass_time(31)
        case "broken":
            client.send(b'{"logferry": "open", "source": "no/id", "path": "x"}\n')
        case "memory":
            client.send(b"{" * (MIB + 1))
            world.pass_time(2)
    client.leave()
    assert [message for message in messages if expected in message] == [messages[-1]]
    assert messages[-1].startswith("disconnected: ")


def test_the_log_says_why_a_client_was_denied(messages: list[str]) -> None:
    class Nobody:
        def check(self, credentials: object, peer_info: object) -> Denied:
            return Denied("the token has expired\n\x1b[2J")

        def still_admits(self, principal: object) -> bool:
            return False

    World(authenticator=Nobody()).connect().send(hello())
    assert messages == [r"denied: web-1 at 10.0.0.7 port 5000: the token has expired\n\x1b[2J"]


def test_a_hostile_name_cannot_forge_log_lines(messages: list[str]) -> None:
    client = World().connect()
    client.send(hello(host="web\n2024 ERROR all is lost\x1b[31m\u202e", client="x" * 255))
    client.leave()
    client = World().connect()
    client.send(hello(host="h" * 10_000))
    assert r"connected: web\n2024 ERROR all is lost\x1b[31m\u202e at 10.0.0.7" in messages[0]
    assert all(message.isprintable() and len(message) < 400 for message in messages)


def test_rejected_lines_are_logged_once_and_counted_at_the_end(messages: list[str]) -> None:
    client = World().connect()
    client.send(b"rubbish\n" * 500 + LINES[0])
    client.leave()
    about = [message for message in messages if "rejected" in message]
    assert len(about) == 2
    assert "rejected: invalid JSON" in about[0]
    assert about[1].endswith("1 line acked, 500 lines rejected in total")


def test_a_loss_reported_repeatedly_is_logged_once(messages: list[str]) -> None:
    world = World()
    skip = control_line("skip", source="s1", start=0, end=10, reason="the disk ate it\x1b[2J")
    note = control_line("note", source="s1", start=10, end=20, reason="cut to 1 MiB")
    for port in (5000, 5001):
        client = world.connect(port=port)
        client.send(hello() + opening(path="/var/log/\napp.log") + skip + note)
        client.leave()
    lost = [message for message in messages if "lost" in message]
    assert lost == [
        rf"{SHOWN}: lost: bytes 0 to 10 of '/var/log/\napp.log': the disk ate it\x1b[2J",
        rf"{SHOWN}: lost: bytes 10 to 20 of '/var/log/\napp.log': cut to 1 MiB",
    ]
    assert world.counters.losses_reported == 2


def test_bytes_that_a_client_is_about_to_resend_are_logged(messages: list[str]) -> None:
    world = World()
    world.connect().send(hello() + opening() + batch(LINES[:1], start=0))
    client = world.connect(port=5001)
    client.send(hello() + control_line("open", source="s1", path="/var/log/app.log", known=7))
    end = len(LINES[0])
    assert messages[-1] == (
        f"{SHOWN.replace('5000', '5001')}: bytes 7 to {end} of '/var/log/app.log' are already stored and will not be "
        "stored again if the client resends them"
    )


def test_hundreds_of_losses_are_a_few_lines_and_a_count(messages: list[str]) -> None:
    world = World()
    client = world.connect()
    notes = (control_line("note", source="s1", start=0, end=n + 1, reason="cut") for n in range(300))
    client.send(hello() + opening() + b"".join(notes))
    assert len([message for message in messages if ": lost: " in message]) == 20
    world.pass_time(1)
    assert messages[-1] == "... 280 more losses in 1.0 s were not logged"
    assert world.counters.losses_reported == 300


def test_a_full_server_logs_refusals_without_flooding_the_log(messages: list[str]) -> None:
    world = World(max_connections=1)
    world.connect()
    for port in range(1000):
        world.connect(port=port)
    assert messages == ["full: 1 connections; refusing more"] * 3
    world.pass_time(1)
    assert messages[-1] == "... 997 more problems with clients in 1.0 s were not logged"


def test_a_label_shows_what_is_known() -> None:
    assert str(ClientLabel(PeerInfo("10.0.0.7", 5000))) == "10.0.0.7 port 5000"
    assert str(CLIENT) == SHOWN


def test_pending_counts_are_logged_at_the_end_of_the_run(messages: list[str]) -> None:
    log = ClientLog(clock=lambda: 0.0)
    for _ in range(10):
        log.connected(CLIENT)
    log.flush()
    assert messages[3:] == ["... 7 more connects in 0.0 s were not logged"]


def test_strangers_that_change_their_address_do_not_fill_the_log(messages: list[str]) -> None:
    """An owner of IPv6 addresses has 2^64 of them, and more with several networks."""
    log, stranger = ClientLog(), Stranger("an HTTP request")
    for number in range(1000):
        log.stranger(ClientLabel(PeerInfo(f"2001:db8:0:1::{number:x}", 5000)), stranger)
    assert len(messages) == 1
    for number in range(1000):
        log.stranger(ClientLabel(PeerInfo(f"2001:db8:0:{number + 2:x}::1", 5000)), stranger)
    assert len(messages) < 100


def test_strangers_with_mapped_addresses_are_told_apart(messages: list[str]) -> None:
    """A socket for both families shows IPv4 addresses in this form."""
    log, stranger = ClientLog(), Stranger("an HTTP request")
    for number in (1, 2, 2):
        log.stranger(ClientLabel(PeerInfo(f"::ffff:10.0.0.{number}", 5000)), stranger)
    assert len(messages) == 2
