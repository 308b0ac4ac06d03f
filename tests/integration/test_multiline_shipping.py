"""Events of several lines on their way to a server: each line is stored in one event, once, and `verify` says so."""

import itertools
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from logferry.client.readers.follow.reader import FollowReader
from tests.support.builders import Clock
from tests.support.builders import append as append_bytes
from tests.support.container_lines import Line, cri, docker
from tests.support.events import JAVA, PYTHON, assert_all_there, event, extents, judge, lines_in, lines_of, prove
from tests.support.reading import chunks_of
from tests.support.running import RunningServer, numbered_line, running_server, wait_until
from tests.support.shipping import EVERY_WAY, Shipping, input_settings, log_line, once, shipping

pytestmark = pytest.mark.usefixtures("quick_backoff")

every_way = pytest.mark.parametrize("way", EVERY_WAY)

# An event is never taken as complete by time alone, or almost at once.
PATIENT, HASTY = 3600.0, 0.01


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "app.log"


@contextmanager
def joining(log: Path, port: int, **changes: Any) -> Iterator[Shipping]:
    """Run a client that joins lines to events which begin with a timestamp."""
    with shipping(log, port, **once(log.parent, **{"multiline": "timestamp", **changes})) as run:
        yield run


def joined_once(log: Path, port: int, **changes: Any) -> Shipping:
    """Ship what a file has, in batch mode."""
    with joining(log, port, resume=True, **changes) as run:
        run.result()
        return run


def messages(server: RunningServer) -> list[str]:
    """Return the messages that a server has."""
    return [json.loads(record)["message"] for record in server.stored_lines()]


def mixed_events(count: int) -> bytes:
    """Return events of all shapes: long and short, blank lines, carriage returns, bytes that are not UTF-8."""
    shapes = (
        lambda number: event(number, 1),
        lambda number: JAVA.replace(b"4711", b"%d" % number),
        lambda number: PYTHON.replace(b"no user", b"no user %d" % number),
        lambda number: event(number, 4, newline=b"\r\n"),
        lambda number: event(number, 2) + b"\tat \xff\xfe \xe9 %d\n" % number,
        lambda number: event(number, 2) + b"\n \n\t\n",
        lambda number: event(number, 120),
        lambda number: b"\n" + event(number, 2) + b"\n\n  after blank lines\n",
    )
    return b"".join(shapes[number % len(shapes)](number) for number in range(count))


# --- batch mode -------------------------------------------------------------------------------------------------------


@every_way
@pytest.mark.parametrize("beginning", ["timestamp", r"\d{4}-"])
def test_events_of_every_shape_in_many_chunks_are_all_there_once(
    log: Path, server: RunningServer, way: dict[str, Any], beginning: str
) -> None:
    log.write_bytes(mixed_events(1600))
    assert log.stat().st_size > 2.5 * 256 * 1024
    run = joined_once(log, server.port, multiline=beginning, **way)
    assert len(server.stored_lines()) == 1600
    counters = run.counters
    assert counters.lines_read == log.read_bytes().count(b"\n")
    assert counters.lines_acked + counters.lines_joined + counters.lines_blank == counters.lines_read
    assert_all_there(log.parent, server.port, log)


@pytest.mark.parametrize("chunk_bytes", [1024, 1500, 4096])
def test_no_event_is_cut_where_a_chunk_ends(
    log: Path, server: RunningServer, monkeypatch: pytest.MonkeyPatch, chunk_bytes: int
) -> None:
    monkeypatch.setattr("logferry.client.files.lines.line_reader.CHUNK_BYTES", chunk_bytes)
    events = [event(number, 1 + number % 17) for number in range(300)]
    log.write_bytes(b"".join(events))
    joined_once(log, server.port, multiline_max_bytes=1024)
    assert len(server.stored_lines()) == 300
    assert_all_there(log.parent, server.port, log)


