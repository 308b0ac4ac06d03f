"""The access logs of proxies and load balancers, case by case (docs/protocol.md, rules F51 and F52)."""

from typing import Any

import pytest

from tests.support.formats import check_sample, record, records, unknown

ENVOY = '[2024-01-15T08:23:45.123Z] "GET /a HTTP/1.1" {status} {flags} 7 57 3 {upstream} "-" "{agent}" "id" "shop" "-"'
ELB = "2024-01-15T08:23:45.9Z lb {client} 10.0.0.1:80 {seconds} {status} {status} 0 29"
HAPROXY = "192.0.2.7:3 [15/Jan/2024:08:23:45.123] web shop/s1 {timers} {status} 27 - - ---- 1/1/1/1/0 0/0"


@pytest.mark.parametrize("name", ["haproxy", "envoy", "traefik", "elb", "alb"])
def test_a_sample_becomes_its_expected_records(name: str) -> None:
    """Rules F51 and F52."""
    check_sample(name, name)


def test_envoy_has_the_fields_of_its_default_format() -> None:
    """Rule F51: numbers are numbers, and a dash is null."""
    line = ENVOY.format(status=200, flags="-", upstream="-", agent="curl")
    assert record("envoy", line) == {
        "level": "INFO",
        "message": "GET /a HTTP/1.1",
        "timestamp": "2024-01-15T08:23:45.123Z",
        "method": "GET",
        "path": "/a",
        "protocol": "HTTP/1.1",
        "status": 200,
        "response_flags": None,
        "bytes_received": 7,
        "bytes": 57,
        "duration": 3,
        "upstream_service_time": None,
        "forwarded_for": None,
        "user_agent": "curl",
        "request_id": "id",
        "authority": "shop",
        "upstream_host": None,
    }


@pytest.mark.parametrize(("status", "level"), [(0, "INFO"), (302, "INFO"), (404, "WARNING"), (503, "ERROR")])
def test_the_status_decides_the_level(status: int, level: str) -> None:
    """Rules F24 and F51."""
    line = ENVOY.format(status=status, flags="DC", upstream=1, agent="-")
    assert (record("envoy", line)["level"], record("envoy", line)["status"]) == (level, status)


@pytest.mark.parametrize("agent", ['a\\"b', "a\\\\", "\\x16", "é", "a\tb", "\\\x01", "a\\\tb", "\x7f"])
def test_what_stands_in_quotes_stays_as_it_was_written(agent: str) -> None:
    """Rule F51: escapes too."""
    assert record("envoy", ENVOY.format(status=200, flags="-", upstream=1, agent=agent))["user_agent"] == agent


@pytest.mark.parametrize(
    "line",
    [
        ENVOY.format(status=200, flags="-", upstream=1, agent='"'),
        ENVOY.format(status=200, flags="-", upstream="01", agent=""),
        ENVOY.format(status=1000, flags="-", upstream="1", agent=""),
        ENVOY.format(status=200, flags="", upstream="1", agent=""),
    ],
)
def test_a_line_of_another_shape_has_no_level_and_no_fields(line: str) -> None:
    """Rules F5 and F51: the beginning of an access may be read as plain, by its timestamp alone."""
    found = record("envoy", line)
    assert (found["level"], set(found)) == ("UNKNOWN", {"level", "message", "timestamp"})


@pytest.mark.parametrize("seconds", ["0.000", "0.000086", "12.5", "0", "-1", "7"])
def test_durations_are_numbers_as_they_were_written(seconds: str) -> None:
    """Rule F51: `0.000` is not 0."""
    found = records("elb", ELB.format(client="192.0.2.7:2", seconds=" ".join([seconds] * 3), status=200) + ' "-"')
    keys = ("request_processing_time", "target_processing_time", "response_processing_time")
    assert [found[0][key] for key in keys] == [float(seconds)] * 3


@pytest.mark.parametrize(
    ("client", "address"),
    [
        ("192.0.2.7:28", "192.0.2.7"),
        ("[2001:db8::1]:28", "[2001:db8::1]"),
        ("2001:db8::1:28", "2001:db8::1"),
        ("unix:28", "unix"),
    ],
)
def test_a_client_has_an_address_and_a_port(client: str, address: str) -> None:
    """Rules F51 and F52."""
    found = record("elb", ELB.format(client=client, seconds="0 0 0", status=404) + ' "GET / HTTP/1.1"')
    assert (found["remote_addr"], found["remote_port"], found["level"]) == (address, 28, "WARNING")


