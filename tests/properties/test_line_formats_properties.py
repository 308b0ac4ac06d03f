"""The formats that are based on kinds of lines, and docker: both ways give the same, and nothing of a line is lost."""

import json
import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, note, settings
from hypothesis import strategies as st

from logferry.model.format_names import CURRENT_RULES
from logferry.model.render_spec import RenderSpec
from logferry.protocol.lines.validation import Accept, Lines
from logferry.rendering.engine.events import EventJoiner
from logferry.rendering.engine.levels import SEVERITIES
from logferry.rendering.event_boundaries import event_joiner
from logferry.rendering.formats.text.syslog import FACILITIES
from logferry.rendering.renderer import renderer
from tests.support.formats import render_both_ways, unknown
from tests.support.judging import validate

NAMES = ["syslog", "nginx", "apache", "klog", "auditd", "cri", "docker"]
CONTAINERS = ["cri", "docker"]

# Lines as the formats have them, in pieces: any piece may be replaced by any other, or by some rubbish.
_LINES = [
    ["<34>", "Jan 15 08:23:45", " ", "web-1", " ", "app", "[7]", ":", " ", "error: ", "message"],
    ["2024-01-15T08:23:45.5Z", " ", "web-1", " ", "app", ":", " ", "2024-01-15 08:23:45 ", "[info]", " message"],
    *(
        ["<165>", "1 ", "2024-01-15T08:23:45Z", " ", "web-1", " ", "app", " ", "7", " ", "-", " ", data, " ", "message"]
        for data in ("-", '[a@1 b="c"]', r'[a@1 b="\]"]')
    ),
    *(
        ["192.0.2.7", " ", "-", " ", "frank", " ", "[15/Jan/2024:08:23:45 +0000]", " ", '"', request, '"', *more]
        for request in ("GET / HTTP/1.1", "-")
        for more in (
            [" 200", " 12"],
            [" 404", " -", ' "', "-", '" "', "agent", '"'],
            [" 502", " 0", ' "', "x", '" "', "y", '"', " rest"],
        )
    ),
    ["node=a ", "type=", "LOGIN", " msg=audit(", "1772622733.415", ":", "7", "):", " ", "pid=8", " ", "message"],
    ["shop:80 ", "192.0.2.7", " - ", "-", " ", "[15/Jan/2024:08:23:45 +0000]", ' "GET / HTTP/1.1"', " 200", " 12"],
    *(
        [letter, year, "0115 ", "08:23:45", ".123456", "       ", "7", " ", "pump.go", ":", "12", "]", " ", "message"]
        for letter in "IWEF"
        for year in ("", "2024")
    ),
    ["2024/01/15 08:23:45", " ", "[error]", " ", "1#2", ": ", "*3 ", "message"],
    ["[Mon Jan 15 08:23:45.123456 2024]", " ", "[core:error]", " [pid 4:tid 5]", " [client ::1]", " ", "message"],
    *(
        ["2024-01-15T08:23:45.123456789Z", " ", stream, " ", tag, " ", "message"]
        for stream in ("stdout", "stderr")
        for tag in "FP"
    ),
    *(
        ['{"log":"', "message", end, '","stream":"', stream, '"', ',"time":"', "2024-01-15T08:23:45Z", '"}']
        for stream in ("stdout", "stderr")
        for end in (r"\n", "", r"\r\n")
    ),
]
_RUBBISH = [
    *(
        "",
        " ",
        "  ",
        "-",
        "é",
        "\u2028",
        "🚢",
        "\ufeff",
        "\u017f",
        "\t",
        "\r",
        "\x00",
        "\x01",
        "\x02",
        "\x06",
        "\x7f",
        '"',
    ),
    *("\\", '\\"', "\\\\", "\\n", "\\r", "\\]", "]", "[", ":", "{", "}", "\\u003c", "\\u001b", "\\ud83d", "\\u2028"),
    *("\\x16", ',"attrs":{"a":"b"}', "INFO", "[warn]", "Error:", "0", "007", "stdout P", "std", " HTTP/1.1"),
]
_pieces = st.sampled_from(sorted({piece for line in _LINES for piece in line} | set(_RUBBISH)))


@st.composite
def _lines(draw: st.DrawFn) -> bytes:
    pieces = list(draw(st.sampled_from(_LINES)))
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(pieces)))
        pieces[place : place + draw(st.integers(0, 1))] = [draw(_pieces)]
    line = "".join(pieces).encode()
    broken = draw(st.integers(0, 20 * len(line) + 20))
    return line[:broken] + b"\xff" + line[broken:] if broken < len(line) else line


