"""Which lines differ: by number, with both texts, whatever happened to the stored bytes, and within bounds."""

import random
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from logferry.client.files.lines.line_reader import SourceFile
from logferry.client.proof import lines
from logferry.client.proof.lines import LineProblem, Run, line_problems
from logferry.client.readers.rerender import Renderings
from logferry.model.render_spec import PLAIN, RenderSpec
from logferry.protocol.messages.reports import Extent
from logferry.rendering.renderer import renderer
from tests.support.shipping import append

COUNT = 50


def problems(
    log: Path,
    stored: bytes,
    *,
    with_text: bool = False,
    spec: RenderSpec = PLAIN,
    piece: int = 1000,
    first_line: int = 1,
) -> list[LineProblem]:
    """Compare a file with what a server has of it, in pieces."""
    size = log.stat().st_size
    run = Run(first_line, [Extent(0, size, 0, 0, "altered", "s")])
    pieces = (stored[at : at + piece] for at in range(0, len(stored), piece))
    renderings: Renderings = [(0, spec)]
    with closing(SourceFile(log, max_line_bytes=spec.max_line_bytes)) as file:
        return line_problems(file, run, renderings, pieces, with_text=with_text)


def rendered(log: Path, spec: RenderSpec = PLAIN) -> list[bytes]:
    return renderer(spec).render(log.read_bytes(), is_start=True).payload.splitlines(keepends=True)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return append(tmp_path / "app.log", range(COUNT))


def summary(found: list[LineProblem]) -> list[tuple[str, int, int]]:
    return [(problem.kind, problem.first, problem.last) for problem in found]


Change = Callable[[list[bytes]], list[bytes]]
CASES: dict[str, tuple[Change, list[tuple[str, int, int]]]] = {
    "nothing": (lambda have: have, []),
    "a line is altered": (
        lambda have: [*have[:16], have[16].replace(b"line", b"lime"), *have[17:]],
        [("altered", 17, 17)],
    ),
    "two lines are altered": (
        lambda have: [*have[:16], b"x\n", b"y\n", *have[18:]],
        [("altered", 17, 18)],
    ),
    "the first is missing": (lambda have: have[1:], [("missing", 1, 1)]),
    "the last is missing": (lambda have: have[:-1], [("missing", 50, 50)]),
    "some are missing": (lambda have: have[:10] + have[20:], [("missing", 11, 20)]),
    "the end is cut": (lambda have: [*have[:10], have[10][:7]], [("altered", 11, 11), ("missing", 12, 50)]),
    "all are missing": (lambda have: [], [("missing", 1, 50)]),
    "a line is repeated": (lambda have: [*have[:10], have[9], *have[10:]], [("extra", 11, 11)]),
    "a line more at the end": (lambda have: [*have, b"x\n"], [("extra", 51, 51)]),
    "two lines are swapped": (
        lambda have: [*have[:10], have[11], have[10], *have[12:]],
        [("extra", 11, 11), ("missing", 12, 12)],
    ),
    "a newline is altered": (
        lambda have: [*have[:10], have[10][:-1] + b"x", *have[11:]],
        [("altered", 11, 11), ("missing", 12, 12)],
    ),
    "a byte became a newline": (
        lambda have: [*have[:10], have[10].replace(b" ", b"\n", 1), *have[11:]],
        [("altered", 11, 11), ("extra", 12, 12)],
    ),
    "zeros": (lambda have: [bytes(sum(map(len, have)))], [("altered", 1, 1), ("missing", 2, 50)]),
}


@pytest.mark.parametrize("piece", [1, 77, 10**6])
@pytest.mark.parametrize(("change", "expected"), CASES.values(), ids=CASES.keys())
def test_the_lines_that_differ_are_named(
    log: Path, change: Change, expected: list[tuple[str, int, int]], piece: int
) -> None:
    assert summary(problems(log, b"".join(change(rendered(log))), piece=piece)) == expected


