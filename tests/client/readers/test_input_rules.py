"""How the format of a file is found out while it is read (docs/protocol.md, rules F13 and F55 to F57)."""

import json
import logging
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from logferry.client.files.lines.line_reader import SourceFile
from logferry.client.readers.input_rules import InputRules
from logferry.client.readers.rerender import rerender, rerender_as_stored
from logferry.model.chunk import Chunk
from logferry.model.render_spec import PLAIN, RenderSpec
from logferry.rendering.renderer import renderer
from tests.support.shipping import input_settings

BANNER = b"pump 1.2 starts\n"
JSON = b'{"level":"info","msg":"pump %d"}\n'
PLAIN_LINE = b"2024-01-15 08:23:45 INFO line %d\n"


class Scene:
    """A file that grows, and what a client that finds out its format makes of it."""

    def __init__(self, path: Path, **changes: Any) -> None:
        self.path = path
        path.touch()
        self.rules = InputRules(input_settings(path, format="auto", **changes))
        self.chunks: list[Chunk] = []
        self.begin()

    def begin(self, offset: int = 0) -> None:
        """Begin to read, as another client does that begins at this offset."""
        self.file = SourceFile(self.path, max_line_bytes=1000)
        if offset:
            self.file.skip_to(offset)

    def append(self, data: bytes) -> None:
        with self.path.open("ab") as log:
            log.write(data)

    def read(self, *, ends: bool = False, max_lines: int | None = None) -> list[Chunk]:
        """Read what there is."""
        new: list[Chunk] = []
        while True:
            self.rules.prepare(self.file, ends=ends)
            chunk = self.file.read(is_final=ends, max_lines=max_lines)
            if chunk is None:
                self.chunks += new
                return new
            new.append(chunk)

    def formats(self) -> list[tuple[int, str]]:
        """Return where each format begins."""
        found: list[tuple[int, str]] = []
        for chunk in self.chunks:
            if not found or found[-1][1] != chunk.rendering.format:
                found.append((chunk.start, chunk.rendering.format))
        return found

    def close(self) -> None:
        self.file.close()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with closing(Scene(tmp_path / "app.log")) as scene:
        yield scene


