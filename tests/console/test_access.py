"""Who may ask the console, and what its answers say to browsers."""

import socket
import ssl
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from logferry.console.access import Hosts, WrongTokens, read_token
from logferry.console.encryption import tls_of
from logferry.errors import ConfigError
from tests.support.certificates import authority, authority_file, files_of, issued
from tests.support.console import Console, MemorySource, running_console

TOKEN = "correct-horse-battery-staple-0123"


@pytest.fixture
def console() -> Iterator[Console]:
    source = MemorySource()
    source.add(b'{"level": "INFO", "message": "secret"}')
    with running_console(source, token=TOKEN, names=["logs.example"]) as running:
        yield running


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


class TestTokens:
    def test_without_the_token_the_api_says_nothing(self, console: Console) -> None:
        for headers in ({}, bearer("wrong"), {"Authorization": f"Basic {TOKEN}"}, bearer(""), bearer(TOKEN + "x")):
            status, sentence = console.refused("/logs", headers)
            assert status == 401
            assert "token" in sentence
        assert console.refused("/openapi.json")[0] == 401

    def test_with_the_token_it_answers(self, console: Console) -> None:
        assert console.get("/logs", bearer(TOKEN))["lines"][0]["message"] == "secret"

    def test_the_token_is_not_taken_from_the_url(self, console: Console) -> None:
        assert console.request(f"/api/v1/logs?token={TOKEN}")[0] == 401

    def test_the_page_itself_holds_no_secret_and_needs_no_token(self, console: Console) -> None:
        status, _, body = console.request("/")
        assert status == 200
        assert b"secret" not in body

    def test_wrong_tokens_are_slowed_down_and_the_right_one_is_still_taken(self, console: Console) -> None:
        answers = [console.request("/api/v1/hosts", bearer(f"guess{number}"))[:2] for number in range(12)]
        assert [status for status, _ in answers] == [401] * 10 + [429] * 2
        assert answers[-1][1]["retry-after"] == "60"
        assert console.request("/api/v1/hosts", bearer(TOKEN))[0] == 200

    def test_a_minute_later_an_address_begins_anew(self) -> None:
        now = [0.0]
        wrong = WrongTokens(lambda: now[0])
        assert [wrong.note("a") for _ in range(11)] == [False] * 10 + [True]
        assert not wrong.note("b")
        now[0] = 61.0
        assert not wrong.note("a")

    def test_addresses_are_remembered_within_a_bound(self) -> None:
        wrong = WrongTokens()
        for number in range(3000):
            wrong.note(str(number))
        assert len(wrong._counts) == 1000

    @pytest.mark.parametrize("content", [b"short", b"", b"two words that are long enough", b"\xff" * 40, b"x" * 2000])
    def test_a_file_without_a_good_token_is_refused(self, tmp_path: Path, content: bytes) -> None:
        file = tmp_path / "token"
        file.write_bytes(content)
        with pytest.raises(ConfigError, match="--token-file"):
            read_token(file)
        with pytest.raises(ConfigError, match="--token-file"):
            read_token(tmp_path)

    def test_the_token_is_the_line_of_its_file(self, tmp_path: Path) -> None:
        file = tmp_path / "token"
        file.write_text(f"{TOKEN}\n")
        file.chmod(0o600)
        assert read_token(file) == TOKEN


class TestHosts:
    @pytest.mark.parametrize(
        "host", ["localhost", "localhost:80", "127.0.0.1:9080", "[::1]:9080", "LOCALHOST.", "127.0.0.2"]
    )
    def test_loopback_answers_to_loopback(self, host: str) -> None:
        assert Hosts("127.0.0.1").allow(host)

    @pytest.mark.parametrize(
        "host",
        ["evil.example", "10.0.0.1", "localhost.evil.example", "", "a b", "127.0.0.1.evil", "[::1", "localhost:x"],
    )
    def test_loopback_answers_to_nothing_else(self, host: str) -> None:
        assert not Hosts("127.0.0.1").allow(host)

    def test_other_listeners_answer_to_addresses_and_the_given_names(self) -> None:
        hosts = Hosts("0.0.0.0", ["logs.example"])
        assert all(hosts.allow(host) for host in ("10.0.0.1:9080", "[fd00::1]", "logs.example:9080", "LOGS.example"))
        assert not hosts.allow("evil.example")

    def test_a_request_for_another_host_gets_nothing(self, console: Console) -> None:
        for path in ("/", "/api/v1/hosts", "/static/app.js"):
            status, _, _ = console.request(path, {"Host": "evil.example", **bearer(TOKEN)})
            assert status == 421
        assert console.request("/", {"Host": "logs.example:1"})[0] == 200

    def test_two_hosts_or_none_get_nothing(self, console: Console) -> None:
        for hosts in (b"Host: localhost\r\nHost: evil\r\n", b""):
            with socket.create_connection((console.host, console.port), timeout=5) as connection:
                connection.sendall(b"GET / HTTP/1.1\r\n%s\r\n" % hosts)
                assert connection.recv(100).split()[1] in (b"400", b"421")


