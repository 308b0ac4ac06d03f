"""Filters, redaction and added fields on the way to a server: what is taken out is counted, all else is stored once."""

import json
import socket
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.support.builders import append
from tests.support.events import event, judge, prove, with_inputs
from tests.support.running import RunningServer, numbered_line
from tests.support.shipping import EVERY_WAY, Shipping, log_line, losses, once, shipping

pytestmark = pytest.mark.usefixtures("quick_backoff")

every_way = pytest.mark.parametrize("way", EVERY_WAY)
every_mode = pytest.mark.parametrize("mode", ["batch", "continuous"])

FILTERS: dict[str, Any] = {
    "include": ("INFO", "ERROR"),
    "exclude_line": ('"GET /health ', r"line \d*7$"),
    "redact": ("email", "ipv4", r"token=\S+"),
}


def noise(number: int) -> bytes:
    """Return lines around a numbered one: one of no wanted level, one of a health check, a blank one."""
    return b"2024-01-15 08:23:45 DEBUG %d\n" % number + b'2024-01-15 08:23:45 INFO "GET /health %d"\n' % number + b"\n"


def secret(number: int) -> bytes:
    """Return a line in which there are three things to redact."""
    return b"2024-01-15 08:23:45 ERROR %d: joe@example.com from 192.0.2.1 has token=%d\n" % (number, number)


def told(number: int) -> bytes:
    """Return how `secret(number)` is stored as it is."""
    text = b"%d: joe@example.com from 192.0.2.1 has token=%d" % (number, number)
    return b'{"level": "ERROR", "message": "%s", "timestamp": "2024-01-15 08:23:45"}\n' % text


def redacted(number: int) -> bytes:
    """Return how it is stored without its secrets."""
    text = b"%d: [redacted] from [redacted] has [redacted]" % number
    return b'{"level": "ERROR", "message": "%s", "timestamp": "2024-01-15 08:23:45"}\n' % text


def log_of(numbers: range) -> bytes:
    """Return a log with three things to filter out, or four where the number ends in 7, around each numbered line."""
    return b"".join(noise(number) + log_line(number) + secret(number) for number in numbers)


def kept_of(numbers: range) -> list[bytes]:
    """Return what is to be stored of it."""
    kept: list[bytes] = []
    for number in numbers:
        kept += [redacted(number)] if number % 10 == 7 else [numbered_line(number), redacted(number)]
    return kept


@every_mode
@every_way
def test_what_is_taken_out_is_counted_and_all_else_is_stored_once_and_proven(
    tmp_path: Path, server: RunningServer, way: dict[str, Any], mode: str
) -> None:
    log, numbers = tmp_path / "app.log", range(200)
    log.write_bytes(log_of(numbers))
    with shipping(log, server.port, **once(tmp_path, mode=mode, **FILTERS, **way)) as run:
        if mode == "continuous":
            run.wait_for_acks(len(kept_of(numbers)))
            run.request_stop()
        run.result()
    assert server.stored_lines() == kept_of(numbers)
    counters = run.counters
    assert (counters.lines_filtered, counters.lines_blank, counters.redactions) == (200 * 2 + 20, 200, 600)
    assert counters.lines_acked + counters.lines_filtered + counters.lines_blank == counters.lines_read == 1000
    assert losses(server) == [], "what the user did not want is not lost"
    (verdict,) = prove(server.port, tmp_path / "state", log)
    assert verdict.stored == len(kept_of(numbers))


def test_a_file_of_which_nothing_is_wanted_is_done_and_proven(tmp_path: Path, server: RunningServer) -> None:
    log = tmp_path / "app.log"
    log.write_bytes(log_of(range(50)))
    with shipping(log, server.port, **once(tmp_path, include=("nowhere",))) as run:
        assert run.result().problems == ()
    assert server.stored_lines() == []
    assert run.counters.lines_filtered == 200
    prove(server.port, tmp_path / "state", log)


def test_filters_that_change_between_runs_hold_for_what_comes_then_and_all_of_it_is_proven(
    tmp_path: Path, server: RunningServer
) -> None:
    log = tmp_path / "app.log"
    ways: list[dict[str, Any]] = [FILTERS, {"exclude_line": ("DEBUG", "health")}, FILTERS]
    for index, way in enumerate(ways):
        append(log, log_of(range(100 * index, 100 * index + 100)))
        with shipping(log, server.port, **once(tmp_path, resume=True, **way)) as run:
            run.result()
    between = [record for number in range(100, 200) for record in (numbered_line(number), told(number))]
    expected = [*kept_of(range(100)), *between, *kept_of(range(200, 300))]
    assert server.stored_lines() == expected
    (verdict,) = prove(server.port, tmp_path / "state", log)
    assert verdict.stored == len(expected)


