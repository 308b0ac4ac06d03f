"""The console as a real process, beside a real server and a real client, and its page in a real browser."""

import json
import re
import signal
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from logferry.server.clients.identities.tokens import new_token
from tests.support.browser import browser
from tests.support.processes import ROOT, Program, client, program, server, ship
from tests.support.running import wait_until


def lines_of_now(first: int, count: int) -> str:
    """Return lines with the present time, as programs write them."""
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    return "".join(f"{now} INFO order {number} paid\n" for number in range(first, first + count))


@contextmanager
def console(data_dir: Path, *words: str, folder: Path, listen: str = "127.0.0.1:0") -> Iterator[tuple[Program, str]]:
    """Run `logferry console`; give the process and its URL."""
    command = [
        sys.executable,
        str(ROOT / "main.py"),
        "console",
        "--data-dir",
        str(data_dir),
        "--listen",
        listen,
        *words,
    ]
    with program(*command, folder=folder) as running:
        running.wait_for_stderr("the console is at ")
        found = re.search(r"the console is at (\S+)", running.stderr)
        assert found
        yield running, found[1]


def asked(url: str, path: str, token: str = "") -> Any:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with urllib.request.urlopen(urllib.request.Request(f"{url}api/v1{path}", headers=headers), timeout=30) as answer:
        return json.load(answer)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_answers_beside_a_server_and_stops_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    log = tmp_path / "app.log"
    log.write_text(lines_of_now(0, 10))
    with server(tmp_path / "data", folder=tmp_path) as serving:
        assert ship(log, serving.port, folder=tmp_path).process.returncode == 0
        with console(tmp_path / "data", folder=tmp_path) as (running, url):
            assert asked(url, "/status")["lines"] == 10
            assert len(asked(url, "/logs?q=order&since=1h")["lines"]) == 10
            assert asked(url, "/files")["files"][0]["file"] == str(log)
            with urllib.request.urlopen(f"{url}api/v1/tail", timeout=30) as tail:
                assert tail.readline() == b"event: begin\n"
                running.send(number)
                assert running.wait() == 0


def test_it_refuses_to_show_lines_to_everybody(tmp_path: Path) -> None:
    words = [sys.executable, str(ROOT / "main.py"), "console", "--data-dir", str(tmp_path), "--listen", "0.0.0.0:0"]
    with program(*words, folder=tmp_path) as running:
        assert running.wait() == 2
        assert "--token-file or --tls-client-ca" in running.stderr


def test_with_a_token_it_listens_anywhere(tmp_path: Path) -> None:
    token, file = new_token(), tmp_path / "token"
    file.touch(mode=0o600)
    file.write_text(token)
    with (
        server(tmp_path / "data", folder=tmp_path),
        console(tmp_path / "data", "--token-file", str(file), folder=tmp_path, listen="0.0.0.0:0") as (running, url),
    ):
        assert asked(url.replace("0.0.0.0", "127.0.0.1"), "/hosts", token) == {"hosts": []}
        assert "without --tls-cert" in running.stderr
        assert token not in running.stderr


def test_a_missing_store_and_a_missing_extra_are_sentences(tmp_path: Path) -> None:
    words = [str(ROOT / "main.py"), "console", "--data-dir", str(tmp_path), "--listen", "127.0.0.1:0"]
    with program(sys.executable, *words, folder=tmp_path) as running:
        assert running.wait() == 1
        assert "ledger.sqlite3" in running.stderr
    with program(sys.executable, "-S", "-I", *words, folder=tmp_path) as running:
        assert running.wait() == 2
        assert "pip install 'logferry[console]'" in running.stderr


def test_a_line_that_is_shipped_is_on_the_page_within_two_seconds_and_a_flipped_byte_turns_the_proof_red(
    tmp_path: Path,
) -> None:
    log, data = tmp_path / "app.log", tmp_path / "data"
    log.write_text(lines_of_now(0, 100))
    follow = ("--mode", "continuous", "--poll-interval", "0.02")
    with (
        browser() as chromium,
        server(data, "--scrub-interval", "500ms", folder=tmp_path) as serving,
        console(data, folder=tmp_path) as (_, url),
    ):
        with client(log, serving.port, *follow, folder=tmp_path) as shipping:
            wait_until(lambda: asked(url, "/status")["lines"] == 100, "the lines are stored")
            with chromium.page(f"{url}?live=1") as page:
                page.wait_for_selector(".row")
                page.wait_for_function("() => document.body.innerText.includes('100 lines')")
                with log.open("a") as file:
                    file.write(lines_of_now(100, 1))
                page.wait_for_function("() => document.body.innerText.includes('order 100 paid')", timeout=2000)
            assert shipping.terminate() == 0
        wait_until(lambda: asked(url, "/status")["checked_bytes"] > 0, "the store is checked")
        with chromium.page(f"{url}?tab=proof") as page:
            page.wait_for_selector(".card.good")
            (segment,) = data.glob("segments/**/*.ndjson")
            content = bytearray(segment.read_bytes())
            content[20] ^= 1
            segment.write_bytes(content)
            wait_until(lambda: asked(url, "/status")["damaged"], "the damage is found")
            page.reload()
            page.wait_for_selector(".card.bad")
            page.wait_for_selector("tr.bad")
        assert chromium.problems == []
