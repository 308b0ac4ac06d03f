"""Our client and our server over TLS: every line arrives once, whatever becomes of certificates meanwhile."""

import signal
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import Identity, authority_file, files_of, issued
from tests.support.processes import program
from tests.support.running import numbered_line, running_server, wait_until
from tests.support.shipping import EVERY_WAY, append, assert_conserved, once, shipping
from tests.support.tls_client import server_options


def client_options(folder: Path, identity: Identity) -> dict[str, Any]:
    """Return the settings of a client with a certificate of its own."""
    return {
        "tls": True,
        "tls_ca": authority_file(folder),
        "tls_cert": identity.certificate,
        "tls_key": identity.key,
    }


@pytest.mark.parametrize("changes", EVERY_WAY)
def test_a_batch_run_stores_each_line_once(tmp_path: Path, changes: dict[str, Any]) -> None:
    identity = files_of(issued("web-1"), tmp_path, "client")
    log = append(tmp_path / "app.log", range(5000))
    options = server_options(tmp_path, client_ca=authority_file(tmp_path))
    with running_server(tmp_path, **options) as server:
        with shipping(log, server.port, **once(tmp_path), **client_options(tmp_path, identity), **changes) as client:
            assert client.result().problems == ()
        assert server.stored_lines() == [numbered_line(number) for number in range(5000)]
        assert server.stats.handshakes_failed == {}


def test_certificates_of_both_ends_are_replaced_while_lines_flow(tmp_path: Path) -> None:
    identity = files_of(issued("web-1"), tmp_path, "client")
    log = append(tmp_path / "app.log", range(1000))
    options = server_options(tmp_path, client_ca=authority_file(tmp_path))
    with (
        running_server(tmp_path, **options) as server,
        shipping(log, server.port, mode="continuous", **once(tmp_path), **client_options(tmp_path, identity)) as client,
    ):
        for turn in range(1, 4):
            client.wait_for_acks(1000 * turn)
            files_of(issued("127.0.0.1", common_name=f"server {turn}"), tmp_path)
            files_of(issued("web-1", common_name=f"client {turn}"), tmp_path, "client")
            server.server.load_files()
            append(log, range(1000 * turn, 1000 * (turn + 1)))
        client.wait_for_acks(4000)
        assert client.stop().problems == ()
        assert_conserved(range(4000), server.stored_lines())


def test_a_server_program_says_where_it_speaks_tls_and_loads_its_files_again(tmp_path: Path) -> None:
    files = files_of(issued("127.0.0.1"), tmp_path)
    words = ("--listen", "tls://127.0.0.1:0", "--listen", "tcp://127.0.0.1:0", "--data-dir", tmp_path / "data")
    tls = ("--tls-cert", files.certificate, "--tls-key", files.key)
    main = Path(__file__).parents[2] / "server_main.py"
    with program(sys.executable, main, *words, *tls, folder=tmp_path) as running:
        wait_until(lambda: running.stderr.count("listening on 127.0.0.1 port ") == 2, "it listens")
        first, second = [line for line in running.stderr.splitlines() if "listening on" in line]
        assert first.endswith(" (TLS)")
        assert second.split()[-1].isdigit()
        files_of(issued("127.0.0.1", common_name="the next one"), tmp_path)
        running.send(signal.SIGHUP)
        running.wait_for_stderr("loaded the changed TLS files for new connections")
        with socket.create_connection(("127.0.0.1", int(second.split()[-1]))) as client:
            client.sendall(numbered_line(0))
            assert b'"ok"' in client.recv(100)
