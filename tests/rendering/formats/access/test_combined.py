"""Access logs in the common and combined formats, case by case (docs/protocol.md, rules F23 and F24)."""

from typing import Any

import pytest

from tests.support.formats import check_sample, record, records, unknown

BOTH = pytest.mark.parametrize("name", ["nginx", "apache"])
COMMON = '192.0.2.7 - frank [15/Jan/2024:08:23:45 +0000] "GET /a?b=c HTTP/1.1" 200 2326'
COMBINED = f'{COMMON} "https://example.com/start" "curl/8.5.0"'


def with_request(request: str) -> str:
    return COMBINED.replace("GET /a?b=c HTTP/1.1", request)


def parts(found: dict[str, Any]) -> list[object]:
    """Return what a request was split into."""
    return [found.get(key) for key in ("method", "path", "protocol")]


@pytest.mark.parametrize("name", ["nginx", "apache"])
def test_a_sample_becomes_its_expected_records(name: str) -> None:
    """Rule F23."""
    check_sample(name, name)


@BOTH
def test_a_line_in_the_combined_format_is_split_into_fields(name: str) -> None:
    """Rule F23."""
    assert record(name, COMBINED) == {
        "level": "INFO",
        "message": "GET /a?b=c HTTP/1.1",
        "timestamp": "15/Jan/2024:08:23:45 +0000",
        "remote_addr": "192.0.2.7",
        "user": "frank",
        "method": "GET",
        "path": "/a?b=c",
        "protocol": "HTTP/1.1",
        "status": 200,
        "bytes": 2326,
        "referer": "https://example.com/start",
        "user_agent": "curl/8.5.0",
    }


@BOTH
def test_a_line_in_the_common_format_has_neither_referer_nor_user_agent(name: str) -> None:
    """Rule F23."""
    found = record(name, COMMON)
    assert found == record(name, COMBINED) | {"referer": None, "user_agent": None}


@BOTH
@pytest.mark.parametrize("line", [COMMON, COMBINED])
@pytest.mark.parametrize("rest", ['"198.51.100.3"', "1534", '- "a \\" b" c', " ", "é"])
def test_anything_after_the_combined_fields_is_kept_as_one_field(name: str, line: str, rest: str) -> None:
    """Rule F23."""
    assert record(name, f"{line} {rest}") == record(name, line) | {"rest": rest}


@BOTH
def test_a_dash_is_null(name: str) -> None:
    """Rule F23."""
    found = record(name, '192.0.2.7 - - [15/Jan/2024:08:23:45 +0000] "GET / HTTP/1.1" 304 - "-" "-"')
    assert [key for key, value in found.items() if value is None] == ["user", "bytes", "referer", "user_agent"]


@BOTH
def test_the_name_from_identd_is_kept_if_present(name: str) -> None:
    found = record(name, COMBINED.replace(" - frank", " ident frank"))
    assert found == record(name, COMBINED) | {"ident": "ident"}


@BOTH
@pytest.mark.parametrize(
    ("status", "level"),
    [(200, "INFO"), (101, "INFO"), (304, "INFO"), (400, "WARNING"), (499, "WARNING"), (500, "ERROR"), (599, "ERROR")],
)
def test_the_status_determines_the_level(name: str, status: int, level: str) -> None:
    """Rule F24."""
    found = record(name, COMBINED.replace(" 200 ", f" {status} "))
    assert (found["level"], found["status"]) == (level, status)


def test_a_status_of_zeros_is_the_number_zero() -> None:
    assert record("nginx", COMBINED.replace(" 200 ", " 000 "))["status"] == 0


@BOTH
@pytest.mark.parametrize(
    "request_line",
    [
        "-",
        "",
        r"\x16\x03\x01\x02\x00",
        "GET /",
        "GET /with space HTTP/1.1",
        "get / HTTP/1.1",
        r"GET / HTTP/1.1\"",
        "GET / HTTP/1.1 ",
        "GET  HTTP/1.1",
        "GET / HTTP/",
        " / HTTP/1.1",
        "SSH-2.0-Go",
        "\x03\x00\x00/*\xe0\x00",
    ],
)
def test_a_malformed_request_is_the_message_unchanged(name: str, request_line: str) -> None:
    """Rule F23."""
    found = record(name, with_request(request_line))
    assert (found["message"], parts(found)) == (request_line, [None] * 3)
    assert not {"method", "path", "protocol"} & found.keys()
    assert found["user_agent"] == "curl/8.5.0"


