"""Other people's programs: what they send into our server, and what they make of our client's lines."""

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from logferry.protocol.plain.acks import ACK_OK
from tests.support.processes import PLAIN, PROCESS_S, QUICK, Program, free_port, program, ship, wait_for_port
from tests.support.running import numbered_line, running_server, stored_lines, wait_until
from tests.support.shipping import append, assert_conserved

HAND_WRITTEN = b'{"level": "INFO", "message": "typed by hand"}\n'


def need(name: str) -> str:
    """Return the path of a program, or skip the test."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if not path:
        pytest.skip(f"{name} is not installed")
    return path


@pytest.mark.parametrize("command", [("ncat",), ("nc.openbsd", "-N")])
def test_lines_typed_by_hand_are_acked(tmp_path: Path, command: tuple[str, ...]) -> None:
    words = [need(command[0]), *command[1:]]
    lines = HAND_WRITTEN + b"this is no JSON\n" + HAND_WRITTEN
    with running_server(tmp_path) as server:
        done = subprocess.run(
            [*words, "127.0.0.1", str(server.port)], input=lines, capture_output=True, timeout=PROCESS_S, check=True
        )
        answers = done.stdout.splitlines(keepends=True)
        assert len(answers) == 3
        assert answers[0] == answers[2] == ACK_OK
        assert json.loads(answers[1])["status"] == "error"
        assert server.stored_lines() == [HAND_WRITTEN] * 2


def test_our_client_into_ncat(tmp_path: Path) -> None:
    ncat, port = need("ncat"), free_port()
    log = append(tmp_path / "app.log", range(10_000))
    words = (ncat, "--listen", "127.0.0.1", str(port))
    # An open stdin: at the end of its own, ncat would end the connection's other half, as a server that leaves does.
    with program(*words, folder=tmp_path, stdin=subprocess.PIPE) as receiver:
        receiver.wait_for_listening(port)
        run = ship(log, port, "--ack", "none", folder=tmp_path)
        assert run.wait() == 0, run.stderr
        receiver.wait()
    assert_conserved(range(10_000), receiver.stdout.encode().splitlines(keepends=True))


@contextmanager
def rsyslog(folder: Path, configuration: str, pid_file: str) -> Iterator[Program]:
    """Run a private rsyslogd."""
    path = need("rsyslogd")
    conf = folder / f"{pid_file}.conf"
    conf.write_text(f'global(workDirectory="{folder}")\n{configuration}\n')
    with program(path, "-n", "-f", conf, "-i", folder / pid_file, folder=folder) as running:
        yield running


def test_our_client_into_rsyslog(tmp_path: Path) -> None:
    port, stored = free_port(), tmp_path / "stored.ndjson"
    log = append(tmp_path / "app.log", range(5000))
    configuration = f"""
        module(load="imtcp")
        template(name="asItCame" type="string" string="%rawmsg%\\n")
        ruleset(name="keep") {{ action(type="omfile" file="{stored}" template="asItCame") }}
        input(type="imtcp" address="127.0.0.1" port="{port}" ruleset="keep")
    """
    with rsyslog(tmp_path, configuration, "receiver.pid") as receiver:
        wait_for_port(port)
        run = ship(log, port, "--ack", "none", folder=tmp_path)
        assert run.wait() == 0, run.stderr
        wait_until(lambda: stored.exists() and stored.read_bytes().count(b"\n") == 5000, "rsyslog has stored all")
        assert receiver.terminate() == 0, receiver.stderr
    assert_conserved(range(5000), stored.read_bytes().splitlines(keepends=True))


def test_without_ack_none_a_receiver_that_never_answers_is_named_as_such(tmp_path: Path) -> None:
    ncat, port = need("ncat"), free_port()
    log = append(tmp_path / "app.log", range(10))
    with program(ncat, "--listen", "127.0.0.1", str(port), "--keep-open", "--recv-only", folder=tmp_path):
        wait_for_port(port)
        run = ship(log, port, *PLAIN, *QUICK, "--max-attempts", "2", folder=tmp_path)
    assert run.wait() == 1
    assert "a receiver that never answers needs --ack none" in run.stderr


def test_rsyslog_into_our_server(tmp_path: Path) -> None:
    source = tmp_path / "source.log"
    source.touch()
    with running_server(tmp_path, accept="any-object") as server:
        configuration = f"""
            module(load="imfile" mode="polling" pollingInterval="1")
            template(name="json" type="list" option.jsonf="on") {{
                property(outname="message" name="msg" format="jsonf")
                property(outname="severity" name="syslogseverity-text" format="jsonf")
            }}
            template(name="line" type="string" string="%$!all%")
            ruleset(name="forward") {{
                action(type="omfwd" target="127.0.0.1" port="{server.port}" protocol="tcp" template="json"
                       TCP_Framing="traditional")
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


def test_a_sender_that_never_reads_its_acks_and_sends_foreign_objects(tmp_path: Path) -> None:
    """What a `logger` with JSON, a shell script or an agent does: open, write, close."""
    lines = [b'{"app": "cron", "pid": %d}\n' % number for number in range(1000)]
    with running_server(tmp_path, accept="any-object") as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as sock:
            sock.sendall(b"".join(lines))
        wait_until(lambda: server.stats.lines_stored == 1000, "all is stored")
        assert server.stored_lines() == lines


def test_logger_sends_json_into_our_server(tmp_path: Path) -> None:
    """util-linux logger frames with octet counts or a priority; with neither, its line is what follows the header."""
    path = need("logger")
    with running_server(tmp_path, accept="any-object") as server:
        # A syslog header is no JSON: the server says so and lives on.
        subprocess.run(
            [path, "--tcp", "--server", "127.0.0.1", "--port", str(server.port), HAND_WRITTEN.decode().strip()],
            timeout=PROCESS_S,
            check=True,
        )
        wait_until(lambda: server.stats.lines_rejected == 1, "the line is refused")
        with server.connect() as client:
            client.send(numbered_line(0))
            assert client.answers(1) == ["ok"]
    assert stored_lines(tmp_path / "data") == [numbered_line(0)]