@pytest.mark.parametrize(("name", "line"), [("cri+plain", cri), ("docker+plain", docker)])
@pytest.mark.parametrize("chunk_bytes", [4096, 256 * 1024])
def test_stack_traces_inside_the_lines_of_a_container_become_one_record_each(
    log: Path, server: RunningServer, monkeypatch: pytest.MonkeyPatch, chunk_bytes: int, name: str, line: Line
) -> None:
    """Rule F48."""
    monkeypatch.setattr("logferry.client.files.lines.line_reader.CHUNK_BYTES", chunk_bytes)
    traces = [event(number, 1 + number % 7).decode() for number in range(100)]
    written = [
        line(text, "stderr" if at % 3 else "stdout", at=at)
        for at, trace in enumerate(traces)
        for text in trace.splitlines()
    ]
    log.write_text("".join(f"{text}\n" for text in written))
    run = joined_once(log, server.port, format=name, multiline_max_bytes=8192)
    assert sorted(messages(server)) == sorted(trace.partition("ERROR ")[2].rstrip() for trace in traces)
    assert run.counters.lines_joined == len(written) - 100
    (verdict,) = prove(server.port, log.parent / "state", log)
    assert verdict.stored == 100


def pretty(number: int) -> bytes:
    """Return an object over several lines, which the json format stores with the message of that number."""
    return json.dumps({"msg": f"line {number}", "braces": ["}", {"{": number}]}, indent=number % 3).encode() + b"\n"


@every_way
@pytest.mark.parametrize("chunk_bytes", [1024, 256 * 1024])
@pytest.mark.parametrize("end", [b"\n", b""])
def test_json_objects_over_several_lines_are_records_wherever_a_chunk_ends(
    log: Path, server: RunningServer, monkeypatch: pytest.MonkeyPatch, way: dict[str, Any], chunk_bytes: int, end: bytes
) -> None:
    """Rule F62: also the last one, which may lack its newline."""
    monkeypatch.setattr("logferry.client.files.lines.line_reader.CHUNK_BYTES", chunk_bytes)
    log.write_bytes(b"".join(map(pretty, range(200))).removesuffix(b"\n") + end)
    run = joined_once(log, server.port, multiline="json", format="json", multiline_max_bytes=1024, **way)
    assert messages(server) == [f"line {number}" for number in range(200)]
    assert run.counters.lines_read == len(log.read_bytes().splitlines())
    (verdict,) = prove(server.port, log.parent / "state", log)
    assert verdict.stored == 200


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le"])
@pytest.mark.parametrize("ack", ["auto", "line"])
def test_a_restart_in_the_middle_of_an_object_does_not_break_it(
    log: Path, server: RunningServer, encoding: str, ack: str
) -> None:
    """Also if the file grows in between, and whatever the acks are."""
    data = b"".join(map(pretty, range(12))).decode().encode(encoding)
    changes = {"multiline": "json", "format": "json", "mode": "continuous", "encoding": encoding, "ack": ack}
    for begin in range(0, len(data), 177):
        append_bytes(log, data[begin : begin + 177])
        with joining(log, server.port, multiline_timeout=PATIENT, **changes) as run:
            text = log.read_bytes().decode(encoding, "ignore")
            whole = sum(pretty(number).decode() in text for number in range(12))
            wait_until(lambda: len(server.stored_lines()) >= whole, "the whole objects are stored")  # noqa: B023
            run.stop()
        assert messages(server) == [f"line {number}" for number in range(whole)]
    if ack == "auto":
        prove(server.port, log.parent / "state", log)


def test_stack_traces_become_one_record_each(log: Path, server: RunningServer) -> None:
    log.write_bytes(JAVA + log_line(1) + PYTHON + b"\n" + JAVA.replace(b"\n", b"\r\n") + log_line(2))
    joined_once(log, server.port)
    first, one, second, third, two = server.stored_lines()
    java = JAVA.decode().removesuffix("\n").partition(" ERROR ")
    assert json.loads(first) == {"level": "ERROR", "message": java[2], "timestamp": java[0]}
    assert json.loads(third) == json.loads(first)
    assert json.loads(second)["message"] == PYTHON.decode().removesuffix("\n").partition(" ERROR ")[2]
    assert [one, two] == [numbered_line(1), numbered_line(2)]
    assert_all_there(log.parent, server.port, log)


def test_an_event_that_begins_with_any_pattern_is_joined(log: Path, server: RunningServer) -> None:
    events = [b"=== request %d\n  first\n\nsecond\n" % number for number in range(50)]
    log.write_bytes(b"before the first\nof them\n" + b"".join(events))
    joined_once(log, server.port, multiline="=== ")
    assert messages(server)[:2] == ["before the first\nof them", "=== request 0\n  first\n\nsecond"]
    assert len(server.stored_lines()) == 51
    assert_all_there(log.parent, server.port, log)


