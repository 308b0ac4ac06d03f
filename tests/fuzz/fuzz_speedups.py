"""The compiled part against the Python code, over bytes that are made to reach the ends of every buffer.

    python tests/fuzz/fuzz_speedups.py --operations 1000000 --seed 1

`make fuzz` runs this with a compiled part that was built with AddressSanitizer and UndefinedBehaviorSanitizer, which
end the process at the first invalid access.
"""

import argparse
import hashlib
import json
import sys
import zlib
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any, Final

if __name__ == "__main__":  # run as a script from anywhere; PYTHONPATH may name another build of the package
    sys.path += [str(Path(__file__).resolve().parents[2] / "src"), str(Path(__file__).resolve().parents[2])]

from logferry import speedups
from logferry.model.format_names import CURRENT_RULES, FORMATS
from logferry.protocol.lines.long_lines import new_state, scan_record
from logferry.protocol.lines.validation import Accept, Lines
from logferry.reading.counting.line_counts import Part, count_lines
from logferry.rendering.engine.compiled.program import program_of
from logferry.rendering.engine.escape import escape, with_plain_newlines
from logferry.rendering.engine.field_roles import ALL_NAMES
from logferry.rendering.engine.line_format import LineFormat
from logferry.rendering.filters import EventFilter
from logferry.rendering.formats.json.format import JSON
from logferry.rendering.formats.json.roles import ALL_KEYS
from logferry.rendering.formats.text.logfmt import LOGFMT
from logferry.rendering.formats.text.plain import PLAIN
from logferry.rendering.formats.text.plain_1 import PLAIN as PLAIN_1
from logferry.rendering.formats.text.raw import RAW
from logferry.rendering.multiline import Multiline
from logferry.rendering.redaction import BUILT_IN, Redactor
from logferry.rendering.registry import format_named
from tests.support.event_times import FREQUENT_FORMS, times_that_differ
from tests.support.judging import validate
from tests.support.pattern_texts import compare_pattern, lines_of

_TEXT: Final = [
    *(
        b"2024-01-15 08:23:45",
        b"2024-01-15T08:23:45.123456Z",
        b"+01:00",
        b" UTC",
        b" INFO ",
        b"[warn]",
        b"ERROR:",
        b" ",
    ),
    *(b"\n", b"\n\n", b"\r\n", b"\t", b"\0", b"\x01", b"\x1f", b"\x0b", b'"', b"\\", b"\\u0041", b"\x7f", b"message"),
    *(
        "é 日本 🚢 \u2028 \ufeff".encode(),
        b"\xff",
        b"\xc3",
        b"\xed\xa0\x80",
        b"\xf0\x9f\x9a",
        b"\x80",
        b"x" * 15,
        b"y" * 33,
    ),
]
_EVENTS: Final = [
    *(b"Mon Jan 15 08:23:45", b"15/Jan/2024:08:23:45", b"<34>", b"1 ", b"[", b"2024/01/15 ", b"08:23:45", b"\n", b"\n"),
    *(b"Jan", b" 5", b"15", b"2024", b"-", b"/", b":", b"\n \n", b"\n2024-01-15 08:23:4", b"\nJan  5 08:23:4"),
]
_PERSONAL: Final = [
    *(
        b"bob@example.com",
        b"@",
        b"a.b-c",
        b".",
        b".de",
        b"_",
        b"192.0.2.7",
        b"1.2",
        b"255",
        b"256",
        b"0",
        b"\xe2\x84\xaa",
    ),
    *(
        b"4111111111111111",
        b"4111 1111 1111 1111",
        b"5500-0000",
        b"2",
        b" ",
        b"-",
        b"11",
        b"bearer ",
        b"Bearer\t",
        b"=",
    ),
    *(b"x~+/", b"\n", "é".encode(), b"\xff", b"[redacted]", b"bea", b"BEARER", b"a" * 20),
]
_PATTERNS: Final = [
    "a",
    "bob",
    "11",
    "é",
    r"a\.b-c",
    "bearer|BEARER",
    "a" * 20,
    "a" * 21,
    "^a",
    r"\d{3}",
    "message",
    "1.2",
]
_JSON: Final = [
    *(b'{"level": "INFO", "message": "', b'", "timestamp": null}\n', b'", "timestamp": "2024-01-15 08:23:45"}\n'),
    *(
        b'{"message":"a","level":1}\n',
        b"{",
        b"}",
        b"[",
        b"]",
        b'"',
        b":",
        b",",
        b"\\",
        b"\\u12",
        b"\\ud83d",
        b"\n",
        b" ",
    ),
    *(
        b"1e999",
        b"-0",
        b"01",
        b".5",
        b"1.5E+3",
        b"true",
        b"nul",
        b"NaN",
        b'"level": ',
        b'"l\\u0065vel": 1',
        b"[" * 70,
        b"1" * 5000,
    ),
    *("é🚢".encode(), b"\xff", b"\x01", b"{}\n", b'{"level": [], "message": {"a": [1, {}]}}\n', b'"raw": "/w=="'),
]

