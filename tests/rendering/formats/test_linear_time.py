"""No line makes a format take more than a time in proportion to its length."""

import json
import time

import pytest

from logferry.rendering.registry import format_named
from tests.support.formats import SAMPLES

# Beginnings of what the patterns look for, which are never completed.
PIECES = [
    *('{"a":', '{"log":{"a":1,', '{"log":{"level":"info",', '{"t":{"$date":"', 'time="\\"', "a=b ", "I0304 11:12:13 "),
    *("type=A msg=audit(1.2:", "shop 1 - - [", '{"level": "UNKNOWN", "message": "\\', "\\", '"', " ", "\t"),
]


@pytest.mark.parametrize("name", ["json", "klog", "auditd", "apache", "cri+auto", "docker+auto", "cri+logfmt"])
def test_a_line_of_any_content_takes_linear_time(name: str) -> None:
    def seconds(piece: str, size: int) -> float:
        text = piece * (size // len(piece))
        line = f"2024-01-15T08:23:45Z stdout F {text}" if name.startswith("cri") else text
        if name.startswith("docker"):
            parts = {"log": text + "\n", "stream": "stdout", "time": "2024-01-15T08:23:45Z"}
            line = json.dumps(parts, separators=(",", ":"))
        begin = time.process_time()
        format_named(name).render(line.encode() + b"\n", b"\n")
        return time.process_time() - begin

    for piece in PIECES:
        small = min(seconds(piece, 2 * 1024) for _ in range(2))
        is_linear = (seconds(piece, 64 * 1024) < 100 * max(small, 1e-3) for _ in range(3))
        assert any(is_linear), piece  # 32 is linear, 1024 the square; one run may have been disturbed


NAMES = ["haproxy", "envoy", "elb", "alb", "traefik", "postgres", "rails", "nginx", "syslog", "klog", "plain"]
IIS = "iis:date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip sc-status time-taken"

# Beginnings of the layouts of plain lines.
LAYOUTS = [
    *("2026-03-04 11:12:13,456 [main] ERROR a - ", "[2026-03-04T11:12:13,456][WARN ][a] ", "[11:12:13 INF] "),
    *("WARNING:root:", "I, [2026-03-04T11:12:13.456789 #811]  INFO -- : ", "1:M 04 Mar 2026 11:12:13.456 * "),
    *(
        "[I 260304 11:12:13 a:1] ",
        "17 [main] INFO a - ",
        "[2026-03-04 11:12:13,456: INFO/a] ",
        "Mar  4 11:12:13 a b[1]: ",
    ),
    *("2026-03-04 11:12:13 | INFO | a", "1772622733 (a) {b} <c> #7 ", "\x1b[32m2026-03-04 11:12:13\x1b[0m "),
]


@pytest.mark.parametrize("name", [*NAMES, IIS, "mysql_slow"])
def test_a_line_whose_middle_is_repeated_takes_linear_time(name: str) -> None:
    """Cut each line somewhere, and repeat what is before the cut, or its last character."""
    sample = SAMPLES / f"{name.partition(':')[0]}.log"
    lines = sample.read_text(encoding="utf-8").split("\n")[:-1] if sample.exists() else LAYOUTS
    if name == "mysql_slow":
        lines.append("\x1f".join(lines[3:8]))

    def seconds(begin: str, piece: str, size: int) -> float:
        line = (begin + piece * (size // len(piece))).encode() + b"\n"
        before = time.process_time()
        format_named(name).render(line, b"\x1f")
        return time.process_time() - before

    for line in dict.fromkeys(lines):
        for size in {len(line) // 2, len(line)} - {0}:
            for piece in (line[size - 1], line[:size]):
                small = seconds(line[:size], piece, 2 * 1024)
                assert seconds(line[:size], piece, 64 * 1024) < 100 * max(small, 1e-3), (line[:size], piece)