LIMITS = {
    "lines": ({"multiline_max_lines": 5}, 12, [5, 5, 2]),
    "bytes": ({"multiline_max_bytes": 1024}, 80, [40, 40]),
    "one line": ({"multiline_max_lines": 1}, 3, [1, 1, 1]),
}


@pytest.mark.parametrize(("limits", "lines", "pieces"), LIMITS.values(), ids=LIMITS)
@every_way
def test_an_event_over_its_limits_is_cut_into_several(
    log: Path, server: RunningServer, way: dict[str, Any], limits: dict[str, int], lines: int, pieces: list[int]
) -> None:
    log.write_bytes(b"".join(event(number, lines) for number in range(100, 150)) + log_line(1))
    joined_once(log, server.port, **way, **limits)
    assert [message.count("\n") + 1 for message in messages(server)] == [*(pieces * 50), 1]
    assert_all_there(log.parent, server.port, log)


def test_a_line_that_is_too_long_is_cut_and_belongs_to_no_event(log: Path, server: RunningServer) -> None:
    long = b"\tat " + b"x" * 300_000 + b"\n"
    log.write_bytes(event(1) + long + b"\tat the end of it\n" + event(2) + long + event(3))
    joined_once(log, server.port, max_line_bytes=2000)
    assert [message.count("\n") + 1 for message in messages(server)] == [3, 1, 1, 3, 1, 3]
    (verdict,) = judge(server.port, log.parent / "state", log)
    assert (verdict.lines, verdict.stored) == (6, 6)
    assert [loss.reason for loss in verdict.losses] == ["cut after 2000 bytes"] * 2
    assert not any((verdict.missing, verdict.altered, verdict.repeated, verdict.problem))


@every_way
def test_an_event_that_the_server_refuses_is_told_and_all_others_are_stored(
    tmp_path: Path, log: Path, way: dict[str, Any]
) -> None:
    events = [event(number, 60 if number in (7, 8, 30) else 3) for number in range(40)]
    log.write_bytes(b"".join(events))
    with running_server(tmp_path, max_record_bytes=1024) as server:
        run = joined_once(log, server.port, **way)
        assert run.counters.lines_rejected == 3
        kept = [events[number] for number in range(40) if number not in (7, 8, 30)]
        assert lines_in(server.stored_lines()) == lines_of(*kept)
        (verdict,) = judge(server.port, tmp_path / "state", log)
    assert (verdict.lines, verdict.stored, len(verdict.losses)) == (40, 37, 3)
    assert not any((verdict.missing, verdict.altered, verdict.repeated, verdict.problem))


def test_a_batch_run_takes_the_end_of_the_file_for_the_end_of_its_event(log: Path, server: RunningServer) -> None:
    """A later run goes on with what belonged to it."""
    rest = list(itertools.accumulate([b"\tat more\n", b"\n", b"\tat the end\n" + event(2, 2), b"\tat last\n"]))
    for end in (b"", *rest):
        log.write_bytes(event(0) + event(1) + end)
        joined_once(log, server.port)
        prove(server.port, log.parent / "state", log)
    assert [message.count("\n") + 1 for message in messages(server)] == [3, 3, 1, 1, 2, 1]
    assert_all_there(log.parent, server.port, log)


def test_batches_of_few_lines_hold_whole_events(log: Path, server: RunningServer) -> None:
    log.write_bytes(mixed_events(400))
    joined_once(log, server.port, resilient=True, buffer_size=8, batch_size=3)
    assert len(server.stored_lines()) == 400
    assert_all_there(log.parent, server.port, log)


def test_the_plain_protocol_takes_events_too(tmp_path: Path, log: Path, server: RunningServer) -> None:
    log.write_bytes(mixed_events(200))
    joined_once(log, server.port, ack="line")
    assert len(server.stored_lines()) == 200
    assert lines_in(server.stored_lines()) == lines_of(log)
    append_bytes(log, b"\tat more of it\n" + event(1000))
    joined_once(log, server.port, ack="line", compress=True)
    assert lines_in(server.stored_lines()) == lines_of(log)


# --- a file that grows ------------------------------------------------------------------------------------------------


@every_way
def test_an_event_is_complete_when_the_next_one_begins(log: Path, server: RunningServer, way: dict[str, Any]) -> None:
    with joining(log, server.port, mode="continuous", multiline_timeout=PATIENT, **way) as run:
        for number in range(5):
            for line in event(number, 4).splitlines(keepends=True):
                append_bytes(log, line[:10])
                append_bytes(log, line[10:])
            run.wait_for_acks(number)
    joined_once(log, server.port)
    assert [message.count("\n") + 1 for message in messages(server)] == [4] * 5
    assert_all_there(log.parent, server.port, log)