# Members of objects, of which most are valid: keys that may have a role, and values of all kinds.
_KEYS: Final = [*ALL_KEYS, "a", "levels", "", "l\\u0065vel", "$date", "stream", "partial"]
_VALUES: Final = [
    *('"info"', '"INFO"', '"Zażółć"', "1", "-0.5e+3", "01", "1.", "null", "true", "[1, 2]", '{"a":{"b":[]}}', '"\\n"'),
    *('""', "[[[[1]]]]", "NaN", '"\t"', '{"level":"x"}', '"\\ud800b"', "[]", "{}", "30", "400", "3", "1e999", "tru"),
    *('"2026-03-04T11:12:13Z"', '{"$date":"2026-03-04T11:12:13.456+00:00"}', '{"$date":1}', '"W"', '"D1"', '"3"'),
    *('{"level":"error","x":"a"}', '{"a":{"level":1},"level":"Warn"}', '{"level":"error","level":"x"}', "[" * 70),
    *(f'{{"$date":"2026-03-04T11:12:13.{"0" * 20_000}"}}', f'{{"level":"{"x" * 20_000}"}}'),
    *('{"$date":"2026-03-04T11:12"}', '"2026-03-04T11:12:13\\u005a"', '{"level":"e\\u0072r"}', '{"level" : "Err" }'),
    *('{"$date" : "2026-03-04 11:12:13" }', '{"a":"2026-03-04 11:12:13"}', '"x"y', '"\\x"', "{,}", '{"a":1,}', "[1,]"),
]

# Pairs of logfmt.
_PAIR_KEYS: Final = [*ALL_NAMES, *"abcdefghijk", "t", "t", "msg_2", "żółw", "it's", "@t", "MESSAGE", "\x7f"]
_PAIR_VALUES: Final = [
    *("info", '"info"', "INFO", '"a b"', '""', "", '"\\""', '"\\x1"', "a\\b", "a=b", "é", '"\t"', '"', "a b", "12"),
    *("'a b'", "'", "''", "'a'b'", "don't", "'a=\"b\"'", '"C:\\path"', '"\\u0041"', '"\\ud800"', '"ends\\'),
    *("2026-03-04T11:12:13Z", '"2026-03-04 11:12:13"', "'2026-03-04 11:12:13'", "2026-03-04", "2026-03-04T11:12:x"),
]

# What containers write besides, and what their runtimes put before it.
_CONTAINERS: Final = [
    "cri",
    "docker",
    "cri+json",
    "docker+json",
    "cri+logfmt",
    "docker+plain",
    "cri+auto",
    "docker+auto",
]
_CONTENTS: Final = [
    *(
        b"ERROR",
        b"[warn]",
        b"info:",
        b"Fatal: ",
        b"EMERG_",
        b"2024/01/15T08:23:45.5+0100  ",
        b" level=info msg=x time=1",
    ),
    *(b'{"level":"UNKNOWN","message":"INFO x","timestamp":null}', b'"time"', b'{"stream":1,"msg":"x"}'),
    *(b'{"level": "UNKNOWN", "message": "INFO x", "timestamp": null}', b"<&>", b"/", b"\x1b[0m"),
]
_CRI_TAGS: Final = [b" stdout F ", b" stderr F ", b" stdout F ", b" stdout P ", b" stderr F", b" stdin F "]

