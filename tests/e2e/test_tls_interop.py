"""Other people's TLS: programs that send into our listener, and that our client sends to."""

import json
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from logferry.protocol.plain.acks import ACK_OK
from tests.e2e.test_interop import HAND_WRITTEN, need, rsyslog
from tests.support.certificates import authority_file, files_of, issued
from tests.support.processes import PROCESS_S, free_port, program, ship
from tests.support.running import RunningServer, numbered_line, running_server, stored_lines, wait_until
from tests.support.shipping import append, assert_conserved
from tests.support.tls_client import client_context, server_options

ENTRY = '[[client]]\nname = "web"\ncertificate = "web-1.example"\n'
NAMES = ("127.0.0.1", "localhost", "logs.example")
REFUSED = b"this is no JSON\n"


@pytest.fixture
def trusted(tmp_path: Path) -> Path:
    return authority_file(tmp_path)


@pytest.fixture
def own(tmp_path: Path) -> list[str]:
    """Certificate and key of a client that the clients file knows."""
    files = files_of(issued("web-1.example"), tmp_path / "client", "client")
    return [str(files.certificate), str(files.key)]


@contextmanager
def serving(folder: Path, trusted: Path | None = None, **settings: Any) -> Iterator[RunningServer]:
    """Run a server with TLS and a clients file; with `trusted`, clients need a certificate of this authority."""
    (folder / "clients.toml").write_text(ENTRY)
    own = server_options(folder / "server", *NAMES, client_ca=trusted)
    with running_server(folder, clients=folder / "clients.toml", **own, **settings) as server:
        yield server


def test_lines_typed_into_openssl_are_acked(tmp_path: Path, trusted: Path, own: list[str]) -> None:
    openssl, (certificate, key) = need("openssl"), own
    with serving(tmp_path, trusted) as server:
        words = (openssl, "s_client", "-quiet", "-no_ign_eof", "-verify_return_error", "-CAfile", str(trusted))
        whom = ("-connect", f"127.0.0.1:{server.port}", "-cert", certificate, "-key", key)
        with program(*words, *whom, folder=tmp_path, stdin=subprocess.PIPE) as typing:
            assert typing.process.stdin
            typing.process.stdin.write(HAND_WRITTEN + REFUSED + HAND_WRITTEN)
            typing.process.stdin.flush()
            wait_until(lambda: typing.stdout.count("\n") == 3, "three answers")
            answers = typing.stdout.splitlines(keepends=True)
            typing.process.stdin.close()
            typing.wait()
        assert [answers[0].encode(), answers[2].encode()] == [ACK_OK] * 2
        assert json.loads(answers[1])["status"] == "error"
        assert server.stored_lines() == [HAND_WRITTEN] * 2
    assert list((tmp_path / "data" / "segments" / "web").iterdir())


@pytest.mark.parametrize("by", ["certificate", "address"])
def test_what_is_piped_into_ncat_is_stored_and_acked(tmp_path: Path, trusted: Path, own: list[str], by: str) -> None:
    """Clients of the plain protocol are let in by their certificate, or by an address of `--plain-from`."""
    ncat, (certificate, key) = need("ncat"), own
    admitted: dict[str, Any] = {"plain_from": ("127.0.0.0/8",)} if by == "address" else {"trusted": trusted}
    words = ["--ssl"] if by == "address" else ["--ssl-cert", certificate, "--ssl-key", key]
    with serving(tmp_path, **admitted) as server:
        done = subprocess.run(
            [ncat, *words, "--ssl-verify", "--ssl-trustfile", str(trusted), "-4", "localhost", str(server.port)],
            input=b"".join(map(numbered_line, range(1000))),
            capture_output=True,
            timeout=PROCESS_S,
            check=False,
        )
        assert done.stdout == ACK_OK * 1000, done.stderr
    assert stored_lines(tmp_path / "data") == [numbered_line(number) for number in range(1000)]


@pytest.mark.parametrize("program_name", ["openssl", "ncat"])
def test_our_client_into_a_receiver_that_never_answers(tmp_path: Path, trusted: Path, program_name: str) -> None:
    path, port = need(program_name), free_port()
    files = files_of(issued("127.0.0.1"), tmp_path / "server")
    log = append(tmp_path / "app.log", range(10_000))
    words = {
        "openssl": ("s_server", "-quiet", "-naccept", "1", "-accept", f"127.0.0.1:{port}", "-cert"),
        "ncat": ("--listen", "127.0.0.1", str(port), "--ssl-cert"),
    }[program_name]
    keys = ("-key" if program_name == "openssl" else "--ssl-key", str(files.key))
    with program(path, *words, files.certificate, *keys, folder=tmp_path, stdin=subprocess.PIPE) as receiver:
        receiver.wait_for_listening(port)
        run = ship(log, port, "--ack", "none", "--tls", "--tls-ca", str(trusted), folder=tmp_path)
        assert run.wait() == 0, run.stderr
        wait_until(lambda: receiver.stdout.count("\n") >= 10_000, "all lines are received", deadline_s=PROCESS_S)
    assert_conserved(range(10_000), receiver.stdout.encode().splitlines(keepends=True))


