"""Our client and our server over TLS: every form of acks, the proof, repairs, and what each says of a mistake."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from logferry.client.net.connecting.endpoint import Endpoint
from logferry.client.net.connecting.health import probe
from logferry.client.net.connecting.security import Security
from logferry.client.net.conversation.reports import ReportClient
from logferry.client.proof.repair import repair_path
from logferry.client.proof.verify import verify
from logferry.client.state.checkpoints import Checkpoints
from logferry.errors import DeliveryAbandoned, NotALogServer, Unreachable
from tests.support.certificates import Identity, authority_file, files_of, issued
from tests.support.running import DEADLINE_S, RunningServer, running_server, wait_until
from tests.support.shipping import (
    EVERY_WAY,
    append,
    assert_conserved,
    once,
    ship_settings,
    shipping,
    the_segment,
)


class Site:
    """A server with TLS that wants certificates, and the settings of a client that has one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.own = files_of(issued("127.0.0.1"), folder / "server-tls")
        self.authority = authority_file(folder / "tls")
        self.client = files_of(issued("web-1"), folder / "tls", "client")

    def serving(self, **changes: Any) -> Any:
        """Run the server for the length of a `with`."""
        settings = {"tls_cert": self.own.certificate, "tls_key": self.own.key, "tls_client_ca": self.authority}
        return running_server(self.folder, **{**settings, **changes})

    def trusting(self, identity: Identity | None = None, **changes: Any) -> dict[str, Any]:
        """Return the settings of a client."""
        own = identity or self.client
        settings = {"tls": True, "tls_ca": self.authority, "tls_cert": own.certificate, "tls_key": own.key}
        return {**settings, **once(self.folder), **changes}

    @contextmanager
    def reports(self, server: RunningServer) -> Iterator[tuple[Checkpoints, ReportClient]]:
        """Give a connection for questions."""
        checkpoints = Checkpoints(self.folder / "state", read_only=True)
        settings = ship_settings(self.folder / "app.log", server.port, **self.trusting())
        with ReportClient.connected_to(Endpoint.of(settings), settings, checkpoints.client_id) as reports:
            yield checkpoints, reports


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.mark.parametrize("ack", ["auto", "line", "none"])
@pytest.mark.parametrize("way", EVERY_WAY)
def test_every_line_is_stored_once_whatever_the_form(site: Site, ack: str, way: dict[str, Any]) -> None:
    log = append(site.folder / "app.log", range(3000))
    with site.serving() as server:
        with shipping(log, server.port, **site.trusting(ack=ack, **way)) as client:
            assert client.result().problems == ()
        wait_until(lambda: server.stats.lines_stored == 3000, "everything is stored")
        assert_conserved(range(3000), server.stored_lines())


def test_what_was_shipped_is_proven_and_damage_is_repaired(site: Site) -> None:
    log = append(site.folder / "app.log", range(300))
    with site.serving() as server:
        with shipping(log, server.port, **site.trusting(batch_size=None)) as client:
            assert client.result().problems == ()
        with site.reports(server) as (checkpoints, reports):
            assert verify(log, checkpoints, reports).is_proven
        segment = the_segment(server)
        data = segment.read_bytes()
        segment.write_bytes(data.replace(b'line 7"', b'line X"', 1))
        with site.reports(server) as (checkpoints, reports):
            assert not verify(log, checkpoints, reports).is_proven
            assert sum(report.repaired for report in repair_path(log, checkpoints, reports)) == 1
        assert segment.read_bytes() == data


def test_a_run_goes_on_when_connections_break_in_the_middle(site: Site) -> None:
    """A relay cuts the connection at random places in records; lines are stored once all the same."""
    log = append(site.folder / "app.log", range(5000))
    with site.serving() as server, cutting_relay(server.port) as port:
        with shipping(log, port, **site.trusting(max_attempts=0, backoff_max=0.05, batch_size=100)) as client:
            assert client.result().problems == ()
        assert_conserved(range(5000), server.stored_lines())