@pytest.mark.parametrize(
    "line",
    [
        ELB.format(client="192.0.2.7", seconds="0 0 0", status=200) + ' "-"',
        ELB.format(client="192.0.2.7:2", seconds="0 0 0.", status=200) + ' "-"',
        ELB.format(client="192.0.2.7:2", seconds="0 0 00", status=200) + ' "-"',
        ELB.format(client="192.0.2.7:2", seconds="0 0 1e5", status=200) + ' "-"',
        ELB.format(client="192.0.2.7:2", seconds="0 0 0", status=200),
    ],
)
def test_a_line_that_is_nearly_one_of_a_load_balancer_is_shipped_whole(line: str) -> None:
    """Rule F5."""
    assert records("elb", line, "https " + line) == [unknown(line), unknown("https " + line)]
    assert record("alb", "https " + line) == unknown("https " + line)


def haproxy(line: str) -> dict[str, Any]:
    return record("haproxy", line)


HEADERS = [
    ("", {}),
    ("Jan 15 08:23:45 lb haproxy[14]: ", {"time": "Jan 15 08:23:45", "host": "lb", "app": "haproxy", "pid": "14"}),
    ("Jan 15 08:23:45 haproxy[14]: ", {"time": "Jan 15 08:23:45", "app": "haproxy", "pid": "14"}),
    ("2024-01-15T08:23:45Z haproxy haproxy: ", {"time": "2024-01-15T08:23:45Z", "host": "haproxy", "app": "haproxy"}),
    (
        "<131>Jan  5 08:23:45 haproxy1 haproxy[14]: ",
        {"time": "Jan  5 08:23:45", "host": "haproxy1", "app": "haproxy", "pid": "14", "priority": "131"},
    ),
    (
        "<131>1 2024-01-15T08:23:45Z lb haproxy 14 - - ",
        {"time": "2024-01-15T08:23:45Z", "host": "lb", "app": "haproxy", "pid": "14", "priority": "131"},
    ),
]


@pytest.mark.parametrize(("header", "fields"), HEADERS)
def test_haproxy_is_read_behind_the_header_of_a_syslog_daemon(header: str, fields: dict[str, str]) -> None:
    """Rule F52: the time of the header is a field, and the time of the request the timestamp."""
    line = HAPROXY.format(timers="1/0/3/6/10", status=404) + ' "GET /a HTTP/1.1"'
    found = haproxy(header + line)
    assert (found["level"], found["timestamp"], found["message"]) == (
        *("WARNING", "15/Jan/2024:08:23:45.123"),
        "GET /a HTTP/1.1",
    )
    assert {key: found.get(key) for key in fields} == fields
    assert set(found) - set(haproxy(line)) == set(fields)


def test_a_connection_has_the_level_of_its_priority_if_it_has_one() -> None:
    """Rule F52."""
    line = "192.0.2.7:3 [15/Jan/2024:08:23:45.123] db pool/s1 0/1/57 212 -- 1/2/3/4/0 5/6"
    assert [haproxy(begin + line)["level"] for begin in ("", HEADERS[4][0], HEADERS[2][0])] == ["INFO", "ERROR", "INFO"]
    assert (haproxy(HEADERS[1][0] + line)["message"], haproxy(line)["time_total"]) == (line, 57)


def test_a_plus_shows_what_was_logged_before_the_end_or_sent_to_another_server() -> None:
    """Rule F52."""
    found = haproxy(HAPROXY.format(timers="1/0/3/6/+10", status=200).replace("/0 0/0", "/+2 0/0") + ' "GET / HTTP/1.1"')
    assert (found["time_total"], found["retries"], found["logasap"], found["redispatched"]) == (10, 2, True, True)


@pytest.mark.parametrize(
    "line",
    [
        HAPROXY.format(timers="1/0/3/6", status=200) + ' "GET / HTTP/1.1"',
        HAPROXY.format(timers="1/0/3/6/10", status=20) + ' "GET / HTTP/1.1"',
        HAPROXY.format(timers="1/0/3/6/10", status=200) + ' "GET / HTTP/1.1',
        HAPROXY.format(timers="1/0/3/6/01", status=200) + ' "GET / HTTP/1.1"',
    ],
)
def test_a_line_that_is_nearly_one_of_haproxy_is_shipped_whole(line: str) -> None:
    """Rule F5."""
    assert haproxy(line) == unknown(line)


def test_traefik_needs_what_it_writes_behind_the_common_fields() -> None:
    """Rule F51."""
    line = '192.0.2.7 - - [15/Jan/2024:08:23:45 +0000] "GET / HTTP/1.1" 500 612 "-" "curl" 17 "web@docker" "-" 3ms'
    found = record("traefik", line)
    assert (found["level"], found["router"], found["server_url"], found["duration"]) == ("ERROR", "web@docker", None, 3)
    assert record("traefik", line.removesuffix("ms"))["level"] == "UNKNOWN"