def test_the_texts_are_shown_on_request(log: Path) -> None:
    have = rendered(log)
    assert problems(log, b"".join([*have[:16], b"\xff<\n", *have[17:30], *have[31:]]), with_text=True) == [
        LineProblem("altered", 17, 17, have[16].decode().rstrip(), "\\xff<"),
        LineProblem("missing", 31, 31, have[30].decode().rstrip(), ""),
    ]


def test_lines_are_counted_as_the_file_has_them(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_bytes(b"\xef\xbb\xbfone\n\n\r\ntwo\nthree\n\nfour")
    have = rendered(log)
    assert summary(problems(log, b"".join(have[:1] + have[2:]))) == [("missing", 4, 4)]
    assert summary(problems(log, b"".join(have[:3]), first_line=100)) == [("missing", 106, 106)]


def test_an_event_of_several_lines_is_named_by_its_first(tmp_path: Path) -> None:
    spec = RenderSpec(multiline="timestamp")
    log = tmp_path / "app.log"
    event = b"2024-01-15 08:23:45 ERROR number %d\n  at a\n  at b\n"
    log.write_bytes(b"".join(event % number for number in range(10)))
    have = rendered(log, spec)
    assert len(have) == 10
    assert summary(problems(log, b"".join([*have[:4], *have[5:]]), spec=spec)) == [("missing", 13, 13)]
    altered = b"".join([*have[:7], have[7].replace(b"number", b"NUMBER"), *have[8:]])
    assert summary(problems(log, altered, spec=spec)) == [("altered", 22, 22)]


def test_a_line_that_was_cut_counts_as_one(tmp_path: Path) -> None:
    spec = RenderSpec(max_line_bytes=100)
    log = tmp_path / "app.log"
    log.write_bytes(b"a\n" + b"x" * 5000 + b"\nb\n")
    have = [
        renderer(spec).render(b"a\n", is_start=True).payload,
        renderer(spec).render(b"x" * 100, truncated=True).payload,
    ]
    assert summary(problems(log, b"".join(have), spec=spec)) == [("missing", 3, 3)]


def test_damage_behind_many_chunks_is_found_and_chunks_that_agree_are_not_taken_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("logferry.client.files.lines.line_reader.CHUNK_BYTES", 4096)
    log = append(tmp_path / "app.log", range(5000))
    have = rendered(log)
    taken_apart = 0
    raw_events = lines._raw_events

    def counting(chunk: object) -> Iterator[bytes]:
        nonlocal taken_apart
        taken_apart += 1
        return raw_events(chunk)  # type: ignore[arg-type]

    monkeypatch.setattr(lines, "_raw_events", counting)
    assert summary(problems(log, b"".join([*have[:4000], *have[4001:]]))) == [("missing", 4001, 4001)]
    assert taken_apart < 20


def test_rubbish_is_bounded(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_PROBLEMS", 5)
    stored = b"".join(b"rubbish %d\n" % number for number in range(1000))
    found = problems(log, stored, with_text=True)
    assert summary(found[:5]) == [("altered", number, number) for number in range(1, 5)] + [("altered", 5, COUNT)]
    assert len(found) == 5


@pytest.mark.parametrize("seed", range(20))
def test_any_change_is_found_and_named_within_the_lines_that_were_changed(log: Path, seed: int) -> None:
    """No line that is where it was is named, and each line that was changed or removed is."""
    chance = random.Random(seed)
    have, stored = rendered(log), list[bytes]()
    wrong: set[int] = set()
    for number, line in enumerate(have, 1):
        if chance.random() < 0.1:
            wrong.add(number)
            stored += chance.choice([[], [b"%d\n" % seed]])
        else:
            stored.append(line)
    found = problems(log, b"".join(stored))
    ranges = [range(problem.first, problem.last + 1) for problem in found if problem.kind != "extra"]
    assert {number for numbers in ranges for number in numbers} == wrong