@contextmanager
def cutting_relay(target: int) -> Iterator[int]:
    """Pass bytes on to a port, and cut each of the first connections after some kilobytes."""
    listener = socket.create_server(("127.0.0.1", 0))
    budgets = iter([3_000, 20_000, 70_001, 100_003, 150_007])

    def pump(source: socket.socket, drain: socket.socket, budget: int) -> None:
        try:
            while budget > 0 and (data := source.recv(min(budget, 65536))):
                drain.sendall(data)
                budget -= len(data)
        except OSError:
            pass
        for end in (source, drain):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        while True:
            try:
                inside, _ = listener.accept()
            except OSError:
                return
            outside = socket.create_connection(("127.0.0.1", target))
            budget = next(budgets, 1 << 40)
            pumps = [
                threading.Thread(target=pump, args=(inside, outside, budget), daemon=True),
                threading.Thread(target=pump, args=(outside, inside, 1 << 40), daemon=True),
            ]
            for thread in pumps:
                thread.start()
            for thread in pumps:
                thread.join(DEADLINE_S)
            inside.close()
            outside.close()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(DEADLINE_S)


def test_a_health_probe_speaks_tls(site: Site) -> None:
    with site.serving() as server:
        security = Security(ship_settings(site.folder / "app.log", 1, **site.trusting()))
        assert probe(Endpoint("127.0.0.1", server.port, security), timeout_s=DEADLINE_S) is None
        lacking = Security(ship_settings(site.folder / "app.log", 1, tls=True))
        reason = probe(Endpoint("127.0.0.1", server.port, lacking), timeout_s=DEADLINE_S)
        assert reason is not None
        assert "unknown issuer" in reason


def test_a_client_without_a_certificate_learns_that_it_needs_one(site: Site) -> None:
    log = append(site.folder / "app.log", range(3))
    with site.serving() as server:
        lacking = site.trusting(tls_cert=None, tls_key=None, max_attempts=2)
        with shipping(log, server.port, **lacking) as client, pytest.raises(DeliveryAbandoned) as caught:
            client.result()
        assert "the server wants a client certificate (--tls-cert)" in str(caught.value)


def test_a_client_whose_certificate_is_refused_learns_why(site: Site) -> None:
    log = append(site.folder / "app.log", range(3))
    strange = files_of(issued("web-1", by="Somebody Else"), site.folder / "strange")
    with site.serving() as server:
        refused = site.trusting(strange, max_attempts=2)
        with shipping(log, server.port, **refused) as client, pytest.raises(DeliveryAbandoned) as caught:
            client.result()
        assert "the server did not accept the client certificate: it does not trust the issuer" in str(caught.value)


@pytest.mark.parametrize("ack", ["auto", "line", "none"])
def test_a_plain_client_at_a_port_for_tls_is_one_sentence(site: Site, ack: str) -> None:
    log = append(site.folder / "app.log", range(3))
    with site.serving() as server:
        plain = once(site.folder, ack=ack, max_attempts=1)
        with shipping(log, server.port, **plain) as client, pytest.raises(DeliveryAbandoned) as caught:
            client.result()
        assert str(caught.value).startswith(f"127.0.0.1:{server.port} speaks TLS; use --tls")
        assert server.stats.lines_stored == 0


def ask(site: Site, port: int, **changes: Any) -> None:
    """Connect to ask a server something."""
    settings = ship_settings(site.folder / "app.log", port, **changes)
    with ReportClient.connected_to(Endpoint.of(settings), settings, "c"):
        pass


def test_a_question_without_tls_at_a_port_for_tls_is_one_sentence(site: Site) -> None:
    with site.serving() as server, pytest.raises(NotALogServer, match="speaks TLS; use --tls"):
        ask(site, server.port)


def test_a_client_with_tls_at_a_plain_port_is_one_sentence_at_once(site: Site) -> None:
    plain = {"tls_cert": None, "tls_key": None, "tls_client_ca": None}
    with site.serving(**plain) as server, pytest.raises(Unreachable, match="does it speak TLS at this port"):
        ask(site, server.port, **site.trusting(connect_timeout=10 * DEADLINE_S))
