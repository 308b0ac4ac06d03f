"""Who is admitted by a clients file: the decision, and what clients of a real server are told (rule E40)."""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from logferry.protocol.messages.writing import control_line
from logferry.server.clients.identities.authenticator import TOKEN_WANTED, Credentials, Denied, PeerInfo, Principal
from logferry.server.clients.identities.clients_file import ClientsFile
from logferry.server.clients.identities.entries import Identity
from logferry.server.clients.identities.login import PLAIN, ByIdentity, principal_of
from logferry.server.clients.identities.tokens import entry_for, hash_of
from tests.support.delivery import LINES, DeliveryClient, batch, hello, opening, position
from tests.support.running import RawClient, RunningServer, running_server, wait_until

HERE = PeerInfo("127.0.0.1", 5000)
AWAY = PeerInfo("10.0.0.7", 5000)
TLS = replace(AWAY, is_encrypted=True)
WEB = Identity("web", (hash_of("secret"),), hosts=("web-*",), folder="web")
DB = Identity("db", certificate="db.example.com", folder="db")
BOTH = Identity("both", (hash_of("both"),), certificate="*.both.example.com", folder="both")


def claims(host: str = "web-1", token: str | None = None) -> Credentials:
    return Credentials("client", host, token)


def with_certificate(*names: str) -> PeerInfo:
    return replace(TLS, certificate=names)


@pytest.mark.parametrize(
    ("credentials", "peer", "expected"),
    [
        (claims(), HERE, TOKEN_WANTED),
        (claims(), TLS, TOKEN_WANTED),
        (claims(), replace(HERE, address="::1"), TOKEN_WANTED),
        (claims(token="secret"), TLS, principal_of(WEB)),
        (claims(token="Secret"), TLS, Denied("wrong token", "token")),
        (claims(token=""), TLS, Denied("wrong token", "token")),
        (claims(token="both"), TLS, Denied("wrong token", "token")),
        (claims("db-1", "secret"), TLS, Denied("client web may not ship as host 'db-1'", "host")),
        (claims("db-1"), with_certificate("x", "db.example.com"), principal_of(DB)),
        (claims(token="both"), with_certificate("a.both.example.com"), principal_of(BOTH)),
        (claims(token="secret"), with_certificate("a.both.example.com"), principal_of(WEB)),
        (None, with_certificate("db.example.com"), principal_of(DB)),
        (None, replace(AWAY, address="10.1.2.3"), PLAIN),
    ],
)
def test_a_client_is_who_it_proves_to_be(
    credentials: Credentials | None, peer: PeerInfo, expected: Principal | Denied
) -> None:
    assert ByIdentity([WEB, DB, BOTH], ["10.1.0.0/16"]).check(credentials, peer) == expected


@pytest.mark.parametrize("peer", [AWAY, replace(HERE, via="10.0.0.9 port 1")])
@pytest.mark.parametrize("token", [None, "secret"])
def test_no_token_is_wanted_or_taken_where_others_can_read_it(peer: PeerInfo, token: str | None) -> None:
    answer = ByIdentity([WEB]).check(claims(token=token), peer)
    assert answer == Denied("a token is only taken over TLS or from this machine", "not encrypted")


@pytest.mark.parametrize("peer", [HERE, TLS, with_certificate("a.both.example.com")])
def test_a_plain_client_needs_a_certificate_or_an_address(peer: PeerInfo) -> None:
    """A token cannot be asked for without a hello, so an entry that wants one as well is not enough."""
    assert isinstance(ByIdentity([WEB, DB, BOTH]).check(None, peer), Denied)


def test_a_client_without_any_of_the_certificates_is_asked_for_no_token() -> None:
    assert isinstance(ByIdentity([DB]).check(claims(), TLS), Denied)
    assert isinstance(ByIdentity([]).check(claims(token="x"), TLS), Denied)


def test_a_changed_or_removed_entry_admits_its_clients_no_more() -> None:
    admitted = ByIdentity([WEB, DB]).check(claims(token="secret"), TLS)
    assert isinstance(admitted, Principal)
    assert ByIdentity([DB, WEB]).still_admits(admitted)
    assert not ByIdentity([DB]).still_admits(admitted)
    assert not ByIdentity([replace(WEB, tokens=(hash_of("new"),))]).still_admits(admitted)
    assert not ByIdentity([replace(WEB, hosts=())]).still_admits(admitted)


def test_no_secret_is_shown() -> None:
    principal = principal_of(WEB)
    assert WEB.tokens[0].hex() not in repr(principal)
    assert repr(WEB.tokens[0]) not in repr(principal)
    assert "secret" not in repr(claims(token="secret"))


# --- clients of a real server


@pytest.fixture
def clients(tmp_path: Path) -> Path:
    path = tmp_path / "clients.toml"
    path.write_text(entry_for("web", "secret") + entry_for("db", "other"))
    return path


@pytest.fixture
def server(tmp_path: Path, clients: Path) -> Iterator[RunningServer]:
    with running_server(tmp_path, clients=clients) as server:
        yield server


def logged_in(server: RunningServer, token: str = "secret", **changes: Any) -> DeliveryClient:
    client = DeliveryClient(server, **changes)
    assert client.welcome["auth"] == "token"
    client.send(control_line("auth", token=token))
    client.welcome = client.answer()
    return client