chunks = st.lists(_lines(), max_size=12).map(lambda lines: b"".join(line + b"\n" for line in lines))


def syslog_lines(record: dict[str, Any]) -> set[str]:
    """Return the lines that may have become this record."""
    words = [record[key] or "-" for key in ("timestamp", "host")]
    priority = ""
    if record["facility"]:
        priority = f"<{8 * FACILITIES.index(record['facility']) + SEVERITIES.index(record['level'])}>"
    if "msgid" in record:
        words += [record[key] or "-" for key in ("app", "pid", "msgid", "structured_data")]
        begin = f"{priority}1 {' '.join(words)}"
        return {f"{begin} {record['message']}", f"{begin} \ufeff{record['message']}", begin + record["message"]}
    tag = "" if record["app"] is None else record["app"]
    tag += "" if record["pid"] is None else f"[{record['pid']}]"
    begin = f"{priority}{' '.join(words)}"
    if not tag:
        return {f"{begin} {record['message']}"}
    return {f"{begin} {tag}: {record['message']}", f"{begin} {tag}:{record['message'] or ''}"}


def web_lines(record: dict[str, Any]) -> set[str]:
    """Return the lines that may have become this record."""
    if "remote_addr" not in record:
        return error_lines(record)
    who = f"{record['remote_addr'] or '-'} {record.get('ident', '-')} {record['user'] or '-'}"
    size = "-" if record["bytes"] is None else record["bytes"]
    who = f"{record['vhost']} {who}" if "vhost" in record else who
    line = f'{who} [{record["timestamp"]}] "{record["message"]}" {record["status"]:03} {size}'
    rest = f" {record['rest']}" if "rest" in record else ""
    referer, user_agent = ("-" if record[key] is None else record[key] for key in ("referer", "user_agent"))
    return {line + rest, f'{line} "{referer}" "{user_agent}"{rest}'}


def error_lines(record: dict[str, Any]) -> set[str]:
    """Return the line of an error log that became this record."""
    given = {key: value for key, value in record.items() if value is not None}
    level = record["level"].lower()
    if "connection" in record:
        connection = "*{connection} ".format(**given) if "connection" in given else ""
        return {"{timestamp} [{0}] {pid}#{tid}: {1}{message}".format(level, connection, **given)}
    templates = {"module": "[{module}:", "pid": " [pid {pid}", "tid": ":tid {tid}", "client": " [client {client}]"}
    module, pid, tid, client = (template.format(**given) if key in given else "" for key, template in templates.items())
    process = f"{pid}{tid}]" if pid else ""
    return {f"[{record['timestamp']}] {module or '['}{level}]{process}{client} {record['message']}"}


def klog_lines(record: dict[str, Any]) -> set[str]:
    """Return the lines that may have become this record, with one space before the thread."""
    begin = f"{record['level'][0]}{record['timestamp']} {record['tid']} {record['source']}]"
    return {f"{begin} {record['message']}", begin + record["message"]}


def auditd_lines(record: dict[str, Any]) -> set[str]:
    """Return the lines that may have become this record."""
    node = f"node={record['node']} " if "node" in record else ""
    begin = f"{node}type={record['type']} msg=audit({record['timestamp']}:{record['serial']}):"
    return {f"{begin} {record['message']}", begin + record["message"]}


def time_of(number: int) -> str:
    return f"2024-01-15T08:23:{number:02}Z"


def cri_line(number: int, stream: str, is_last: bool, content: str) -> str:
    return f"{time_of(number)} {stream} {'F' if is_last else 'P'} {content}"


def docker_line(number: int, stream: str, is_last: bool, content: str) -> str:
    log = json.dumps(content + "\n" * is_last)
    return f'{{"log":{log},"stream":"{stream}","time":"{time_of(number)}"}}'


def joiner_of(name: str, max_bytes: int) -> EventJoiner:
    joiner = event_joiner(RenderSpec(rules=CURRENT_RULES, format=name, multiline_max_bytes=max_bytes))
    assert joiner is not None
    return joiner


@given(chunks)
def test_the_fast_way_gives_what_line_by_line_gives(data: bytes) -> None:
    """Rules F20, F22, F23, F26 and F27."""
    for name in NAMES:
        note(name)
        render_both_ways(name, data)


