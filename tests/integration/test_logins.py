"""Clients that prove who they are with a token: every command that connects, and what users read if it is refused."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from logferry.cli.dispatch import main
from logferry.client.net.connecting.token import read_token
from logferry.errors import ConfigError, DeliveryAbandoned, NotAuthorised
from logferry.server.clients.identities.tokens import entry_for
from tests.support.running import RunningServer, numbered_line, running_server, stored_lines, wait_until
from tests.support.shipping import append, shipping

LINES = [numbered_line(number) for number in range(500)]


@pytest.fixture
def clients(tmp_path: Path) -> Path:
    path = tmp_path / "clients.toml"
    path.write_text(entry_for("web", "secret"))
    return path


@pytest.fixture
def server(tmp_path: Path, clients: Path) -> Iterator[RunningServer]:
    with running_server(tmp_path, clients=clients) as server:
        yield server


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    return token_in(tmp_path / "token", "secret\n")


def token_in(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("changes", [{}, {"resilient": True}, {"compress": True}])
def test_a_client_with_a_token_ships_each_line_once(
    tmp_path: Path, server: RunningServer, token_file: Path, changes: dict[str, bool]
) -> None:
    log = append(tmp_path / "app.log", range(500))
    with shipping(log, server.port, ack="auto", token_file=token_file, **changes) as client:
        assert client.result().problems == ()
    assert stored_lines(server.data_dir) == LINES


@pytest.mark.parametrize(
    ("text", "problem"), [("wrong", "not authorised: wrong token"), (None, "the server wants a token")]
)
def test_a_batch_run_that_is_not_authorised_ends_and_says_so(
    tmp_path: Path, server: RunningServer, text: str | None, problem: str
) -> None:
    log = append(tmp_path / "app.log", range(500))
    token = token_in(tmp_path / "wrong", text) if text else None
    with shipping(log, server.port, ack="auto", token_file=token) as client, pytest.raises(DeliveryAbandoned) as error:
        client.result()
    assert problem in str(error.value)
    kind = "token" if text else "no token"
    wait_until(
        lambda: server.server.snapshot().labelled["logins_refused"].get(kind) == 1, "the refused login is counted"
    )
    assert stored_lines(server.data_dir) == []


def test_line_acks_are_no_way_around_a_login_and_lose_nothing(tmp_path: Path, server: RunningServer) -> None:
    """An early client, or one with --ack line, takes no denial for the refusal of its lines."""
    log = append(tmp_path / "app.log", range(500))
    with shipping(log, server.port, ack="line") as client, pytest.raises(DeliveryAbandoned, match="not authorised"):
        client.result()
    assert client.counters.lines_rejected == 0
    assert stored_lines(server.data_dir) == []


def test_a_client_that_follows_waits_until_its_token_is_mended(
    tmp_path: Path, server: RunningServer, clients: Path, token_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = append(tmp_path / "app.log", range(500))
    token_file.write_text("wrong")
    settings = {"ack": "auto", "mode": "continuous", "backoff_max": 0.1}
    with shipping(log, server.port, token_file=token_file, **settings) as client:
        wait_until(lambda: "wrong token" in caplog.text, "the denial is logged")
        token_file.write_text("secret")
        wait_until(lambda: client.counters.lines_acked == 500, "all lines are acked")
        clients.write_text(entry_for("other", "another"))
        wait_until(lambda: "was changed or removed" in caplog.text, "the client is disconnected")
        append(log, range(500, 510))
        clients.write_text(entry_for("web", "secret"))
        wait_until(lambda: client.counters.lines_acked == 510, "the rest is acked")
    assert stored_lines(server.data_dir) == [numbered_line(number) for number in range(510)]


def test_verify_and_repair_log_in_too(
    tmp_path: Path, server: RunningServer, token_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = append(tmp_path / "app.log", range(500))
    state = tmp_path / "state"
    with shipping(log, server.port, ack="auto", token_file=token_file, state_dir=state) as client:
        client.result()
    words = ["--log-file", str(log), "--server-host", "127.0.0.1", "--server-port", str(server.port)]
    words += ["--state-dir", str(state)]
    for command in ("verify", "repair"):
        assert main([command, *words]) == 1
        assert "--token-file" in capsys.readouterr().err
        assert main([command, *words, "--token-file", str(token_file)]) == 0
        capsys.readouterr()
    assert main(["verify", *words, "--token-file", str(token_file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("host", ["log.example.com", "10.0.0.7"])
def test_a_token_for_a_server_that_others_can_listen_to_is_a_configuration_error(
    host: str, token_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--log-file", "x.log", "--server-host", host, "--token-file", str(token_file)]
    for command in ("ship", "verify", "repair"):
        assert main([command, *words]) == 2
        assert "--token-file needs --tls" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "two words", "x" * 2000, "a\nb", "\udcff"])
def test_a_file_without_a_token_is_refused_and_not_quoted(tmp_path: Path, text: str) -> None:
    path = tmp_path / "token"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(NotAuthorised, match="does not hold a token") as error:
        read_token(path)
    assert not text or text not in str(error.value)


def test_a_pipe_in_place_of_a_token_keeps_no_client_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "token")
    with pytest.raises(NotAuthorised, match="it is not a regular file"):
        read_token(tmp_path / "token")


def test_a_missing_token_file_is_a_configuration_error(tmp_path: Path, server: RunningServer) -> None:
    log = append(tmp_path / "app.log", range(5))
    with shipping(log, server.port, token_file=tmp_path / "none") as client, pytest.raises(ConfigError):
        client.result()


def test_a_token_that_others_may_read_is_a_warning(
    tmp_path: Path, server: RunningServer, token_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    token_file.chmod(0o644)
    log = append(tmp_path / "app.log", range(5))
    with shipping(log, server.port, ack="auto", token_file=token_file) as client:
        client.result()
    assert "other users may read the token" in caplog.text
    assert "secret" not in caplog.text