def test_e40_a_client_with_a_token_is_welcomed_and_ships(server: RunningServer) -> None:
    """Rule E40: what the server says before is only what a client must know to go on."""
    with DeliveryClient(server) as stranger:
        assert "store" not in stranger.welcome
        assert "features" not in stranger.welcome
    with logged_in(server) as client:
        assert client.welcome["features"]
        client.send(opening())
        assert client.answer_after_alive()["committed"] == 0
        client.send(batch(LINES[:3], start=0))
        assert client.answer_after_alive() == position(LINES[:3])
    assert len(list(server.data_dir.glob("segments/web/web-1/**/app.log/*.ndjson"))) == 1


@pytest.mark.parametrize("token", ["wrong", "x" * 1024])
def test_e40_a_wrong_token_is_denied_and_told_to_nobody(
    server: RunningServer, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Rule E40."""
    with logged_in(server, token) as client:
        assert client.welcome == {"status": "denied", "message": "not authorised: wrong token"}
        assert client.read_to_end() == b""
    assert "wrong token" in caplog.text
    assert token not in caplog.text.replace("wrong token", "")


@pytest.mark.parametrize(
    "line",
    [
        opening(),
        hello(),
        control_line("ping"),
        control_line("report", source="s1", after=0),
        control_line("auth", token=""),
        control_line("auth", token="x" * 1025),
        control_line("auth", token=["secret"]),
        control_line("auth"),
    ],
)
def test_e40_nothing_is_answered_before_the_login(server: RunningServer, line: bytes) -> None:
    """Rule E40: an early client, which does not know it, prints what the server wants."""
    with DeliveryClient(server) as client:
        client.send(line)
        answer = client.answer()
        assert answer["status"] == "error"
        assert "auth" in answer["message"] or "--token-file" in answer["message"]
        assert client.read_to_end() == b""


def test_e40_a_token_is_sent_once(server: RunningServer) -> None:
    """Rule E40."""
    with logged_in(server) as client:
        client.send(control_line("auth", token="secret"))
        assert client.answer()["status"] == "error"
        assert client.read_to_end() == b""


def test_a7_a_plain_client_is_denied_with_an_answer_that_counts_for_no_line(server: RunningServer) -> None:
    """Rule A7."""
    with RawClient(server.host, server.port) as client:
        client.send(LINES[0])
        answer = client.answer()
        assert answer["status"] == "denied"
        assert "--plain-from" in answer["message"]
        assert client.read_to_end() == b""


def test_plain_clients_are_let_in_by_address(tmp_path: Path, clients: Path) -> None:
    with (
        running_server(tmp_path, clients=clients, plain_from=("127.0.0.0/8", "::1")) as server,
        RawClient(server.host, server.port) as client,
    ):
        client.send(LINES[0])
        assert client.answer()["status"] == "ok"


def test_a_client_whose_entry_is_removed_is_disconnected_and_others_are_not(
    server: RunningServer, clients: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with logged_in(server, source=None) as web, logged_in(server, "other") as db:
        web.send(opening())
        web.answer_after_alive()
        web.send(batch(LINES[:3], start=0))
        assert web.answer_after_alive() == position(LINES[:3])
        _replace(clients, entry_for("db", "other"))
        assert web.answer_after_alive()["status"] == "denied"
        assert web.read_to_end() == b""
        db.send(control_line("ping"))
        assert db.answer()["message"] == "alive"
    with logged_in(server) as web:
        assert web.welcome["status"] == "denied"
    assert "its entry in the clients file was changed or removed" in caplog.text


def test_a_broken_clients_file_leaves_the_old_entries_in_force(
    server: RunningServer, clients: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    _replace(clients, "[[client]]\nname = 1\n")
    wait_until(lambda: "the old clients stay in force" in caplog.text, "the problem is logged")
    wait_until(lambda: server.stats.clients_reload_failures == 1, "the problem is counted")
    with logged_in(server) as client:
        assert "features" in client.welcome
    _replace(clients, entry_for("web", "new"))
    wait_until(lambda: "1 clients" in caplog.text, "the file is read")
    with logged_in(server, "new") as client:
        assert "features" in client.welcome


def test_a_problem_of_the_file_is_logged_and_counted_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "clients.toml"
    path.write_text(entry_for("web", "secret"))
    file = ClientsFile(path)
    path.unlink()
    for _ in range(3):
        assert file.apply(file.read()) is False
    assert file.reload_failures == 1
    assert len(caplog.messages) == 1
    assert file.check(claims(token="secret"), TLS) == principal_of(replace(WEB, hosts=()))
    path.write_text(entry_for("web", "secret"))
    assert file.has_changed
    assert file.apply(file.read())
    assert not file.has_changed


def _replace(path: Path, text: str) -> None:
    """Replace a file as editors and configuration management do."""
    new = path.with_suffix(".new")
    new.write_text(text)
    os.replace(new, path)


def test_the_answers_of_a_denial_are_of_one_line(server: RunningServer) -> None:
    with logged_in(server, "\n\x1b[31m") as client:
        assert json.dumps(client.welcome).count("\n") == 0
        assert client.welcome["status"] == "denied"