@settings(max_examples=100)
@given(chunks)
def test_every_output_line_is_json_with_the_promised_keys_first(data: bytes) -> None:
    for name in NAMES:
        note(name)
        payload = renderer(RenderSpec(rules=CURRENT_RULES, format=name)).render(data).payload
        taken = validate(payload, accept=Accept.LEVEL_AND_MESSAGE)
        assert b"".join(lines.payload for lines in taken if isinstance(lines, Lines)) == payload
        for line in payload.split(b"\n")[:-1]:
            record = json.loads(line)
            assert list(record)[:3] == ["level", "message", "timestamp"]
            assert isinstance(record["message"], str)
            assert re.fullmatch("[A-Z]+[0-9]?", record["level"])


@pytest.mark.parametrize(
    ("name", "lines_of"),
    [
        ("syslog", syslog_lines),
        ("nginx", web_lines),
        ("apache", web_lines),
        ("klog", klog_lines),
        ("auditd", auditd_lines),
    ],
)
@given(chunks)
@example(b'192.0.2.7 - frank [15/Jan/2024:08:23:45 +0000] "GET / HTTP/1.1" 404 - "" "-" "agent"\n')
def test_every_line_is_an_event_of_which_the_line_can_be_made_again(
    name: str, lines_of: Callable[[dict[str, Any]], set[str]], data: bytes
) -> None:
    lines = [line.removesuffix(b"\r") for line in data.split(b"\n")[:-1]]
    payload = renderer(RenderSpec(rules=CURRENT_RULES, format=name)).render(data).payload
    records = [json.loads(record) for record in payload.split(b"\n")[:-1]]
    for line, record in zip([line for line in lines if line.strip()], records, strict=True):
        text = line.decode("utf-8", "replace")
        record.pop("raw", None)
        text_of_klog = re.sub(r"\A([IWEF][0-9]+ [0-9:.]+) +", r"\1 ", text)  # the spaces before a thread may be many
        assert record == unknown(text) or {text, text_of_klog} & lines_of(record)


@pytest.mark.parametrize(("name", "line_of"), [("cri", cri_line), ("docker", docker_line)])
@given(st.lists(st.tuples(st.sampled_from(["stdout", "stderr", "rubbish"]), st.booleans(), _pieces), max_size=12))
def test_events_are_the_lines_that_were_written_in_the_order_in_which_they_were_completed(
    name: str, line_of: Callable[[int, str, bool, str], str], written: list[tuple[str, bool, str]]
) -> None:
    """Rule F27. The model: what is open of each stream."""
    data, expected, opened = "", [], dict[str, tuple[int, str]]()
    for number, (stream, is_last, content) in enumerate(written):
        content = content.replace("\r", "")
        if stream == "rubbish":
            data += f"rubbish {content}\n"
            expected.append(unknown(f"rubbish {content}"))
            continue
        data += line_of(number, stream, is_last, content) + "\n"
        first, before = opened.get(stream, (number, ""))
        opened[stream] = (first, before + content)
        if is_last:
            first, message = opened.pop(stream)
            expected.append({"message": message, "timestamp": time_of(first), "stream": stream})
    expected += [
        {"message": message, "timestamp": time_of(first), "stream": stream, "partial": True}
        for stream, (first, message) in opened.items()
    ]
    payload = render_both_ways(name, data.encode()).payload
    records = [json.loads(record) for record in payload.split(b"\n")[:-1]]
    assert [record | {"level": ""} for record in records] == [record | {"level": ""} for record in expected]


@given(chunks, st.integers(0, 400))
def test_pieces_that_end_where_groups_end_render_as_the_whole_does(data: bytes, max_bytes: int) -> None:
    """Rules F27 and F30."""
    for name in CONTAINERS:
        note(name)
        spec = RenderSpec(rules=CURRENT_RULES, format=name, multiline_max_bytes=max_bytes)
        joiner = joiner_of(name, max_bytes)
        whole = renderer(spec).render(data)
        ends = [0]
        while ends[-1] < len(data):
            ends.append(ends[-1] + joiner.bytes_of_groups(data[ends[-1] :], 1))
        pieces = [renderer(spec).render(data[start:end]) for start, end in pairwise(ends)]
        assert b"".join(piece.payload for piece in pieces) == whole.payload
        assert sum(piece.lines + piece.blank + piece.joined for piece in pieces) == data.count(b"\n")
        assert [joiner.bytes_of_groups(data, count) for count in range(len(ends))] == ends
        for end in (match.end() for match in re.finditer(b"\n", data)):
            # That a group is cut at `end` is seen from the line after it only.
            assert joiner.complete_bytes(data[:end]) in (
                max(e for e in ends if e <= end),
                max(e for e in ends if e < end),
            )
