"""Where a server listens: the URLs, and which of --listen and --server-port counts."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from logferry.config import ServeSettings, load
from logferry.config.kinds.listen_urls import LISTEN_URL, ListenUrl
from logferry.errors import ConfigError


def urls(environment: Mapping[str, str] | None = None, **arguments: str) -> list[str]:
    return [str(url) for url in load(ServeSettings, arguments, environment or {}).listen_urls]


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("tcp://127.0.0.1:9000", ListenUrl("tcp", "127.0.0.1", 9000)),
        ("tcp://[::]:9000", ListenUrl("tcp", "::", 9000)),
        ("tcp://[fe80::1%eth0]:0", ListenUrl("tcp", "fe80::1%eth0", 0)),
        ("TCP://logs-1.example.com:65535", ListenUrl("tcp", "logs-1.example.com", 65535)),
    ],
)
def test_a_url_names_scheme_host_and_port(text: str, url: ListenUrl) -> None:
    assert LISTEN_URL.parse(text) == url
    assert LISTEN_URL.parse(str(url)) == url


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "9000",
            "127.0.0.1:9000",
            "tcp://127.0.0.1",
            "tcp://:9000",
            "tcp://a:65536",
            "tcp://a:-1",
            "tcp://a:\uff19",
        ),
        *("http://a:1", "tcp://::1:9000", "tcp://[a]:1", "tcp://u@a:1", "tcp://a:1/", "tcp://a b:1", "tcp://a:1\n"),
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^$"):
        LISTEN_URL.parse(text)


def test_without_listen_the_first_options_say_where() -> None:
    assert urls() == ["tcp://0.0.0.0:9000"]
    assert urls({"SERVER_HOST": "::1"}, server_port="0") == ["tcp://[::1]:0"]


def test_listen_replaces_the_first_options_of_lower_layers_and_of_the_default(tmp_path: Path) -> None:
    assert urls(listen="tcp://a:1\ntcp://[::1]:2") == ["tcp://a:1", "tcp://[::1]:2"]
    assert urls({"SERVER_HOST": "b", "SERVER_PORT": "7"}, listen="tcp://a:1") == ["tcp://a:1"]
    (tmp_path / "server.toml").write_text('server_port = 7\nserver_host = "b"')
    assert urls({"LOGFERRY_LISTEN": "tcp://a:1"}, config=str(tmp_path / "server.toml")) == ["tcp://a:1"]


def test_listen_of_a_lower_layer_does_not_count(tmp_path: Path) -> None:
    assert urls({"LOGFERRY_LISTEN": "tcp://a:1"}, server_port="7") == ["tcp://0.0.0.0:7"]
    (tmp_path / "server.toml").write_text('listen = ["tcp://a:1"]')
    assert urls({"SERVER_HOST": "b"}, config=str(tmp_path / "server.toml")) == ["tcp://b:9000"]
    assert urls(config=str(tmp_path / "server.toml")) == ["tcp://a:1"]


def test_both_in_one_layer_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "server.toml").write_text('listen = ["tcp://a:1"]\nserver_port = 1\nserver_host = "b"')
    with pytest.raises(ConfigError) as caught:
        urls(config=str(tmp_path / "server.toml"))
    assert caught.value.problems == (
        "--listen and --server-host or --server-port (both from the configuration file) cannot be used together",
    )
    with pytest.raises(ConfigError, match="both from the environment"):
        urls({"LOGFERRY_LISTEN": "tcp://a:1", "SERVER_PORT": "1"})
    with pytest.raises(ConfigError, match="both from the command line"):
        urls(listen="tcp://a:1", server_host="b")
    assert urls(listen="none", server_host="b") == ["tcp://b:9000"]