def test_an_event_that_is_written_slowly_is_waited_for_as_long_as_it_grows(log: Path) -> None:
    clock = Clock()
    lines = event(1, 20).splitlines(keepends=True)
    log.write_bytes(b"")
    settings = input_settings(log, multiline="timestamp", multiline_timeout=2.0)
    reader = FollowReader([settings], clock=clock)
    try:
        for line in lines:
            append_bytes(log, line)
            reader.poll()
            assert chunks_of(reader) == []
            clock.now += 1.9
            reader.poll()
            assert chunks_of(reader) == []
        clock.now += 0.2
        reader.poll()
        (chunk,) = chunks_of(reader)
    finally:
        reader.close()
    assert (chunk.data, chunk.is_split) == (b"".join(lines), False)


@every_way
def test_what_is_added_to_an_event_after_its_time_is_an_event_that_verify_knows(
    log: Path, server: RunningServer, way: dict[str, Any]
) -> None:
    pieces = [event(1), b"\tat more\n", b"\n\n", b"\tat even more\n\tat last\n", event(2) + event(3), b"\tat the end\n"]
    acks = list(itertools.accumulate([1, 1, 0, 1, 2, 1]))
    with joining(log, server.port, mode="continuous", multiline_timeout=HASTY, **way) as run:
        for piece, acked in zip(pieces, acks, strict=True):
            append_bytes(log, piece)
            run.wait_for_acks(acked)
            wait_until(lambda: run.counters.bytes_read == log.stat().st_size, "all of it is read")
            prove(server.port, log.parent / "state", log)
    assert [message.count("\n") + 1 for message in messages(server)] == [3, 1, 2, 3, 3, 1]
    begins = [extent.start for extent in extents(server.data_dir)]
    assert [log.read_bytes()[begin:][:8] for begin in begins] == [b"2024-01-", b"\tat more", b"\tat even", b"\tat the "]
    assert_all_there(log.parent, server.port, log)


def test_a_line_without_its_end_is_not_cut_when_its_event_is_complete_by_time(log: Path, server: RunningServer) -> None:
    with joining(log, server.port, mode="continuous", multiline_timeout=HASTY) as run:
        append_bytes(log, event(1) + b"\tat unfin")
        run.wait_for_acks(1)
        append_bytes(log, b"ished\n" + event(2))
        run.wait_for_acks(3)
    assert messages(server)[1] == "\tat unfinished"
    assert_all_there(log.parent, server.port, log)


@every_way
@pytest.mark.parametrize("timeout_s", [HASTY, PATIENT], ids=["cut by time", "not cut"])
def test_a_restart_in_the_middle_of_an_event_loses_and_repeats_nothing(
    log: Path, server: RunningServer, way: dict[str, Any], timeout_s: float
) -> None:
    for number in range(4):
        append_bytes(log, event(number, 2))
        with joining(log, server.port, mode="continuous", multiline_timeout=timeout_s, **way) as run:
            wait_until(lambda: len(server.stored_lines()) >= number, "what went before is stored")  # noqa: B023
            if timeout_s == HASTY:
                wait_until(lambda: run.is_over or _is_read(log, server), "the event is cut")
        append_bytes(log, b"\tat what was written meanwhile\n")
    joined_once(log, server.port, **way)
    sizes = [message.count("\n") + 1 for message in messages(server)]
    assert sizes == ([2, 1] * 4 if timeout_s == HASTY else [3] * 4)
    assert_all_there(log.parent, server.port, log)


def _is_read(log: Path, server: RunningServer) -> bool:
    return lines_in(server.stored_lines()) == lines_of(log)


# --- rotation ---------------------------------------------------------------------------------------------------------


@every_way
@pytest.mark.parametrize("timeout_s", [HASTY, 0.1], ids=["cut by time", "rotated first"])
def test_a_rotation_in_the_middle_of_an_event_loses_and_repeats_nothing(
    log: Path, server: RunningServer, way: dict[str, Any], timeout_s: float
) -> None:
    rotated = [log.with_name(f"app.log.{number}") for number in (3, 2, 1)]
    with joining(log, server.port, mode="continuous", multiline_timeout=timeout_s, **way) as run:
        for number, name in enumerate(rotated):
            append_bytes(log, event(number) + event(100 + number, 2))
            run.wait_for_acks(4 * number + 1)
            log.rename(name)
            append_bytes(name, b"\tat what is written late\n")
            append_bytes(log, b"\tat the beginning of a new file\n")
            wait_until(lambda: _count(server) == 7 * number + 7, "all is stored")  # noqa: B023
    assert_all_there(log.parent, server.port, *rotated, log)


