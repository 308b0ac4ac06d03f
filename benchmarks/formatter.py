"""How fast a single thread renders (the client's work) and validates (the server's), for each kind of line.

`python3 benchmarks/formatter.py` prints the results; with `--json FILE` it writes them to the file instead. With
LOGFERRY_SPEEDUPS=0 in the environment it measures the Python code.
"""

import argparse
import json
import re
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent

if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from logferry.model.format_names import CURRENT_RULES  # noqa: E402  (the path comes first)
from logferry.model.render_spec import RenderSpec  # noqa: E402  (the path comes first)
from logferry.protocol.lines.validation import Accept, LineJudge  # noqa: E402
from logferry.protocol.steps import Allowance  # noqa: E402
from logferry.rendering.renderer import renderer  # noqa: E402

# The size of the client's reads.
_CHUNK_BYTES: Final = 256 * 1024
_ROUNDS: Final = 3
_ROUND_S: Final = 0.1

_TEXT: Final = "request handled for customer 4711 in 12 ms by worker 3, cache miss"
_PLAIN_LINE: Final = f"2024-01-15 08:23:45 INFO {_TEXT}"
_VARIATIONS: Final[dict[str, bytes]] = {
    "plain": _PLAIN_LINE.encode(),
    "T, fraction, zone": f"2024-01-15T08:23:45.123456+02:00 INFO {_TEXT}".encode(),
    "[INFO]": f"2024-01-15 08:23:45 [INFO] {_TEXT}".encode(),
    "info:": f"2024-01-15 08:23:45 info: {_TEXT}".encode(),
    "quotes, backslashes": f'2024-01-15 08:23:45 INFO "C:\\data" {_TEXT}'.encode(),
    "tabs": f"2024-01-15 08:23:45\tINFO\t{_TEXT}".encode(),
    "control characters": f"2024-01-15 08:23:45 INFO \x1b[31m{_TEXT}\x1b[0m".encode(),
    "CRLF": f"2024-01-15 08:23:45 INFO {_TEXT}\r".encode(),
    "not ASCII": f"2024-01-15 08:23:45 INFO zażółć 日本 {_TEXT}".encode(),
    "no timestamp or level": f"    {_TEXT}".encode(),
    "not UTF-8": f"2024-01-15 08:23:45 INFO caf\udce9 {_TEXT}".encode(errors="surrogateescape"),
}


# One line of each format, as programs write it; `@` is replaced with a different number in each line, except in an
# address.
_PLACE: Final = re.compile(r"(?<!bob)@")
_JSON: Final = (
    '{"time":"2024-01-15T08:23:45.123Z","level":"info",'
    '"msg":"request handled for customer @","worker":3,"cache":"miss","path":"/items"}'
)
_FORMATS: Final[dict[str, tuple[RenderSpec, str]]] = {
    "raw": (RenderSpec(format="raw"), _PLAIN_LINE),
    "json": (RenderSpec(format="json"), _JSON),
    "json, nested": (RenderSpec(format="json"), _JSON.replace(":3,", ':{"id":3,"tags":["a","b"]},')),
    "json, without a message": (RenderSpec(format="json"), _JSON.replace('"msg"', '"request"')),
    "json, two layouts": (RenderSpec(format="json"), _JSON + '\n{"lvl":"warn","msg":"cache miss for customer @"}'),
    "logfmt": (
        RenderSpec(format="logfmt"),
        'time=2024-01-15T08:23:45Z level=info msg="request handled for customer @" method=GET status=200 bytes=@',
    ),
    "syslog (RFC 3164)": (RenderSpec(format="syslog"), f"Jan 15 08:23:45 web-1 app[4711]: {_TEXT} @"),
    "syslog (RFC 5424)": (RenderSpec(format="syslog"), f"<165>1 2024-01-15T08:23:45.123Z web-1 app 4711 - - {_TEXT} @"),
    "nginx, combined": (
        RenderSpec(format="nginx"),
        '192.0.2.7 - - [15/Jan/2024:08:23:45 +0000] "GET /items/@ HTTP/1.1" 200 @ "https://example.com/" "curl/8.5.0"',
    ),
    "cri": (RenderSpec(format="cri"), f"2024-01-15T08:23:45.123456789Z stdout F INFO {_TEXT} @"),
    "docker": (
        RenderSpec(format="docker"),
        f'{{"log":"INFO {_TEXT} @\\n","stream":"stdout","time":"2024-01-15T08:23:45.123456789Z"}}',
    ),
    "cri+json": (
        RenderSpec(format="cri+json"),
        f'2024-01-15T08:23:45.123456789Z stdout F {{"level":"info","ts":1705307025.123,"msg":"{_TEXT}","n":@}}',
    ),
    "docker+auto": (
        RenderSpec(format="docker+auto"),
        f'{{"log":"{{\\"level\\":\\"info\\",\\"msg\\":\\"{_TEXT}\\",\\"n\\":@}}\\n","stream":"stdout",'
        '"time":"2024-01-15T08:23:45.123456789Z"}',
    ),
    "plain, [thread] LEVEL": (RenderSpec(), f"2024-01-15 08:23:45,123 [main] INFO app.Web - {_TEXT} @"),
    "plain, - LEVEL -": (RenderSpec(), f"2024-01-15 08:23:45,123 - app.web - INFO - {_TEXT} @"),
    "plain, [timestamp] LEVEL": (RenderSpec(), f"[2024-01-15 08:23:45,123] INFO {_TEXT} @ (app.Web)"),
    "plain, LEVEL:module:": (RenderSpec(), f"WARNING:root:{_TEXT} @"),
    "plain, no level": (RenderSpec(), f"2024/01/15 08:23:45 {_TEXT} @"),
    "nginx, error log": (RenderSpec(format="nginx"), f"2024/01/15 08:23:45 [error] 4711#0: *@ {_TEXT}"),
    "apache, error log": (
        RenderSpec(format="apache"),
        f"[Mon Jan 15 08:23:45.123456 2024] [core:error] [pid 4711:tid 7] [client 192.0.2.7:5] {_TEXT} @",
    ),
    "auditd": (RenderSpec(format="auditd"), f"type=USER_LOGIN msg=audit(1772622733.415:@): {_TEXT}"),
    "haproxy": (
        RenderSpec(format="haproxy"),
        "192.0.2.7:3331 [15/Jan/2024:08:23:45.123] web shop/s1 10/0/30/69/109 200 @ - - ---- 1/1/1/1/0 0/0 "
        '"GET /items/@ HTTP/1.1"',
    ),
    "postgres": (RenderSpec(format="postgres"), f"2024-01-15 08:23:45.123 UTC [@] app@shop LOG:  {_TEXT}"),
    "klog": (RenderSpec(format="klog"), f"I0115 08:23:45.123456       1 web.go:123] {_TEXT} @"),
    "python": (RenderSpec(format="python"), f"2024-01-15 08:23:45,123 - app.web - INFO - {_TEXT} @"),
    "regex": (
        RenderSpec(format=r"regex:(?P<time>\S+ \S+) (?P<level>\w+) (?P<message>.*) by worker (?P<worker>\d+).*"),
        _PLAIN_LINE,
    ),
    "multiline, single lines": (RenderSpec(multiline="timestamp"), _PLAIN_LINE),
    "multiline, traces": (RenderSpec(multiline="timestamp"), _PLAIN_LINE + f"\n    at {_TEXT} @" * 9),
    "include, exclude": (RenderSpec(include=("handled",), exclude=("failed",)), _PLAIN_LINE),
    "redact, nothing found": (RenderSpec(redact=("email", "ipv4", "card", "bearer")), _PLAIN_LINE),
    "redact, found in all": (RenderSpec(redact=("email",)), _PLAIN_LINE + " bob@example.com"),
    "two more fields": (RenderSpec(fields=(("host", "web-1"), ("env", "production"))), _PLAIN_LINE),
}


