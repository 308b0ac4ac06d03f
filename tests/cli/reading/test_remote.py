"""`logferry logs --url`: lines from a console, as those of a data folder look."""

import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import islice
from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="the extra logferry[console] is not installed")

from logferry.cli.dispatch import main
from logferry.cli.reading.remote import Console as RemoteConsole
from logferry.cli.reading.remote import _question
from logferry.console.api.words import parse
from logferry.console.encryption import tls_of
from logferry.console.queries.queries import Limits
from logferry.console.source import Followed, Query, Stop, UnknownPlace
from logferry.console.stored.stored_source import StoredSource
from logferry.protocol.messages.client_state import ClientState
from logferry.reading.query.selection import Selection
from logferry.server.clients.reporting.client_reports import ClientReports
from logferry.server.clients.reporting.states_file import states_of, write_states
from tests.support.certificates import authority, files_of, issued
from tests.support.console import Console, MemorySource, running_console
from tests.support.looking import three_hosts
from tests.support.running import DEADLINE_S, wait_until

ROOT = Path(__file__).resolve().parents[3]
TOKEN = "a" * 40


@pytest.fixture
def source() -> MemorySource:
    source = MemorySource()
    for number in range(600):
        level = b"ERROR" if number % 10 == 0 else b"INFO"
        source.add(b'{"level": "%s", "message": "a/b %d\\u001b[2J", "user": "u%d"}' % (level, number, number % 7))
    return source


@pytest.fixture
def console(source: MemorySource) -> Iterator[Console]:
    with running_console(source, limits=Limits(seconds=30, max_lines=300), token=TOKEN) as running:
        yield running


@pytest.fixture
def where(console: Console, tmp_path: Path) -> tuple[str, ...]:
    """The words that name the console and its token."""
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n", encoding="ascii")
    return "--url", console.url, "--token-file", str(path)


def shown(capfd: pytest.CaptureFixture[str], *words: str) -> list[str]:
    assert main(["logs", *words]) == 0
    printed = capfd.readouterr()
    assert printed.err == ""
    return printed.out.splitlines()


def test_lines_of_a_console(capfd: pytest.CaptureFixture[str], where: tuple[str, ...]) -> None:
    lines = shown(capfd, *where, "-n", "2", "--level", "error")
    assert [line.partition(" ERROR ")[2] for line in lines] == [
        "  web-1 app.log  a/b 580\\x1b[2J user=u6",
        "  web-1 app.log  a/b 590\\x1b[2J user=u2",
    ]
    assert len(shown(capfd, *where, "-n", "all")) == 600
    assert len(shown(capfd, *where, "-n", "400", "--reverse")) == 400
    assert len(shown(capfd, *where, "--text", "a/b 59", "-n", "all")) == 11
    assert len(shown(capfd, *where, "--grep", "/b 59", "-v", "-n", "all")) == 589
    (found,) = map(json.loads, shown(capfd, *where, "-n", "1", "--output", "json"))
    assert found["message"] == "a/b 599\x1b[2J"
    assert found["time"] == "2026-01-15T08:09:59.000Z"


