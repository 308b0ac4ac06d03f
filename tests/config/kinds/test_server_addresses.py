"""Where a client ships: the addresses of --server, and which of --server and --server-host counts."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from logferry.config import ShipSettings, load
from logferry.config.kinds.server_addresses import SERVER_ADDRESSES
from logferry.errors import ConfigError


def servers(environment: Mapping[str, str] | None = None, **arguments: str) -> list[tuple[str, int]]:
    return [(host, port) for host, port in load(ShipSettings, arguments, environment or {}).servers]


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("127.0.0.1:9000", ("127.0.0.1", 9000)),
        ("[::1]:9000", ("::1", 9000)),
        ("[fe80::1%eth0]:1", ("fe80::1%eth0", 1)),
        ("logs-1.example.com:65535", ("logs-1.example.com", 65535)),
    ],
)
def test_an_address_names_host_and_port(text: str, server: tuple[str, int]) -> None:
    assert SERVER_ADDRESSES.parse(text) == (server,)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "9000",
        "a:",
        ":9000",
        "a:0",
        "a:65536",
        "a:-1",
        "a:\uff19",
        "::1:9000",
        "[a]:1",
        "u@a:1",
        "a:1/",
        "a b:1",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--server: "):
        servers(server=f"b:1,{text}")


def test_without_it_the_first_options_name_the_server() -> None:
    assert servers() == [("localhost", 9000)]
    assert servers({"SERVER_HOST": "::1"}, server_port="7") == [("::1", 7)]


def test_several_come_from_the_command_line_the_environment_and_the_file(tmp_path: Path) -> None:
    expected = [("a", 1), ("::1", 2)]
    assert servers(server="a:1,[::1]:2") == expected
    assert servers({"LOGFERRY_SERVER": "a:1, [::1]:2"}) == expected
    (tmp_path / "client.toml").write_text('server = ["a:1", "[::1]:2"]')
    assert servers(config=str(tmp_path / "client.toml")) == expected


def test_whatever_stands_in_the_higher_layer_wins(tmp_path: Path) -> None:
    assert servers({"SERVER_HOST": "b", "SERVER_PORT": "7"}, server="a:1") == [("a", 1)]
    assert servers({"LOGFERRY_SERVER": "a:1"}, server_port="7") == [("localhost", 7)]
    assert servers({"LOGFERRY_SERVER": "a:1", "SERVER_PORT": "7"}, server_host="b") == [("b", 7)]
    (tmp_path / "client.toml").write_text('server = ["a:1"]')
    assert servers({"SERVER_HOST": "b"}, config=str(tmp_path / "client.toml")) == [("b", 9000)]
    (tmp_path / "client.toml").write_text('server_host = "b"')
    assert servers({"LOGFERRY_SERVER": "a:1"}, config=str(tmp_path / "client.toml")) == [("a", 1)]


def test_both_in_one_layer_is_an_error_with_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "client.toml").write_text('server = ["a:1"]\nserver_port = 1\nserver_host = "b"')
    with pytest.raises(ConfigError) as caught:
        servers(config=str(tmp_path / "client.toml"))
    assert caught.value.problems == (
        "--server and --server-host or --server-port (both from the configuration file) cannot be used together",
    )
    with pytest.raises(ConfigError, match=r"--server and --server-port \(both from the environment\)"):
        servers({"LOGFERRY_SERVER": "a:1", "SERVER_PORT": "1"})
    with pytest.raises(ConfigError, match=r"--server and --server-host \(both from the command line\)"):
        servers(server="a:1", server_host="b")


def test_the_same_server_twice_and_too_many_are_errors() -> None:
    with pytest.raises(ConfigError, match="--server: a port 1 is given twice"):
        servers(server="a:1,b:1,a:1")
    with pytest.raises(ConfigError, match="there are 17 servers"):
        servers(server=",".join(f"a:{port}" for port in range(1, 18)))


def test_a_token_without_tls_goes_to_servers_of_this_machine_only(tmp_path: Path) -> None:
    token = tmp_path / "token"
    assert servers(server="127.0.0.1:1,[::1]:2", token_file=str(token))
    with pytest.raises(ConfigError, match="--token-file needs --tls"):
        servers(server="127.0.0.1:1,logs.example:2", token_file=str(token))