@BOTH
@pytest.mark.parametrize("path", ["/", "*", "/a\\x22b", r"/a\"b", "/zażółć", "http://example.com/", "/a[0]=<b>", "/\t"])
def test_a_request_is_split_into_method_path_and_protocol(name: str, path: str) -> None:
    """Rule F23."""
    found = record(name, with_request(f"PATCH {path} HTTP/2.0"))
    assert parts(found) == ["PATCH", path, "HTTP/2.0"]
    assert found["message"] == f"PATCH {path} HTTP/2.0"


@BOTH
@pytest.mark.parametrize("agent", [r"say \"hi\"", r"\"", r"ends with \\", r"\x22", "Zażółć/1.0", "", "a  b", "\x1b[0m"])
def test_quotes_inside_quotes_are_kept_as_the_server_escaped_them(name: str, agent: str) -> None:
    """Rule F23."""
    found = record(name, f'{COMMON} "{agent}" "{agent}" "more"')
    assert [found[key] for key in ("referer", "user_agent", "rest")] == [agent, agent, '"more"']


@BOTH
@pytest.mark.parametrize("address", ["2001:db8::7:1", "::1", "unix:", "host.example.com"])
def test_an_address_is_kept_as_written(name: str, address: str) -> None:
    assert record(name, COMBINED.replace("192.0.2.7", address))["remote_addr"] == address


@BOTH
@pytest.mark.parametrize(
    "line",
    [
        "hello",
        COMMON.replace(" 200 2326", ""),
        COMMON.replace("2326", "02326"),
        COMMON.replace("2326", "9" * 19),
        COMMON.replace(" 200 ", " 2000 "),
        COMMON.replace("]", ""),
        COMMON.replace('.1" ', '.1 "'),
        f'{COMBINED}"',
        f" {COMBINED}",
        COMBINED.removeprefix("192.0.2.7"),
        COMBINED.replace(" - frank", "  frank"),
        COMBINED.replace(" - frank", " - "),
        COMBINED.replace("15/Jan/2024:08:23:45 +0000", ""),
    ],
)
def test_a_line_of_another_shape_is_shipped_whole(name: str, line: str) -> None:
    assert record(name, line) == unknown(line)


def test_a_quote_that_is_closed_on_the_next_line_only_joins_no_lines() -> None:
    lines = [f'{COMMON} "open', f'closed" "agent" {COMMON}', COMBINED]
    found = records("nginx", *lines)
    assert found == [record("nginx", COMMON) | {"rest": '"open'}, unknown(lines[1]), record("nginx", COMBINED)]


def test_access_and_error_lines_may_be_mixed_in_one_chunk() -> None:
    lines = [COMBINED, "2024/01/15 08:23:45 [error] 1#1: a", "rubbish", "", COMMON, with_request("-"), "  ", COMBINED]
    messages = [found["message"] for found in records("nginx", *lines)]
    request = "GET /a?b=c HTTP/1.1"
    assert messages == [request, "a", "rubbish", request, "-", request]


def test_bytes_that_are_not_utf_8_are_kept_beside_the_fields() -> None:
    found = record("nginx", with_request("GET /caf\udce9 HTTP/1.1").encode(errors="surrogateescape"))
    assert found["path"] == "/caf\ufffd"
    assert found["raw"]


@pytest.mark.parametrize("name", ["nginx", "apache"])
@pytest.mark.parametrize("host", ["shop.example:80", "shop.example", "[", "[::1]:80"])
def test_the_name_of_a_virtual_host_may_come_first(name: str, host: str) -> None:
    """Rule F45."""
    line = f'{host} 192.0.2.7 - - [04/Mar/2026:11:12:13 +0000] "GET /pump HTTP/1.1" 403 332 "-" "pump/1.0"'
    found = record(name, line)
    if host.startswith("["):
        assert found == unknown(line)
        return
    assert list(found)[:5] == ["level", "message", "timestamp", "vhost", "remote_addr"]
    assert (found["vhost"], found["remote_addr"], found["status"]) == (host, "192.0.2.7", 403)
    assert (found["user_agent"], found["timestamp"]) == ("pump/1.0", "04/Mar/2026:11:12:13 +0000")