# What stored messages have, escaped for JSON, and timestamps.
_MESSAGES: Final = [
    *(
        "a",
        "order",
        "web-1",
        "523",
        "1.5",
        ",",
        ".",
        " ",
        "'",
        '\\"',
        "\\\\",
        "\\n",
        "\\t",
        "\\u00e9",
        "é",
        "日本語",
        "-",
        "_",
    ),
    *("deadbeef", "0x1f", "0x", "abc123", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "6ba7b810-9dad-", "y" * 250),
]
_TIMES: Final = [
    *("2024-01-15 08:23:45", "2024-01-15T08:23:45.123Z", "15/Jan/2024:08:23:45 +0000", "1772622733", "1772622733.4"),
    *("1772622733415", "1772622733415123", "08:23:60", "108:23:45", "08:23:45,", "", "1" * 65, "\\u0030"),
]

# Of the state of a scan; Python takes a whole escape at once, and leaves what counts its digits as it was.
_COMPARED: Final = 6


# Each format that is made of kinds of lines, by each rules.
_LINE_FORMATS: Final = list(
    dict.fromkeys(
        found
        for each in FORMATS
        for rules in range(1, CURRENT_RULES + 1)
        if isinstance(found := format_named(each.name, rules), LineFormat) and found.patterns
    )
)


