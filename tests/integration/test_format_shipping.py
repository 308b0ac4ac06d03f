"""Logs of every format on their way to a server: stored as their samples say, proven by `verify`."""

import itertools
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from logferry.cli.dispatch import main
from logferry.model.format_names import FORMAT_NAMES, RUNTIME_FORMATS, has_header
from tests.support.builders import append
from tests.support.events import checkpoint_of, judge, lines_in, prove, stored_of, with_inputs
from tests.support.formats import SAMPLES, render_both_ways
from tests.support.running import RunningServer, stored_lines, wait_until
from tests.support.shipping import EVERY_WAY, Shipping, log_line, once, shipping, the_segment
from tests.support.shipping import append as append_numbered

pytestmark = pytest.mark.usefixtures("quick_backoff")

every_way = pytest.mark.parametrize("way", EVERY_WAY)
every_mode = pytest.mark.parametrize("mode", ["batch", "continuous"])

# The samples, and the format of each.
FORMATS = {path.stem: path.stem.partition("-")[0] for path in sorted(SAMPLES.glob("*.log"))}
# What is found out of the samples: the lines of a container are read together with what it wrote.
FOUND = {name: f"{kind}+auto" if kind in RUNTIME_FORMATS else kind for name, kind in FORMATS.items()}
BANNER = b"Starting the server\n  version 1.2\n\n***********\n"


def sample(name: str, kind: str = "log") -> bytes:
    """Return a sample, or (ndjson) what it is to become."""
    return (SAMPLES / f"{name}.{kind}").read_bytes()


def found_in(name: str) -> bytes:
    """Return what a sample becomes when its format is found out."""
    if has_header(FOUND[name]):
        return sample(name, "ndjson")
    return render_both_ways(FOUND[name], sample(name)).payload


def write_samples(folder: Path) -> list[Path]:
    """Write all samples into a folder."""
    logs = [folder / f"{name}.log" for name in FORMATS]
    for log in logs:
        log.write_bytes(sample(log.stem))
    return logs


def assert_stored(tmp_path: Path, port: int, logs: list[Path]) -> None:
    """Each sample is stored as the file beside it says, and nothing else is; `verify` says so too."""
    for log in logs:
        assert b"".join(stored_of(tmp_path / "data", log.name)) == sample(log.stem, "ndjson"), log.stem
    verdicts = prove(port, tmp_path / "state", *logs)
    assert sum(verdict.stored for verdict in verdicts) == len(stored_lines(tmp_path / "data"))


@contextmanager
def detecting(name: Path | str, tmp_path: Path, port: int, **changes: Any) -> Iterator[Shipping]:
    """Run a client that finds out the format of each file."""
    with shipping(
        [str(name)], port, **once(tmp_path, **{"format": "auto", "multiline_timeout": 0.05, **changes})
    ) as run:
        yield run