@pytest.fixture
def announced(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged of formats, without the folders, as it stands whenever it is looked at."""
    caplog.set_level(logging.INFO)

    class Announced(list[str]):
        def __eq__(self, other: object) -> bool:
            return [record.getMessage().rpartition("/")[2] for record in caplog.records] == other

        def __repr__(self) -> str:
            return repr([record.getMessage() for record in caplog.records])

        __hash__ = None

    return Announced()


def test_a_line_that_comes_between_the_look_and_the_read_is_looked_at_before_it_is_read(scene: Scene) -> None:
    """Rule F55."""
    scene.append(BANNER)
    scene.read()
    scene.rules.prepare(scene.file)
    scene.append(JSON % 1)
    assert scene.file.read() is None
    scene.append(JSON % 2)
    scene.read()
    assert scene.formats() == [(0, "plain"), (len(BANNER), "json")]


def test_half_a_line_that_is_completed_after_the_look_is_not_read_before_the_next(scene: Scene) -> None:
    scene.append(BANNER + JSON[:10])
    scene.read()
    scene.rules.prepare(scene.file)
    scene.append(JSON[10:] % 1)
    assert scene.file.read() is None
    assert [chunk.rendering.format for chunk in scene.read()] == ["json"]


def test_a_line_longer_than_the_limit_is_not_read_before_it_was_looked_at(tmp_path: Path) -> None:
    with closing(Scene(tmp_path / "app.log", max_line_bytes=64)) as scene:
        scene.append(BANNER + b'{"a":"')
        scene.read()
        scene.append(b"x" * 200)
        scene.rules.prepare(scene.file)
        scene.append(b'"}\n')
        assert scene.file.read() is None
        assert [chunk.rendering.format for chunk in scene.read()] == ["json"]


def test_a_line_below_the_twentieth_is_rendered_by_what_the_lines_up_to_it_choose(scene: Scene) -> None:
    """Rule F55: here the first two lines are of no format, and the format is clear with the fourth."""
    offsets = []
    for line in [BANNER, BANNER, JSON % 0, JSON % 1, JSON % 2]:
        offsets.append(scene.path.stat().st_size)
        scene.append(line)
        scene.read()
    assert scene.formats() == [(0, "plain"), (offsets[3], "json")]


def test_a_choice_by_few_lines_may_change_until_the_twentieth(scene: Scene, announced: list[str]) -> None:
    scene.append(JSON % 0)
    scene.read()
    for number in range(19):
        scene.append(PLAIN_LINE % number)
        scene.read()
    assert [name for _, name in scene.formats()] == ["json", "plain"]
    assert announced == ["app.log: its lines are json", "app.log: its lines are plain"]


def test_all_of_the_first_lines_decide_when_they_are_there(scene: Scene, announced: list[str]) -> None:
    """Rule F13."""
    scene.append(BANNER * 5 + b"".join(JSON % number for number in range(300)))
    scene.read()
    assert scene.formats() == [(0, "json")]
    assert announced == ["app.log: its lines are json"]


@pytest.mark.parametrize("max_lines", [None, 1, 7])
def test_it_changes_its_mind_once_at_a_place_that_depends_on_the_lines_alone(
    scene: Scene, announced: list[str], max_lines: int | None
) -> None:
    """Rule F56: half of 200 lines and one more show that less than half of them fit."""
    plain = b"".join(PLAIN_LINE % number for number in range(30))
    records = [JSON % number for number in range(300)]
    place = len(plain) + sum(map(len, records[:101]))
    scene.append(plain + b"".join(records))
    scene.read(max_lines=max_lines)
    assert scene.formats() == [(0, "plain"), (place, "json")]
    assert announced == ["app.log: its lines are plain", f"app.log: from byte {place} on, its lines are json"]
    scene.append(plain * 20)
    scene.read(max_lines=max_lines)
    assert scene.formats() == [(0, "plain"), (place, "json")]


def test_a_file_that_grows_line_by_line_changes_at_the_same_place(scene: Scene) -> None:
    for number in range(30):
        scene.append(PLAIN_LINE % number)
        scene.read()
    for number in range(120):
        scene.append(JSON % number)
        scene.read()
    size = sum(len(PLAIN_LINE % number) for number in range(30)) + sum(len(JSON % number) for number in range(101))
    assert scene.formats() == [(0, "plain"), (size, "json")]


@pytest.mark.parametrize("lines_before", [25, 100, 130, 131, 132, 200])
def test_a_restart_comes_to_the_same_result_at_any_offset(scene: Scene, lines_before: int) -> None:
    lines = [PLAIN_LINE % number for number in range(30)] + [JSON % number for number in range(300)]
    place = sum(map(len, lines[:131]))
    scene.append(b"".join(lines))
    scene.close()
    start = sum(map(len, lines[:lines_before]))
    scene.begin(start)
    scene.read()
    before = [(start, "plain")] if start < place else []
    assert scene.formats() == [*before, (max(start, place), "json")]


def test_what_is_sent_back_before_the_change_is_rendered_as_before(scene: Scene) -> None:
    lines = [PLAIN_LINE % number for number in range(30)] + [JSON % number for number in range(300)]
    scene.append(b"".join(lines))
    scene.read()
    before = scene.formats()
    scene.file.rewind(0)
    scene.chunks.clear()
    scene.read()
    assert scene.formats() == before


@pytest.mark.parametrize(("fitting", "is_kept"), [(100, True), (99, False)])
def test_half_of_the_next_lines_are_enough_to_keep_what_was_chosen(scene: Scene, fitting: int, is_kept: bool) -> None:
    """Rule F56."""
    scene.append(b"".join(PLAIN_LINE % number for number in range(20 + fitting)))
    scene.append(b"".join(JSON % number for number in range(300)))
    scene.read()
    assert [name for _, name in scene.formats()] == ["plain"] if is_kept else ["plain", "json"]


def test_lines_of_no_format_after_the_first_ones_change_nothing(scene: Scene, announced: list[str]) -> None:
    scene.append(b"".join(PLAIN_LINE % number for number in range(20)) + BANNER * 300)
    scene.read(ends=True)
    assert scene.formats() == [(0, "plain")]
    assert announced == ["app.log: its lines are plain"]


def test_blank_and_indented_lines_do_not_speak_against_what_was_chosen(scene: Scene) -> None:
    trace = b"    at a.b(C.java:1)\n\n" * 10
    scene.append(b"".join(PLAIN_LINE % number + trace for number in range(100)))
    scene.read()
    assert scene.formats() == [(0, "plain")]


def test_an_event_of_several_lines_ends_where_the_format_changes(tmp_path: Path) -> None:
    with closing(Scene(tmp_path / "app.log", multiline="timestamp")) as scene:
        lines = [PLAIN_LINE % number for number in range(30)] + [JSON % number for number in range(300)]
        scene.append(b"".join(lines))
        scene.read(ends=True)
        place = sum(map(len, lines[:131]))
        assert scene.formats() == [(0, "plain"), (place, "json")]
        assert [chunk.is_split for chunk in scene.chunks if chunk.start == place] == [True]
        assert scene.chunks[-1].end == scene.path.stat().st_size


@pytest.mark.parametrize("count", [1, 19, 20, 300])
def test_it_is_said_when_nothing_fits(scene: Scene, announced: list[str], count: int) -> None:
    """Also of a file that has fewer lines than would be looked at."""
    scene.append(BANNER * count)
    scene.read(ends=True)
    scene.read(ends=True)
    assert announced == ["app.log: its lines are of no known format; they are read as plain"]


def test_nothing_is_said_of_a_file_without_lines(scene: Scene, announced: list[str]) -> None:
    scene.append(b"\n  \n")
    scene.read(ends=True)
    assert announced == []


def test_a_last_line_without_a_newline_is_looked_at_when_the_file_ends(scene: Scene, announced: list[str]) -> None:
    scene.append(b'{"a": 1}')
    scene.read()
    assert scene.chunks == []
    scene.read(ends=True)
    assert [chunk.data for chunk in scene.chunks] == [b'{"a": 1}']
    assert scene.formats() == [(0, "json")]


@pytest.mark.parametrize("name", ["cri", "docker"])
def test_the_lines_of_a_container_are_read_together_with_what_it_wrote(
    scene: Scene, announced: list[str], name: str
) -> None:
    """Rule F57."""
    line = {
        "cri": b'2024-01-15T08:23:45.123456789Z stdout F {"level":"warn","msg":"hot"}\n',
        "docker": b'{"log":"{\\"level\\":\\"warn\\",\\"msg\\":\\"hot\\"}\\n",'
        b'"stream":"stdout","time":"2024-01-15T08:23:45Z"}\n',
    }[name]
    scene.append(line * 30)
    scene.read()
    assert scene.formats() == [(0, f"{name}+auto")]
    assert announced == [f"app.log: its lines are {name}+auto"]
    (chunk,) = scene.chunks
    record = json.loads(renderer(chunk.rendering).render(chunk.data).payload.splitlines()[0])
    assert (record["level"], record["message"], record["stream"]) == ("WARN", "hot", "stdout")


@pytest.mark.parametrize(
    ("levels", "said"), [((), "of no known format; they are read as plain"), (("AUDIT",), "plain")]
)
def test_words_that_the_user_made_levels_count(
    tmp_path: Path, announced: list[str], levels: tuple[str, ...], said: str
) -> None:
    with closing(Scene(tmp_path / "app.log", levels=levels)) as scene:
        scene.append(b"2024-01-15 08:23:45 AUDIT somebody came\n" * 30)
        scene.read()
        assert announced == [f"app.log: its lines are {said}"]


def test_colours_do_not_hide_a_format_if_they_are_taken_out(tmp_path: Path) -> None:
    for strips, found in ((False, "plain"), (True, "json")):
        with closing(Scene(tmp_path / f"{strips}.log", strip_ansi=strips)) as scene:
            scene.append(b"\x1b[32m" + JSON[:-1] % 1 + b"\x1b[0m\n")
            scene.read()
            assert scene.formats() == [(0, found)]


@pytest.mark.parametrize("hole", [5, 4096, 300_000])
def test_a_hole_before_the_first_line_or_between_lines_does_not_matter(scene: Scene, hole: int) -> None:
    nuls = bytes(hole)
    scene.append(nuls + JSON % 1 + nuls + JSON % 2)
    scene.read()
    assert [name for _, name in scene.formats() if name == "json"]
    assert scene.file.offset == scene.path.stat().st_size
    scene.append(nuls)
    scene.read()
    scene.append(JSON % 3)
    assert scene.read()[-1].rendering.format == "json"
    assert scene.file.offset == scene.path.stat().st_size
    scene.close()
    scene.begin(scene.path.stat().st_size)
    scene.append(JSON % 4)
    assert scene.read()[-1].rendering.format == "json"


@pytest.mark.parametrize("size", [70_000, 300_000, 3_000_000])
def test_lines_longer_than_what_is_looked_at_are_read_nevertheless(scene: Scene, size: int) -> None:
    scene.append(b"x" * size + b"\n" + JSON % 1 + b"y" * size + b"\n")
    for _ in range(20):
        scene.read()
        scene.append(JSON % 2)
    scene.read()
    assert scene.file.offset == scene.path.stat().st_size


def test_what_is_stored_and_in_no_checkpoint_is_found_whatever_its_lines_showed(scene: Scene) -> None:
    """Rule F55: an extent is of one format, and one of those that the lines show."""
    lines = [
        BANNER,
        JSON % 0,
        *(PLAIN_LINE % number for number in range(30)),
        *(JSON % number for number in range(300)),
    ]
    for line in lines:
        scene.append(line)
        scene.read()
    assert [name for _, name in scene.formats()] == ["plain", "json", "plain", "json"]
    end = scene.path.stat().st_size
    ranges = list(zip(scene.formats(), [*(start for start, _ in scene.formats()[1:]), end], strict=True))
    for (start, name), until in ranges:
        scene.file.rewind(start)
        spec = RenderSpec(name, rules=PLAIN.rules)
        stored = rerender(scene.file, until, [(0, spec)])
        scene.file.rewind(start)
        found = rerender_as_stored(scene.file, until, [(0, PLAIN)], (stored.lines, stored.crc32))
        assert found == stored


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("mark", ["\ufeff", ""])
@pytest.mark.parametrize("step", [7, 1000, 1_000_000])
def test_lines_in_utf_16_show_what_they_show_in_utf_8(tmp_path: Path, encoding: str, mark: str, step: int) -> None:
    """Rule F58: the format is the same, and changes behind the same line, however the file grows."""
    lines = [BANNER, *(JSON % number for number in range(25)), *(PLAIN_LINE % number for number in range(110))]
    text, found = mark + b"".join(lines).decode(), []
    for name in ("utf-8", encoding):
        with closing(Scene(tmp_path / name)) as scene:
            for begin in range(0, len(text), step):
                scene.append(text[begin : begin + step].encode(name))
                scene.read()
            assert b"".join(chunk.data for chunk in scene.chunks).decode() == text
            data = text.encode(name)
            found.append([(len(data[:start].decode(name)), format_) for start, format_ in scene.formats()])
    assert found[0] == found[1]
    assert found[0][-1][1] == "plain"


def test_nuls_before_the_text_in_utf_16_do_not_matter(scene: Scene) -> None:
    scene.append(bytes(70_000) + b"".join(JSON % number for number in range(30)).decode().encode("utf-16-le"))
    scene.read()
    assert scene.formats() == [(0, "plain"), (70_000, "json")]
    assert b"".join(chunk.data for chunk in scene.chunks) == b"".join(JSON % number for number in range(30))


def test_a_file_shows_its_encoding_before_any_of_its_lines_is_read(scene: Scene) -> None:
    """Rule F58: also if it grows between the look and the read."""
    for data in (b"\xff", b"\xfe", "1\n".encode("utf-16-le")):
        scene.rules.prepare(scene.file)
        scene.append(data)
        assert scene.file.read() is None
    (chunk,) = scene.read()
    assert (chunk.data, chunk.rendering.encoding) == ("\ufeff1\n".encode(), "utf-16-le")


@pytest.mark.parametrize("text", [b"a\n", b"\n", b"\xff\n", b"\xef\xbb\n"])
def test_a_file_of_few_bytes_is_read_nevertheless(scene: Scene, text: bytes) -> None:
    scene.append(text)
    (chunk,) = scene.read()
    assert (chunk.data, chunk.rendering.encoding) == (text, "utf-8")