@every_way
def test_a_copytruncate_in_the_middle_of_an_event_loses_and_repeats_nothing(
    log: Path, server: RunningServer, way: dict[str, Any]
) -> None:
    copy = log.with_name("app.log.1")
    with joining(log, server.port, mode="continuous", multiline_timeout=0.2, **way) as run:
        append_bytes(log, b"".join(map(event, range(20))))
        run.wait_for_acks(19)
        append_bytes(log, b"\tat more of the last one\n")
        shutil.copy(log, copy)
        log.write_bytes(b"")
        append_bytes(log, b"\tat the beginning\n" + event(20))
        wait_until(lambda: _count(server) == len(lines_of(copy, log)), "all is stored")
    assert_all_there(log.parent, server.port, copy, log)


def _count(server: RunningServer) -> int:
    return len(lines_in(server.stored_lines()))


def test_what_was_rotated_in_the_middle_of_an_event_while_nobody_ran_is_all_there(
    log: Path, server: RunningServer
) -> None:
    rotated = log.with_name("app.log.1")
    append_bytes(log, event(0) + event(1, 2))
    with joining(log, server.port, mode="continuous", multiline_timeout=PATIENT) as run:
        run.wait_for_acks(1)
    append_bytes(log, b"\tat more of it\n")
    log.rename(rotated)
    append_bytes(log, b"\tat the beginning\n" + event(2))
    with joining(log, server.port, mode="continuous", multiline_timeout=HASTY):
        wait_until(lambda: _count(server) == len(lines_of(rotated, log)), "all is stored")
    assert [message.count("\n") + 1 for message in messages(server)].count(3) == 3
    assert_all_there(log.parent, server.port, rotated, log)


# --- a server that goes back ------------------------------------------------------------------------------------------


def test_a_server_that_was_restored_from_an_older_copy_gets_the_rest_of_an_event_again(
    tmp_path: Path, log: Path
) -> None:
    data, older = tmp_path / "data", tmp_path / "older"
    with running_server(tmp_path) as server:
        append_bytes(log, event(0) + event(1))
        joined_once(log, server.port)
    shutil.copytree(data, older)
    with running_server(tmp_path) as server:
        for piece in (b"\tat more of it\n", b"\tat even more\n" + event(2)):
            append_bytes(log, piece)
            with joining(log, server.port, mode="continuous", multiline_timeout=HASTY):
                wait_until(lambda: _is_read(log, server), "all is stored")
        assert_all_there(tmp_path, server.port, log)
    shutil.rmtree(data)
    older.rename(data)
    append_bytes(log, b"\tat the end\n" + event(3))
    with running_server(tmp_path) as server:
        with joining(log, server.port, mode="continuous", multiline_timeout=HASTY):
            wait_until(lambda: _is_read(log, server), "all is stored")
        assert_all_there(tmp_path, server.port, log)


def test_a_server_that_was_restored_gets_a_file_on_whose_beginning_is_filtered_out(
    log: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An event that was shipped in two pieces renders otherwise as a whole: only the extents say what is held."""
    data, older = tmp_path / "data", tmp_path / "older"
    pieces = [b"2024-01-15 08:23:45 DEBUG unwanted\n", event(0), event(1), b"\tat ERROR later\n", event(2)]
    with running_server(tmp_path) as server:
        for piece in pieces[:2]:
            append_bytes(log, piece)
            joined_once(log, server.port, include=("ERROR",))
    shutil.copytree(data, older)
    with running_server(tmp_path) as server:
        for piece in pieces[2:4]:
            append_bytes(log, piece)
            joined_once(log, server.port, include=("ERROR",))
    shutil.rmtree(data)
    older.rename(data)
    append_bytes(log, pieces[4])
    with running_server(tmp_path) as server:
        joined_once(log, server.port, include=("ERROR",))
        assert lines_in(server.stored_lines()) == lines_of(*pieces[1:])
    assert "is not the file" not in caplog.text