def test_a_page_of_another_site_gets_nothing(console: Console) -> None:
    for site in ("cross-site", "same-site"):
        assert console.refused("/hosts", {**bearer(TOKEN), "Sec-Fetch-Site": site})[0] == 403
    for origin in ("http://evil.example", "null", f"http://{console.host}:1"):
        assert console.refused("/hosts", {**bearer(TOKEN), "Origin": origin})[0] == 403
    own = {"Sec-Fetch-Site": "same-origin", "Origin": f"http://{console.host}:{console.port}"}
    assert console.get("/hosts", {**bearer(TOKEN), **own})


def test_every_answer_is_guarded(console: Console) -> None:
    for path in ("/", "/api/", "/static/console.css", "/nothing", "/api/v1/hosts", "/api/v1/nothing"):
        _, headers, _ = console.request(path)
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "set-cookie" not in headers
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers
        assert headers.get("cache-control") == "no-store" or "/api/v1/" not in path


def test_the_page_has_no_script_or_style_in_it_and_no_other_host(console: Console) -> None:
    for path in ("/", "/api/"):
        _, _, body = console.request(path)
        page = body.decode()
        assert "<script>" not in page
        assert "<style" not in page
        assert " style=" not in page
        assert "http://" not in page.replace("http://www.w3.org", "")
        assert "https://" not in page
        assert " on" not in [part[:3] for part in page.split("<")]


def test_files_are_sent_once(console: Console) -> None:
    _, headers, _ = console.request("/static/console.css")
    status, _, body = console.request("/static/console.css", {"If-None-Match": headers["etag"]})
    assert (status, body) == (304, b"")


@pytest.mark.parametrize(
    "begin", [b"", b"GET / HTTP/1.1\r\nHost: local", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\nGET"]
)
def test_a_connection_without_a_whole_request_is_ended(begin: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("logferry.console.running._REQUEST_S", 0.1)
    with (
        running_console(MemorySource()) as console,
        socket.create_connection((console.host, console.port), timeout=10) as connection,
    ):
        connection.sendall(begin)
        with suppress(ConnectionResetError):
            while connection.recv(65536):
                pass


def test_with_an_authority_only_browsers_with_its_certificates_are_answered(tmp_path: Path) -> None:
    server = files_of(issued("localhost", "127.0.0.1"), tmp_path)
    known = files_of(issued("alice", by="Clients"), tmp_path, "alice")
    tls = tls_of(server.certificate, server.key, authority_file(tmp_path, "Clients"))
    trusting = ssl.create_default_context(cadata=authority().cert_pem.bytes().decode())
    with running_console(MemorySource(), tls=tls) as console:
        assert console.url.startswith("https://127.0.0.1:")
        with pytest.raises(OSError, match=r"(?i)certificate required|reset|closed"):
            urllib.request.urlopen(console.url, context=trusting, timeout=10).read()
        trusting.load_cert_chain(known.certificate, known.key)
        assert urllib.request.urlopen(console.url, context=trusting, timeout=10).status == 200


def test_changed_certificates_are_used_for_new_connections(tmp_path: Path) -> None:
    server = files_of(issued("localhost", "127.0.0.1"), tmp_path)
    tls = tls_of(server.certificate, server.key, None)
    with running_console(MemorySource(), tls=tls) as console:
        files_of(issued("localhost", "127.0.0.1", by="Another"), tmp_path)
        assert tls.look(is_requested=True)
        trusting = ssl.create_default_context(cadata=authority("Another").cert_pem.bytes().decode())
        assert urllib.request.urlopen(console.url, context=trusting, timeout=10).status == 200


def test_endless_headers_are_refused(console: Console) -> None:
    with socket.create_connection((console.host, console.port), timeout=5) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: " + b"y" * 100_000)
        assert connection.recv(100).split()[1] == b"400"