def chosen(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was said of formats, without the folders."""
    said = (record.getMessage() for record in caplog.records if "its lines are" in record.getMessage())
    return [text.rpartition("/")[2] for text in said]


# --- every format -----------------------------------------------------------------------------------------------------


def test_there_are_samples_of_every_format_that_has_one() -> None:
    assert set(FORMATS.values()) == set(FORMAT_NAMES) - {"plain", "raw"}


@every_mode
@every_way
def test_every_format_is_stored_as_its_sample_says_and_proven(
    tmp_path: Path, server: RunningServer, way: dict[str, Any], mode: str
) -> None:
    logs = write_samples(tmp_path)
    inputs: dict[Path | str, dict[str, Any]] = {
        log: {"format": FORMATS[log.stem], "multiline_timeout": 0.05} for log in logs
    }
    settings = with_inputs(server.port, inputs, **once(tmp_path, mode=mode, **way))
    run = Shipping(settings)
    if mode == "continuous":
        run.wait_for_acks(sum(sample(name, "ndjson").count(b"\n") for name in FORMATS))
        run.stop()
    run.result()
    assert_stored(tmp_path, server.port, logs)


@pytest.mark.parametrize("name", FORMATS)
def test_a_large_file_of_a_format_is_the_same_as_many_small_ones(
    tmp_path: Path, server: RunningServer, name: str
) -> None:
    log = tmp_path / "app.log"
    times = 400_000 // len(sample(name))
    log.write_bytes(sample(name) * times)
    with shipping(log, server.port, **once(tmp_path, format=FORMATS[name], compress=True)) as run:
        run.result()
    stored = server.stored_lines()
    assert len(stored) >= (times - 1) * (sample(name, "ndjson").count(b"\n") - 1)
    whole = sample(name, "ndjson").splitlines(keepends=True)
    if name not in ("cri", "docker"):  # in which a part at the end of one sample goes on in the next
        assert stored == whole * times
    (verdict,) = prove(server.port, tmp_path / "state", log)
    assert verdict.stored == len(stored)


def test_formats_inside_the_lines_of_containers_are_stored_across_a_restart_and_proven(
    tmp_path: Path, server: RunningServer
) -> None:
    """Rule F39."""
    log = tmp_path / "app.log"
    content = sample("nested/cri+auto") * 3
    for end in (content.index(b' b"}'), len(content)):  # the first run ends within a line that is in parts
        log.write_bytes(content[: content.rindex(b"\n", 0, end) + 1])
        with shipping(log, server.port, **once(tmp_path, format="cri+auto", multiline_timeout=0.05)) as run:
            run.result()
    stored = server.stored_lines()
    assert len(stored) >= 3 * sample("nested/cri+auto", "ndjson").count(b"\n")
    assert set(sample("nested/cri+auto", "ndjson").splitlines(keepends=True)) <= set(stored)
    (verdict,) = prove(server.port, tmp_path / "state", log)
    assert verdict.stored == len(stored)


def test_a_format_of_ones_own_is_stored_and_proven(tmp_path: Path, server: RunningServer) -> None:
    log = tmp_path / "app.log"
    log.write_bytes(b"w1|warn|disk is full\nnot of this format\nw2|info|\xff\xfe\n" * 100)
    own = r"regex:(?P<worker>w\d)\|(?P<level>\w+)\|(?P<message>.*)"
    with shipping(log, server.port, **once(tmp_path, format=own)) as run:
        run.result()
    stored = server.stored_lines()
    assert stored[0] == b'{"level": "WARN", "message": "disk is full", "timestamp": null, "worker": "w1"}\n'
    (verdict,) = prove(server.port, tmp_path / "state", log)
    assert verdict.stored == len(stored) == 300


@pytest.mark.parametrize("name", FORMATS)
def test_the_plain_protocol_takes_every_format(tmp_path: Path, server: RunningServer, name: str) -> None:
    log = tmp_path / f"{name}.log"
    log.write_bytes(sample(name))
    with shipping(log, server.port, format=FORMATS[name], ack="line") as run:
        run.result()
    assert b"".join(server.stored_lines()) == sample(name, "ndjson")


# --- the format is found out ------------------------------------------------------------------------------------------


@every_mode
@every_way
def test_the_formats_of_a_mixed_folder_are_found_out_told_and_stored(
    tmp_path: Path, server: RunningServer, way: dict[str, Any], mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    logs = write_samples(tmp_path)
    plain = append_numbered(tmp_path / "plain.log", range(50))
    with detecting(tmp_path / "*.log", tmp_path, server.port, mode=mode, **way) as run:
        if mode == "continuous":
            run.wait_for_acks(50 + sum(sample(name, "ndjson").count(b"\n") for name in FORMATS))
            run.stop()
        run.result()
    assert sorted(chosen(caplog)) == sorted(
        f"{name}.log: its lines are {kind}" for name, kind in {**FOUND, "plain": "plain"}.items()
    )
    assert lines_in(stored_of(server.data_dir, "plain.log")) == plain.read_bytes().splitlines()
    plain_verdict = prove(server.port, tmp_path / "state", plain)[0]
    assert plain_verdict.stored == 50
    for log in logs:
        assert b"".join(stored_of(server.data_dir, log.name)) == found_in(log.stem), log.stem
    prove(server.port, tmp_path / "state", tmp_path / "*.log")


def test_what_comes_before_the_first_line_of_a_format_does_not_hide_it(
    tmp_path: Path, server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    log = tmp_path / "app.log"
    log.write_bytes(BANNER + sample("json"))
    with detecting(log, tmp_path, server.port) as run:
        run.result()
    assert chosen(caplog) == ["app.log: its lines are json"]
    assert b"".join(server.stored_lines()[-12:]) == sample("json", "ndjson")
    prove(server.port, tmp_path / "state", log)


@every_way
def test_a_banner_that_was_read_alone_is_plain_and_what_follows_is_not(
    tmp_path: Path, server: RunningServer, way: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    log = tmp_path / "app.log"
    log.write_bytes(BANNER)
    with detecting(log, tmp_path, server.port, mode="continuous", **way) as run:
        run.wait_for_acks(3)
        append(log, sample("json"))
        run.wait_for_acks(3 + 12)
    assert chosen(caplog) == ["app.log: its lines are json"]
    assert b"".join(server.stored_lines()[3:]) == sample("json", "ndjson")
    assert [(start, spec.format) for start, spec in checkpoint_of(tmp_path / "state", log).renderings] == [
        (0, "plain"),
        (len(BANNER), "json"),
    ]
    prove(server.port, tmp_path / "state", log)


@pytest.mark.parametrize(("first", "later"), [("json", "nginx"), ("plain", "json"), ("docker", "logfmt")])
def test_a_format_that_was_found_out_is_kept_over_a_restart(
    tmp_path: Path, server: RunningServer, first: str, later: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    log = tmp_path / "app.log"
    log.write_bytes(b"".join(map(log_line, range(30))) if first == "plain" else sample(first))
    for _ in range(2):
        with detecting(log, tmp_path, server.port, resume=True) as run:
            run.result()
        append(log, sample(later))
    found = FOUND.get(first, first)
    assert {spec.format for _, spec in checkpoint_of(tmp_path / "state", log).renderings} == {found}
    assert chosen(caplog) == [f"app.log: its lines are {found}"]
    with detecting(log, tmp_path, server.port, resume=True) as run:
        run.result()
    prove(server.port, tmp_path / "state", log)


@pytest.mark.parametrize("ends", [(400,), (10, 25, 140, 400), (31, 132, 400)])
@pytest.mark.parametrize("forgets", [False, True])
def test_a_change_of_mind_is_verified_and_repaired_whatever_is_left_of_the_checkpoints(
    tmp_path: Path, server: RunningServer, ends: tuple[int, ...], *, forgets: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rules F55 and F56: the runs end at other lines each time, and what a run has saved may be lost."""
    log, state, kept = tmp_path / "app.log", tmp_path / "state", tmp_path / "kept"
    lines = [b"pump starts\n", *(b'{"level":"info","n":%d}\n' % number for number in range(30))]
    lines += [log_line(number) for number in range(369)]
    for start, end in itertools.pairwise((0, *ends)):
        with log.open("ab") as file:
            file.writelines(lines[start:end])
        with detecting(log, tmp_path, server.port, resume=True) as run:
            run.result()
        if not start:
            shutil.copytree(state, kept)
    place = sum(map(len, lines[:132]))
    assert checkpoint_of(state, log).renderings[-1][0] == place
    stored = server.stored_lines()
    assert len(stored) == 400
    assert stored[132].startswith(b'{"level": "INFO", "message": "line 101"')
    if forgets:
        shutil.rmtree(state)
        shutil.copytree(kept, state)
    assert prove(server.port, state, log)[0].stored == 400
    segment = the_segment(server)
    segment.write_bytes(segment.read_bytes().replace(b"line 120", b"LINE 120").replace(b'"n":7', b'"n":8'))
    monkeypatch.setenv("LOGFERRY_STATE_DIR", str(state))
    where = ("--server-host", "127.0.0.1", "--server-port", str(server.port))
    assert main(["repair", "--log-level", "warning", "--log-file", str(log), *where]) == 0
    assert server.stored_lines() == stored


def test_a_file_that_was_plain_by_the_users_word_is_looked_at_when_the_format_is_to_be_found_out(
    tmp_path: Path, server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    log = tmp_path / "app.log"
    log.write_bytes(sample("json"))
    with detecting(log, tmp_path, server.port, format="plain") as run:
        run.result()
    append(log, sample("json"))
    with detecting(log, tmp_path, server.port, resume=True) as run:
        run.result()
    assert chosen(caplog) == ["app.log: its lines are json"]
    assert b"".join(server.stored_lines()[-12:]) == sample("json", "ndjson")
    prove(server.port, tmp_path / "state", log)


def test_a_rotated_file_keeps_its_format_and_the_new_one_gets_its_own(
    tmp_path: Path, server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    log, rotated = tmp_path / "app.log", tmp_path / "app.log.1"
    log.write_bytes(sample("nginx"))
    expected = sample("nginx", "ndjson")
    with detecting(log, tmp_path, server.port, mode="continuous") as run:
        run.wait_for_acks(expected.count(b"\n"))
        log.rename(rotated)
        append(rotated, sample("nginx"))
        append(log, sample("logfmt"))
        run.wait_for_acks(2 * expected.count(b"\n") + sample("logfmt", "ndjson").count(b"\n"))
    assert chosen(caplog) == ["app.log: its lines are nginx", "app.log: its lines are logfmt"]
    assert sorted(server.stored_lines()) == sorted(
        (2 * expected + sample("logfmt", "ndjson")).splitlines(keepends=True)
    )
    verdicts = prove(server.port, tmp_path / "state", rotated, log)
    assert sum(verdict.stored for verdict in verdicts) == len(server.stored_lines())


@pytest.mark.parametrize("name", ["docker", "cri"])
def test_lines_of_containers_are_joined_by_their_own_rule_when_the_format_is_found_out(
    tmp_path: Path, server: RunningServer, name: str
) -> None:
    """What is asked for all other files (--multiline) does not stop the client here."""
    log, other = tmp_path / f"{name}.log", tmp_path / "plain.log"
    log.write_bytes(sample(name))
    other.write_bytes((log_line(1) + b"  and more of it\n") * 20)
    with detecting(tmp_path / "*.log", tmp_path, server.port, multiline="timestamp") as run:
        run.result()
    assert b"".join(stored_of(server.data_dir, log.name)) == found_in(name)
    assert len(stored_of(server.data_dir, other.name)) == 20
    prove(server.port, tmp_path / "state", log, other)


def test_a_first_line_as_long_as_a_container_runtime_makes_it_does_not_hide_the_format(
    tmp_path: Path, server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    log = tmp_path / "app.log"
    first, *rest = parts("docker", 1)
    log.write_bytes(first.replace(b"line", b"x" * 16_384 + b"line") + b"".join(rest))
    with detecting(log, tmp_path, server.port) as run:
        run.result()
    assert chosen(caplog) == ["app.log: its lines are docker+auto"]
    (record,) = server.stored_lines()
    assert len(record) > 16_384
    prove(server.port, tmp_path / "state", log)


# --- parts of lines ---------------------------------------------------------------------------------------------------

CRI = "2024-01-15T08:23:45.{number:09}Z {stream} {tag} {text}\n"
DOCKER = '{{"log":"{text}{end}","stream":"{stream}","time":"2024-01-15T08:23:45.{number:09}Z"}}\n'


def parts(name: str, number: int, stream: str = "stdout") -> list[bytes]:
    """Return the three lines of a container's log that one line was cut into."""
    shape = CRI if name == "cri" else DOCKER
    return [
        shape.format(
            number=10 * number + part,
            stream=stream,
            tag="F" if part == 2 else "P",
            end="\\n" if part == 2 else "",
            text=f"line {number} part {part},",
        ).encode()
        for part in range(3)
    ]


def whole_message(number: int) -> bytes:
    return b'"message": "' + b"".join(b"line %d part %d," % (number, part) for part in range(3)) + b'"'


@every_way
@pytest.mark.parametrize("name", ["cri", "docker"])
def test_parts_that_are_written_one_after_the_other_are_joined(
    tmp_path: Path, server: RunningServer, way: dict[str, Any], name: str
) -> None:
    log = tmp_path / "app.log"
    log.touch()
    with shipping(
        log, server.port, **once(tmp_path, format=name, mode="continuous", multiline_timeout=3600.0, **way)
    ) as run:
        for number in range(0, 20, 2):
            both = zip(parts(name, number), parts(name, number + 1, "stderr"), strict=True)
            for part in itertools.chain.from_iterable(both):
                append(log, part[:20])
                append(log, part[20:])
            run.wait_for_acks(number + 2)
    for number, record in enumerate(server.stored_lines()):
        assert whole_message(number) in record
    prove(server.port, tmp_path / "state", log)


@every_way
@pytest.mark.parametrize("name", ["cri", "docker"])
@pytest.mark.parametrize("timeout_s", [0.01, 3600.0], ids=["cut by time", "not cut"])
def test_a_restart_between_the_parts_of_a_line_loses_and_repeats_nothing(
    tmp_path: Path, server: RunningServer, way: dict[str, Any], name: str, timeout_s: float
) -> None:
    log = tmp_path / "app.log"
    settings = once(tmp_path, format=name, mode="continuous", multiline_timeout=timeout_s, **way)
    is_cut = timeout_s < 1
    for number in range(3):
        first, second, last = parts(name, number)
        append(log, parts(name, 1000 + number, "stderr")[2] + first)
        with shipping(log, server.port, **settings):
            stored = (3 if is_cut else 2) * number + (2 if is_cut else 1)
            wait_until(lambda: len(server.stored_lines()) == stored, "what is complete is stored")  # noqa: B023
        append(log, second + last)
    with shipping(log, server.port, **settings, resume=True):
        wait_until(lambda: len(server.stored_lines()) == (9 if is_cut else 6), "all is stored")
    kept = b"".join(server.stored_lines())
    for number in range(3):
        if is_cut:
            assert b"line %d part 0," % number in kept
            assert b"line %d part 1,line %d part 2," % (number, number) in kept
        else:
            assert whole_message(number) in kept
    assert kept.count(b'"partial": true') == (3 if is_cut else 0)
    (verdict,) = prove(server.port, tmp_path / "state", log)
    assert verdict.stored == len(server.stored_lines())


def test_a_part_that_is_never_finished_is_stored_and_marked(tmp_path: Path, server: RunningServer) -> None:
    log = tmp_path / "app.log"
    log.write_bytes(b"".join(parts("cri", 1) + parts("cri", 2)[:2]))
    with shipping(log, server.port, **once(tmp_path, format="cri")) as run:
        run.result()
    whole, unfinished = server.stored_lines()
    assert whole_message(1) in whole
    assert unfinished.endswith(b'"partial": true}\n')
    (verdict,) = judge(server.port, tmp_path / "state", log)
    assert verdict.is_proven


@pytest.mark.parametrize("kind", ["iis", "auto"])
def test_a_restart_in_the_middle_of_a_file_with_headers_comes_to_the_same_result(
    tmp_path: Path, server: RunningServer, kind: str
) -> None:
    """Rule F59: each run begins behind the header that holds there; `verify` renders each range by its own."""
    log = tmp_path / "iis.log"
    for line in sample("iis").splitlines(keepends=True):
        append(log, line)
        if line.startswith((b"#Date", b"2024")):  # also before a header, and right behind the last line
            with shipping(log, server.port, **once(tmp_path, format=kind)) as run:
                run.result()
    stored = b"".join(stored_of(tmp_path / "data", log.name))
    if kind == "iis":
        assert_stored(tmp_path, server.port, [log])
    else:  # the first lines of a file are read before the header is there
        assert stored.splitlines()[4:] == sample("iis", "ndjson").splitlines()[4:]
        prove(server.port, tmp_path / "state", log)