def test_a_filter_takes_out_an_event_with_all_its_lines(tmp_path: Path, server: RunningServer) -> None:
    log = tmp_path / "app.log"
    log.write_bytes(b"".join(event(number, lines=4) for number in range(100)))
    settings = once(tmp_path, multiline="timestamp", exclude_line=(r"line 2 of event \d*3\n", "line 3 of event 5$"))
    with shipping(log, server.port, **settings) as run:
        run.result()
    wanted = [number for number in range(100) if number % 10 != 3 and number != 5]
    stored = [json.loads(record)["message"].split("\n")[0] for record in server.stored_lines()]
    assert stored == [f"event {number}" for number in wanted]
    counters = run.counters
    assert counters.lines_acked + counters.lines_joined + counters.lines_filtered == counters.lines_read == 400
    prove(server.port, tmp_path / "state", log)


@every_mode
@every_way
def test_fields_host_and_path_are_in_every_record_and_it_is_proven(
    tmp_path: Path, server: RunningServer, way: dict[str, Any], mode: str
) -> None:
    logs = [tmp_path / name for name in ("one.log", "two.log")]
    for index, log in enumerate(logs):
        append(log, b"".join(map(log_line, range(1000 * index, 1000 * index + 100))))
    added: dict[str, Any] = {"field": (("service", "shop"), ("stage", "test")), "add_host": True, "add_path": True}
    run = Shipping(with_inputs(server.port, dict.fromkeys(logs, added), **once(tmp_path, mode=mode, **way)))
    if mode == "continuous":
        run.wait_for_acks(200)
        run.stop()
    run.result()
    ends = [
        json.dumps({"service": "shop", "stage": "test", "host": socket.gethostname(), "path": str(log)}) for log in logs
    ]
    expected = [
        numbered_line(1000 * index + number).replace(b"}\n", b", %s\n" % end[1:].encode())
        for index, end in enumerate(ends)
        for number in range(100)
    ]
    assert Counter(server.stored_lines()) == Counter(expected)
    prove(server.port, tmp_path / "state", *logs)


def test_the_names_of_kubernetes_are_fields_of_every_record_and_it_is_proven(
    tmp_path: Path, server: RunningServer
) -> None:
    """Rule F47: through the links of the kubelet, too."""
    pod = tmp_path / "pods" / "shop_cart-7f9_1f0e-22" / "web"
    pod.mkdir(parents=True)
    append(pod / "0.log", b"2024-01-15T08:23:45.123456789Z stdout F INFO on\n")
    other = tmp_path / "app.log"
    append(other, b"2024-01-15T08:23:45.123456789Z stdout F INFO off\n")
    logs = [pod / "0.log", other]
    settings = with_inputs(
        server.port, {log: {"add_kubernetes": True, "format": "cri"} for log in logs}, **once(tmp_path)
    )
    Shipping(settings).result()
    found = {record["message"]: record for record in map(json.loads, server.stored_lines())}
    assert [found["INFO on"][key] for key in ("namespace", "pod", "container")] == ["shop", "cart-7f9", "web"]
    assert not {"namespace", "pod", "container"} & found["INFO off"].keys()
    prove(server.port, tmp_path / "state", *logs)


def test_a_rotated_file_keeps_the_path_that_its_first_lines_were_given(tmp_path: Path, server: RunningServer) -> None:
    """The path says where a line was written, not where the file lies by now; `verify` finds it under its new name."""
    log = tmp_path / "app.log"
    append(log, b"".join(map(log_line, range(100))))
    settings = once(tmp_path, mode="continuous", add_path=True)
    with shipping(log, server.port, **settings) as run:
        run.wait_for_acks(100)
        append(log, b"".join(map(log_line, range(100, 150))))
        rotated = log.rename(tmp_path / "app.log.1")
        append(log, b"".join(map(log_line, range(150, 200))))
        run.wait_for_acks(200)
        run.stop()
    records = [json.loads(record) for record in server.stored_lines()]
    assert sorted(record["message"] for record in records) == sorted(f"line {number}" for number in range(200))
    assert {record["path"] for record in records} == {str(log)}
    assert [verdict.stored for verdict in judge(server.port, tmp_path / "state", rotated, log)] == [150, 50]
    prove(server.port, tmp_path / "state", rotated, log)