def gtls(trusted: Path, certificate: str, key: str) -> str:
    """Return the settings of rsyslog's TLS, or skip the test."""
    need("rsyslogd")
    if not list(Path("/usr/lib").glob("**/rsyslog/lmnsd_gtls.so")):
        pytest.skip("rsyslog's gtls is not installed (Debian: rsyslog-gnutls)")
    return f"""
        global(DefaultNetstreamDriver="gtls" DefaultNetstreamDriverCAFile="{trusted}"
               DefaultNetstreamDriverCertFile="{certificate}" DefaultNetstreamDriverKeyFile="{key}")
    """


def test_rsyslog_ships_over_tls_with_a_client_certificate(tmp_path: Path, trusted: Path, own: list[str]) -> None:
    configuration, source = gtls(trusted, *own), tmp_path / "source.log"
    source.touch()
    with serving(tmp_path, trusted, accept="any-object") as server:
        configuration += f"""
            module(load="imfile" mode="polling" pollingInterval="1")
            template(name="json" type="list" option.jsonf="on") {{
                property(outname="message" name="msg" format="jsonf")
            }}
            ruleset(name="forward") {{
                action(type="omfwd" target="127.0.0.1" port="{server.port}" protocol="tcp" template="json"
                       TCP_Framing="traditional" StreamDriver="gtls" StreamDriverMode="1"
                       StreamDriverAuthMode="x509/name" StreamDriverPermittedPeers="logs.example")
            }}
            input(type="imfile" file="{source}" tag="app:" ruleset="forward")
        """
        with rsyslog(tmp_path, configuration, "sender.pid") as sender:
            with source.open("w") as file:
                file.writelines(f"message {number}\n" for number in range(200))
            wait_until(lambda: len(server.stored_lines()) >= 200, "200 lines are stored", deadline_s=PROCESS_S)
            assert sender.terminate() == 0, sender.stderr
        stored = [json.loads(line) for line in server.stored_lines()]
        assert [entry["message"] for entry in stored] == [f"message {number}" for number in range(200)]
        assert server.stats.lines_rejected == 0


def test_our_client_into_rsyslog_over_tls(tmp_path: Path, trusted: Path, own: list[str]) -> None:
    files, port, stored = files_of(issued("127.0.0.1"), tmp_path / "server"), free_port(), tmp_path / "stored.ndjson"
    configuration = f"""
        {gtls(trusted, str(files.certificate), str(files.key))}
        module(load="imtcp" StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.AuthMode="x509/name"
               PermittedPeer=["web-1.example"])
        template(name="asItCame" type="string" string="%rawmsg%\\n")
        ruleset(name="keep") {{ action(type="omfile" file="{stored}" template="asItCame") }}
        input(type="imtcp" address="127.0.0.1" port="{port}" ruleset="keep")
    """
    log = append(tmp_path / "app.log", range(5000))
    tls = ("--tls", "--tls-ca", str(trusted), "--tls-cert", own[0], "--tls-key", own[1])
    with rsyslog(tmp_path, configuration, "receiver.pid") as receiver:
        receiver.wait_for_listening(port)
        run = ship(log, port, "--ack", "none", *tls, folder=tmp_path)
        assert run.wait() == 0, run.stderr
        wait_until(lambda: stored.exists() and stored.read_bytes().count(b"\n") >= 5000, "rsyslog has stored all")
        assert receiver.terminate() == 0, receiver.stderr
    assert_conserved(range(5000), stored.read_bytes().splitlines(keepends=True))


def test_a_python_client_that_half_closes_below_tls_gets_every_ack(tmp_path: Path) -> None:
    """It says no goodbye of TLS: what is not a whole line then may have been cut off, and is not stored (M17)."""
    with serving(tmp_path, plain_from=("127.0.0.0/8",)) as server:
        sock = socket.create_connection(("127.0.0.1", server.port), timeout=PROCESS_S)
        with client_context().wrap_socket(sock, server_hostname="127.0.0.1") as half_closing:
            half_closing.sendall(b"".join(map(numbered_line, range(500))) + b'{"message": "cut')
            socket.socket.shutdown(half_closing, socket.SHUT_WR)
            answers = b"".join(iter(lambda: half_closing.recv(65536), b""))
        assert answers.count(ACK_OK) == 500
        assert server.stored_lines() == [numbered_line(number) for number in range(500)]


def test_a_python_client_that_unwraps_at_once_has_everything_stored(tmp_path: Path) -> None:
    with serving(tmp_path, plain_from=("127.0.0.0/8",)) as server:
        sock = socket.create_connection(("127.0.0.1", server.port), timeout=PROCESS_S)
        closing = client_context().wrap_socket(sock, server_hostname="127.0.0.1")
        closing.sendall(b"".join(map(numbered_line, range(500))))
        with pytest.raises((ssl.SSLError, ConnectionError)):
            closing.unwrap()  # acks come after its goodbye: its TLS calls that an error
        wait_until(lambda: server.stats.lines_stored == 500, "all is stored")
        closing.close()