_PAGE = b'{"lines": [{"host": "h", "file": "/f", "message": "x", "place": "1"}], "last": "same", "has_more": true}'


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"\x00 garbage\r\n\r\n", "cannot ask"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"a" * 100_000 + b"\r\n\r\n{}", "cannot ask"),
        (b"HTTP/1.1 200 OK\r\n" + b"x: a\r\n" * 200 + b"\r\n{}", "cannot ask"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}", "cannot ask"),
        (b'HTTP/1.1 200 OK\r\n\r\n{"lines":' + b"[" * 100_000, "not JSON"),
        (b"HTTP/1.1 404 Not Found\r\n\r\n" + b"[" * 60_000, "HTTP 404"),
        (b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + _PAGE, "the same page again and again"),
    ],
    ids=[
        "not HTTP",
        "a long header",
        "many headers",
        "a broken chunk",
        "nested",
        "a nested refusal",
        "one page for ever",
    ],
)
def test_no_answer_of_a_console_ends_with_a_traceback_or_goes_on_for_ever(
    capfd: pytest.CaptureFixture[str], answer: bytes, why: str
) -> None:
    """As no answer of a server does: a console is not trusted."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        connection.recv(65536)
                        connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        assert main(["logs", "--url", f"http://127.0.0.1:{listener.getsockname()[1]}", "-n", "all"]) == 1
    printed = capfd.readouterr().err
    assert why in printed
    assert printed.count("\n") == 1


@pytest.mark.parametrize("text", ["a\\/b", "/", "a\nb", "x\\", '[a/b] "c"', "-v /x/"])
def test_texts_and_patterns_mean_the_same_here_and_there(text: str) -> None:
    for selection in (Selection(texts=(text,)), Selection.of_words(regex=re.escape(text))):
        (word,) = parse(_question(selection)["q"]).words
        assert word.is_regex
        assert re.fullmatch(word.text, text)


def test_a_token_follows_no_redirect(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    asked: list[str] = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(302)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    token = tmp_path / "token"
    token.write_text(TOKEN, encoding="ascii")
    with HTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            assert main(["logs", "--url", f"http://127.0.0.1:{server.server_port}", "--token-file", str(token)]) == 1
        finally:
            server.shutdown()
            thread.join()
    assert "the console refuses: HTTP 302" in capfd.readouterr().err
    assert [path.partition("?")[0] for path in asked] == ["/api/v1/logs"]


def test_what_a_console_refuses_is_a_sentence(
    capfd: pytest.CaptureFixture[str], console: Console, where: tuple[str, ...], tmp_path: Path
) -> None:
    assert main(["logs", "--url", console.url]) == 1
    assert "the console refuses: a token is needed" in capfd.readouterr().err
    assert main(["logs", "--url", "http://127.0.0.1:1"]) == 1
    assert "cannot ask http://127.0.0.1:1/api/v1" in capfd.readouterr().err
    for words in (
        ("--url", "ftp://x"),
        (*where, "-C", "1"),
        ("--url", console.url, "--token-file", str(tmp_path / "no")),
    ):
        assert main(["logs", *words]) == 2
        assert "--" in capfd.readouterr().err


@pytest.mark.parametrize("words", [["explain", "--host", "h", "--file", "f"], ["sql", "select 1"]])
def test_a_command_that_cannot_ask_a_console_does_not_take_its_url(
    capfd: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert main([*words, "--url", "http://127.0.0.1:1"]) == 2
    assert "--url: a console does not answer with" in capfd.readouterr().err


def test_following_a_console_shows_each_line_once(source: MemorySource, where: tuple[str, ...]) -> None:
    process = subprocess.Popen(
        [sys.executable, "main.py", "logs", "-f", "-n", "1", *where],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout
    assert b"a/b 599" in process.stdout.readline()
    source.add(b'{"level": "INFO", "message": "new"}')
    assert process.stdout.readline().endswith(b"new\n")
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=DEADLINE_S) == (b"", b"")
    assert process.returncode == 0


def test_following_a_console_goes_on_behind_the_last_line_when_the_connection_ends(source: MemorySource) -> None:
    class Ending(MemorySource):
        """A source whose tails end after each second line."""

        def follow(self, query: Query, *, after: str, stop: Stop) -> Iterator[Followed]:
            lines = 0
            for each in super().follow(query, after=after, stop=stop):
                yield each
                lines += each.line is not None
                if lines == 2:
                    return

    ending = Ending(source.lines)
    with running_console(ending) as console:
        tail = RemoteConsole({"url": console.url}, Selection()).follow(wait=lambda _: None)
        assert next(tail) is None
        for number in range(9):
            ending.add(b'{"level": "INFO", "message": "new %d"}' % number)
        found = (line.record.message for line in tail if line is not None)
        assert [next(found) for _ in range(9)] == [f"new {number}" for number in range(9)]


def test_lines_that_a_console_leaves_out_are_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    source = MemorySource()
    monkeypatch.setattr("logferry.console.queries.feed.MAX_ITEMS", 3)
    with running_console(source) as console:
        tail = RemoteConsole({"url": console.url}, Selection())
        found = tail.follow(wait=lambda _: None)
        assert next(found) is None
        wait_until(lambda: source.running == 1, "the tail runs")
        for number in range(3000):
            source.add(b'{"level": "INFO", "message": "%d"}' % number)
        messages = (line.record.message for line in found if line is not None)
        assert [next(messages) for _ in range(3000)] == [str(number) for number in range(3000)]
        assert not tail.trouble


def test_a_console_that_cannot_go_on_is_a_remark(source: MemorySource) -> None:
    class Forgetful(MemorySource):
        """A source that knows none of its bookmarks."""

        def follow(self, query: Query, *, after: str, stop: Stop) -> Iterator[Followed]:
            if after:
                raise UnknownPlace
            yield from islice(super().follow(query, after=after, stop=stop), 3)

    with running_console(Forgetful(source.lines)) as console:
        tail = RemoteConsole({"url": console.url}, Selection())
        found = tail.follow(wait=lambda _: None)
        while "may be missing" not in tail.trouble:
            assert next(found) is None


def test_hosts_of_a_console_are_shown_as_those_of_its_data_folder(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    reports = ClientReports()
    reports.note_state("", "a", ClientState("1.2", 4000, 96, 1, round(time.time() * 1000) - 90_000, "the \x1bserver"))
    reports.note_state("", "b", ClientState("1.3"))
    with three_hosts(tmp_path), running_console(StoredSource(tmp_path)) as console:
        write_states(tmp_path, states_of(reports))
        for words in ((), ("b",), ("--json",)):
            assert main(["hosts", *words, "--data-dir", str(tmp_path)]) == 0
            local = capfd.readouterr().out
            assert main(["hosts", *words, "--url", console.url]) == 0
            assert capfd.readouterr().out == local
        assert json.loads(local)[0]["client"]["version"] == "1.2"
        assert main(["hosts", "--url", console.url]) == 0
        table = capfd.readouterr().out
        assert "4.1 kB for 1 min" in table
        assert "waits for the \\x1bserver" in table
        assert main(["hosts", "x", "--url", console.url]) == 1
        assert "there are a, b, c" in capfd.readouterr().err
        assert main(["hosts", "--data-dir", str(tmp_path), "--url", console.url]) == 2
        assert "--url cannot be used with --data-dir" in capfd.readouterr().err


def test_a_console_with_tls_is_asked_with_its_authority(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    files = files_of(issued("127.0.0.1"), tmp_path / "console")
    context = tls_of(files.certificate, files.key, None)
    (tmp_path / "ca.pem").write_bytes(authority().cert_pem.bytes())
    with running_console(MemorySource(), tls=context) as console:
        assert main(["hosts", "--url", console.url, "--tls-ca", str(tmp_path / "ca.pem")]) == 0
        assert "0 hosts" in capfd.readouterr().out
        assert main(["hosts", "--url", console.url]) == 1
        assert "certificate" in capfd.readouterr().err
        for words in (("--tls-ca", str(tmp_path / "no")), ("--tls-key", str(files.key))):
            assert main(["hosts", "--url", console.url, *words]) == 2
            assert "--tls-" in capfd.readouterr().err


def test_counts_of_a_console_are_shown_as_those_of_its_data_folder(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("logferry.console.stored.isolated._SILENT_S", DEADLINE_S)
    with three_hosts(tmp_path), running_console(StoredSource(tmp_path)) as console:
        for words in (
            ("--json",),
            ("--by", "file"),
            ("--by", "message-pattern", "--text", "m1", "--json"),
            ("a", "--by", "level", "--level", "error"),
        ):
            assert main(["stats", *words, "--data-dir", str(tmp_path)]) == 0
            local = capfd.readouterr()
            assert main(["stats", *words, "--url", console.url]) == 0
            assert capfd.readouterr() == local
            assert local.out
        assert main(["stats", "x", "--url", console.url]) == 1
        assert "there are a, b, c" in capfd.readouterr().err
    with (
        three_hosts(tmp_path / "other"),
        running_console(StoredSource(tmp_path / "other"), limits=Limits(seconds=0.0)) as console,
    ):
        assert main(["stats", "--url", console.url]) == 1
        assert "ended the count by its limits (time)" in capfd.readouterr().err