@dataclass(frozen=True, slots=True)
class FormatSpeed:
    """The speed of one kind of line."""

    name: str
    render_lines_per_s: float
    validate_lines_per_s: float


def measure_formats() -> list[FormatSpeed]:
    """Measure every kind of line, which takes some seconds."""
    speeds = [_measure(name, RenderSpec(rules=CURRENT_RULES), line + b"\n") for name, line in _VARIATIONS.items()]
    return speeds + [
        _measure(name, replace(spec, rules=CURRENT_RULES), _numbered(line)) for name, (spec, line) in _FORMATS.items()
    ]


def _numbered(line: str) -> bytes:
    """Return some lines that differ in their numbers."""
    return "".join(_PLACE.sub(str(1000 + number), line) + "\n" for number in range(100)).encode()


def _measure(name: str, spec: RenderSpec, piece: bytes) -> FormatSpeed:
    chunk = piece * (_CHUNK_BYTES // len(piece))
    lines = chunk.count(b"\n")
    render = renderer(spec).render
    payload = render(chunk).payload
    return FormatSpeed(
        name,
        lines / _best_s(lambda: render(chunk)),
        payload.count(b"\n") / _best_s(lambda: _judge(payload)),
    )


def _judge(payload: bytes) -> None:
    """Judge lines in steps, as the server does."""
    judge = LineJudge(payload, accept=Accept.LEVEL_AND_MESSAGE, max_line_bytes=len(payload))
    while not judge.is_done:
        for _ in judge.step(Allowance()):
            pass


def _best_s(work: Callable[[], object]) -> float:
    """Return the duration of `work` in seconds: the best of several rounds, because noise only adds time."""
    return min(_average_s(work) for _ in range(_ROUNDS))


def _average_s(work: Callable[[], object]) -> float:
    count = 0
    start = time.perf_counter()
    while (elapsed := time.perf_counter() - start) < _ROUND_S or not count:
        work()
        count += 1
    return elapsed / count


def main() -> None:
    """Measure everything, and print or write the results."""
    parser = argparse.ArgumentParser(description="Measure rendering and validating, without a network.")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the results to this file instead of printing them"
    )
    options = parser.parse_args()
    found = measure_formats()
    if options.json:
        options.json.write_text(json.dumps([asdict(speed) for speed in found]), encoding="utf-8")
        return
    for speed in found:
        rates = f"{speed.render_lines_per_s:12,.0f} {speed.validate_lines_per_s:12,.0f}"
        ratio = speed.render_lines_per_s / found[0].render_lines_per_s
        print(f"{speed.name:24} render, validate lines/s {rates}   rendering {ratio:.2f} of plain")


if __name__ == "__main__":
    main()