class SpeedupsFuzzer:
    """Makes up inputs, calls both implementations, and keeps the inputs on which they differ."""

    def __init__(self, *, seed: int) -> None:
        self._random = Random(seed)
        self.operations = 0
        self.problems: list[str] = []
        self._checks: list[Callable[[], None]] = [
            *(self._render, self._render, self._escape, self._utf8, self._judge, self._judge, self._run_ends),
            *(self._scan, self._scan, self._checksum, self._fingerprint, self._events, self._events),
            *(self._render_json, self._render_json, self._render_containers, self._render_containers),
            *(self._render_logfmt, self._render_logfmt, self._times, self._times),
            *(self._line_format, self._line_format, self._pattern, self._program),
            *(self._select, self._redact, self._redact, self._count, self._count),
        ]

    def run(self, operations: int) -> None:
        """Do this many operations."""
        for _ in range(operations):
            self.operations += 1
            self._random.choice(self._checks)()

    def _bytes(self, pieces: list[bytes], *, ends_line: bool = True) -> bytes:
        data = b"".join(self._random.choices(pieces, k=self._random.choice([0, 1, 3, 8, 40])))
        if self._random.random() < 0.2 and data:
            at = self._random.randrange(len(data))
            data = data[:at] + bytes([self._random.randrange(256)]) + data[at + 1 :]
        return data + b"\n" if ends_line else data

    def _compare(self, what: str, data: bytes, function: Callable[..., Any], *arguments: Any) -> None:
        fast = function(*arguments)
        compiled, speedups.compiled = speedups.compiled, None
        try:
            slow = function(*arguments)
        finally:
            speedups.compiled = compiled
        if fast != slow:
            self.problems.append(f"{what} of {data!r}: {fast!r}, in Python {slow!r}")

    def _render(self) -> None:
        data = self._bytes(_TEXT)
        inner = self._random.choice([b"\n", b"\x1f", b"\x0b", b"\0"])
        self._compare("rendering", data, LineFormat.render, self._random.choice([PLAIN, PLAIN_1, RAW]), data, inner)

    def _render_json(self) -> None:
        """Of a dozen lines of one layout, Python renders most at once."""
        inner = self._random.choice([b"\n", b"\x1f", b"\x0b", b"\0"])
        lines = [self._object(inner) * self._random.choice([1, 1, 12]) for _ in range(self._random.randrange(6))]
        data = b"".join(lines) + self._bytes(_JSON)
        data = data.decode(errors="replace").encode()
        self._compare("rendering as JSON", data, JSON.render, data, inner)

    def _object(self, inner_newline: bytes) -> bytes:
        choice, space = (
            self._random.choice,
            self._random.choice(["", "", " ", " \t", inner_newline.decode().strip("\n")]),
        )
        members = (f'"{choice(_KEYS)}"{space}:{space}{choice(_VALUES)}' for _ in range(self._random.randrange(9)))
        line = f"{space}{{{space}{f'{space},{space}'.join(members)}{space}}}{space}".encode()
        if not self._random.randrange(4):
            at = self._random.randrange(len(line))
            line = line[:at] + choice(_JSON) + line[at + self._random.randrange(2) :]
        return line + b"\n"

    def _render_logfmt(self) -> None:
        choice, inner = self._random.choice, self._random.choice([b"\n", b"\x1f", b"\x0b", b"\0"])
        lines = []
        for _ in range(self._random.randrange(8)):
            count = choice([1, 2, 3, 5, 8, 70])
            pairs = (choice(_PAIR_KEYS) + choice(["=", "=", "=", "=", ""]) + choice(_PAIR_VALUES) for _ in range(count))
            line = choice([" ", " ", "  ", "\t"]).join(pairs).encode()
            if not self._random.randrange(3):
                at = self._random.randrange(len(line))
                line = line[:at] + choice([*_TEXT, inner]) + line[at + self._random.randrange(2) :]
            lines.append((line + b"\n") * choice([1, 1, 12]))
        data = b"".join(lines).decode(errors="replace").encode()
        self._compare("rendering as logfmt", data, LOGFMT.render, data, inner)

    def _render_containers(self) -> None:
        choice = self._random.choice
        name = choice(_CONTAINERS)
        inner = choice([b"\n", b"\n", b"\x1f", b"\x0b"])
        data = b"".join(
            self._container_line(name.startswith("docker"), inner) for _ in range(self._random.randrange(12))
        )
        data = data.decode(errors="replace").encode()
        format_ = format_named(name)
        self._compare(f"rendering as {name}", data, format_.render, data, inner)

    def _container_line(self, is_docker: bool, inner_newline: bytes) -> bytes:
        choice, has_rubbish = self._random.choice, not self._random.randrange(4)
        content = b"".join(choice([*_CONTENTS, *_TEXT]) for _ in range(self._random.randrange(4)))
        if self._random.randrange(2):
            content = self._object(inner_newline)
        content = content.decode(errors="replace").replace("\n", "").encode()
        if is_docker:
            log = json.dumps(
                content.decode() + choice(["\n", "\n", "\n", "\r\n", ""]), ensure_ascii=choice([True, False])
            )
            line = f'{{"log":{log},"stream":"{choice(["stdout", "stderr"])}","time":"2024-01-15T08:23:45.1Z"}}'.encode()
        else:
            line = choice([b"2024-01-15T08:23:45.123Z", b"2024-01-15T08:23:45+01:00"]) + choice(_CRI_TAGS) + content
        if has_rubbish:
            at = self._random.randrange(len(line))
            line = line[:at] + choice(_TEXT) + line[at + self._random.randrange(2) :]
        return line + b"\n"

    def _line_format(self) -> None:
        """Render lines that the patterns of a format may match."""
        format_ = self._random.choice(_LINE_FORMATS)
        lines = lines_of(self._random.choice(format_.patterns), self._random, self._random.choice([1, 3, 8]))
        data = b"".join(line + b"\n" for line in [*lines, b" "])
        inner = self._random.choice([b"\n", b"\x1f"])
        if inner == b"\n" or inner not in data:
            data = data.replace(b" ", inner, self._random.choice([0, 1, 2])) if inner != b"\n" else data
            self._compare(f"rendering as {format_.name}", data, LineFormat.render, format_, data, inner)

    def _pattern(self) -> None:
        """Match made-up patterns with made-up lines."""
        problem = compare_pattern(self._random)
        if problem:
            self.problems.append(problem)

    def _program(self) -> None:
        """Load and run a program that was changed somewhere: only the process may not end."""
        compiled: Any = speedups.compiled
        parts = list(self._random.choice(_parts_of_programs()))
        place = self._random.randrange(8)
        part = bytearray(parts[place])
        for _ in range(self._random.choice([1, 1, 2, 5])):
            if part:
                at = self._random.randrange(len(part)) & (~3 if self._random.random() < 0.8 else ~0)
                part[at] = self._random.choice([0, 1, 2, 5, 9, 31, 127, 255, self._random.randrange(256)])
        parts[place] = bytes(part[: self._random.choice([len(part)] * 9 + [len(part) // 2])])
        try:
            program = compiled.line_program(*parts, (lambda text: b"x",) * 9, True)
        except ValueError:
            return
        for line in lines_of(self._random.choice(_LINE_FORMATS[0].patterns), self._random, 4):
            compiled.render_lines(program, line + b"\n", b"\n")

    def _escape(self) -> None:
        data = self._bytes(_TEXT)
        inner = self._random.choice([b"\n", b"\x1f"])
        self._compare("escaping", data, escape, with_plain_newlines(data, inner), inner)

    def _events(self) -> None:
        """Find and join events of several lines."""
        data = self._bytes(_TEXT + _EVENTS)
        beginning = self._random.choice(["timestamp", "timestamp", r"\S", r"\d{4}-|(?!\s|Jan|\d)", "é.", ".{9}"])
        rule = Multiline(beginning, max_lines=self._random.choice([1, 3, 500]), max_bytes=self._random.choice([1, 99]))
        self._compare("joining", data, rule.join, data)
        self._compare("the end of events", data, rule.complete_bytes, data)
        self._compare("the first events", data, rule.bytes_of_groups, data, self._random.randrange(5))

    def _select(self) -> None:
        """Select events by fixed texts."""
        data = self._bytes(_TEXT + _PERSONAL)
        include, exclude = (self._random.choices(_PATTERNS, k=self._random.randrange(3)) for _ in "ab")
        chosen = EventFilter(include=include, exclude=exclude)
        inner = self._random.choice([b"\n", b"\x1f", b"\x0b"])
        self._compare(f"selecting {include} without {exclude}", data, chosen.select, data, inner)

    def _redact(self) -> None:
        """Redact what the built-in redactions find."""
        data = self._bytes(_PERSONAL + self._random.choice([[], _TEXT]))
        names = self._random.choices([*BUILT_IN], k=self._random.choice([1, 1, 3]))
        inner = self._random.choice([b"\n", b"\x1f"])
        self._compare(f"redacting {names}", data, Redactor(names).redact_joined, data, inner)

    def _count(self) -> None:
        """Count stored lines, some of them damaged."""
        choice = self._random.choice
        lines = []
        for _ in range(self._random.randrange(6)):
            message = "".join(self._random.choices(_MESSAGES, k=self._random.randrange(9)))
            level, timestamp = choice(["INFO", "warn", "", "x" * 64, "x" * 65]), choice(_TIMES)
            line = f'{{"level": "{level}", "message": "{message}", "timestamp": "{timestamp}"}}\n'.encode()
            lines.append(choice([line, line, self._object(b"\n"), self._bytes(_JSON)]))
        data = b"".join(lines)
        if data and not self._random.randrange(3):
            at = self._random.randrange(len(data))
            data = data[:at] + choice(_JSON + _TEXT) + data[at + self._random.randrange(2) : -1] + b"\n"
        self._compare("counting", data, count_lines, data, Part(self._random.randrange(8)))

    def _utf8(self) -> None:
        assert speedups.compiled
        data = self._bytes(_TEXT, ends_line=False)
        try:
            expected = len(data.decode())
            expected = len(data)
        except UnicodeDecodeError as error:
            expected = error.start
        if speedups.compiled.find_undecodable(data, 0, len(data)) != expected:
            self.problems.append(f"what is not UTF-8 in {data!r} is not at {expected}")

    def _judge(self) -> None:
        data = self._bytes(_JSON)
        accept = self._random.choice(list(Accept))
        self._compare("judging", data, _verdicts, data, accept)

    def _run_ends(self) -> None:
        assert speedups.compiled
        data = self._bytes(_JSON)
        start = self._random.randrange(len(data) + 1)
        for function in (speedups.compiled.canonical_run, speedups.compiled.record_run):
            end, lines, _ = function(data, start, len(data))
            run = data[start:end]
            is_whole = run == b"" or run.endswith(b"\n")
            if not (
                start <= end <= len(data)
                and is_whole
                and run.count(b"\n") == lines
                and all(map(_is_record, run.splitlines()))
            ):
                self.problems.append(f"the run of {data!r} from {start} ends at {end}, with {lines} lines")

    def _times(self) -> None:
        """Read timestamps that are changed somewhere."""
        choice = self._random.choice
        values = list[object]()
        for _ in range(choice([1, 1, 2, 5])):
            text = choice(FREQUENT_FORMS)
            for _ in range(choice([0, 1, 1, 2, 3])):
                at = self._random.randrange(len(text) + 1)
                text = text[:at] + choice("0123456789 -/.,:TZ+JanUx") + text[at + choice([0, 1, 1, 1, 5]) :]
            values.append(text if choice([True, True, True, False]) else choice([None, True, 1705307025, 17e8, 1e300]))
        if problem := times_that_differ(values, is_plain=choice([True, False])):
            self.problems.append(problem)

    def _scan(self) -> None:
        """Scan a record with both implementations, in parts that end anywhere."""
        assert speedups.compiled
        data = self._bytes(_JSON, ends_line=False)
        cuts = sorted(self._random.choices(range(len(data) + 1), k=3))
        states = new_state(), new_state()
        for start, end in pairwise([0, *cuts, len(data)]):
            fast = speedups.compiled.scan_record(data, start, end, states[0])
            slow = scan_record(data, start, end, states[1])
            if fast != slow or (fast and states[0][:_COMPARED] != states[1][:_COMPARED]):
                self.problems.append(f"the scan of {data!r} from {start} to {end}: {fast!r}, in Python {slow!r}")
            if not fast:
                return

    def _checksum(self) -> None:
        crc32 = getattr(speedups.compiled, "crc32", zlib.crc32)
        data = self._random.randbytes(self._random.choice([0, 1, 15, 16, 63, 64, 65, 300, 5000]))
        if crc32(data, 7) != zlib.crc32(data, 7):
            self.problems.append(f"the checksum of {data!r}")

    def _fingerprint(self) -> None:
        fingerprint = getattr(speedups.compiled, "fingerprint", None)
        data = self._random.randbytes(self._random.choice([0, 1, 127, 128, 129, 256, 1024]))
        if fingerprint and fingerprint(data) != hashlib.blake2b(data, digest_size=16).hexdigest():
            self.problems.append(f"the fingerprint of {data!r}")


@cache
def _parts_of_programs() -> list[tuple[bytes, ...]]:
    """Return the parts of the programs of some formats."""
    found = list[tuple[bytes, ...]]()

    class _Keeper:
        def line_program(self, *parts: Any) -> object:
            found.append(parts[:8])
            return None

    for name in ("plain", "syslog", "nginx", "cri", "klog"):
        format_ = format_named(name)
        assert isinstance(format_, LineFormat)
        keeper: Any = _Keeper()
        program_of(format_.compiled_kinds()[0], keeper, knows_all=True)
    return found


def _verdicts(data: bytes, accept: Accept) -> list[str]:
    """Return each line that is taken, and the reason for each that is not: runs may be cut anywhere."""
    found: list[str] = []
    for verdict in validate(data, accept=accept):
        found += (
            verdict.payload.decode().split("\n")[:-1] if isinstance(verdict, Lines) else [f"refused: {verdict.reason}"]
        )
    return found


def _is_record(line: bytes) -> bool:
    try:
        text = line.decode(errors="surrogateescape")  # whether lines are UTF-8 is checked apart
        record = json.loads(text, parse_int=float)  # a number with thousands of digits is legal JSON
    except (ValueError, RecursionError):
        return False
    return isinstance(record, dict) and {"level", "message"} <= record.keys()


def main() -> int:
    """Run, print a report line, and return 1 if something was found."""
    parser = argparse.ArgumentParser(description="Compare the compiled part with the Python code.")
    parser.add_argument("--operations", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if speedups.compiled is None:
        print("the compiled part is not built: python3 tools/build_speedups.py")
        return 1
    fuzzer = SpeedupsFuzzer(seed=arguments.seed)
    fuzzer.run(arguments.operations)
    for problem in fuzzer.problems[:20]:
        print(problem)
    print(f"seed {arguments.seed} operations {fuzzer.operations} problems {len(fuzzer.problems)}")
    return bool(fuzzer.problems)


if __name__ == "__main__":
    sys.exit(main())
