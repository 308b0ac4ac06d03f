"""No line makes a format take more than a time in proportion to its length."""

import json
import time

import pytest

from logferry.rendering.registry import format_named

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
        assert seconds(piece, 64 * 1024) < 100 * max(small, 1e-3), piece  # 32 is linear, 1024 the square
