"""The log file that all programs ship, the same bytes for the same seed; and what a correct server stores of it.

The expected content of a store comes from rendering the file in this process, never in a measured one.
"""

import random
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from logferry.model.render_spec import RenderSpec
from logferry.rendering.engine.format import Rendered
from logferry.rendering.event_boundaries import EventBoundaries, event_boundaries
from logferry.rendering.renderer import renderer
from logferry.server.storage.disk.content.segment_bytes import any_form
from logferry.server.storage.disk.content.segment_bytes import blocks as blocks_of
from logferry.server.storage.disk.files.segment_forms import segment_form

_SEED: Final = 20240115
_BLOCK_LINES: Final = 2000

# Of a thousand lines, 2 % hold quotes or backslashes, 1 % non-ASCII letters; 0.1 % have no timestamp and level.
_KINDS: Final = {"plain": 969, "quoted": 20, "foreign": 10, "odd": 1}

_WORDS: Final = (
    *("request", "handled", "for", "customer", "order", "payment", "session", "opened", "closed", "cache", "miss"),
    *("warehouse", "queue", "worker", "retry", "upstream", "connection", "database", "index", "updated", "in", "shard"),
    *("leader", "follower", "token", "refreshed", "by", "service"),
)
_QUOTED: Final = ('user "alice"', "C:\\data\\spool", 'said "no \\ yes"', 'path "\\\\host\\share"')
_FOREIGN: Final = ("Grüße", "zażółć gęślą", "日本語のログ", "готово", "✓ 🚢")
_ODD: Final = (
    "Traceback (most recent call last):",
    '  File "/srv/app/handlers.py", line 214, in dispatch',
    "java.lang.IllegalStateException: the pool is closed, and nobody knows since when or for what reason",
    "---- 8< ----",
)
_LEVELS: Final = ("INFO", "INFO", "INFO", "INFO", "DEBUG", "WARNING", "ERROR")
_PHRASES: Final = 500
_PLAIN: Final = RenderSpec()

_READ_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Content:
    """A summary of NDJSON that reveals any missing, repeated, altered or reordered line."""

    lines: int
    bytes: int
    crc32: int


@dataclass(frozen=True, slots=True)
class LogFile:
    """A log file, and what must be stored of it. `path` may be a pattern; then all matching files count as one log.

    The lines of several files follow each other in the order of the files' names, as do the server's folders for them.
    """

    path: Path
    lines: int
    bytes: int
    stored: Content


def make_log(path: Path, *, lines: int) -> LogFile:
    """Write `lines` log lines of about 100 bytes each."""
    with path.open("wb") as file:
        for block in blocks(lines):
            file.write(block)
    return describe(path)


def make_logs(folder: Path, *, files: int, lines: int) -> LogFile:
    """Write at least `lines` log lines to files in a new folder, the same number to each file."""
    folder.mkdir()
    paths = names_in(folder, files)
    each = -(-lines // files)
    for path, block in zip(paths, blocks(each * files, block_lines=each), strict=True):
        path.write_bytes(block)
    return describe_all(folder / "*.log", paths)


def names_in(folder: Path, files: int) -> list[Path]:
    """Return names for log files, in alphabetical order."""
    return [folder / f"app-{number:05}.log" for number in range(files)]


def repeat_log(source: LogFile, path: Path, *, size: int) -> LogFile:
    """Write a log file of at least `size` bytes that repeats another one."""
    with path.open("wb") as file:
        while file.tell() < size:
            with source.path.open("rb") as original:
                while piece := original.read(_READ_BYTES):
                    file.write(piece)
    return describe(path)


def describe(path: Path, spec: RenderSpec = _PLAIN) -> LogFile:
    """Read and render a whole log file: this determines what a correct server stores, without a network."""
    return describe_all(path, [path], spec)


def describe_all(pattern: Path, paths: Sequence[Path], spec: RenderSpec = _PLAIN) -> LogFile:
    """As `describe`, for several files, in their order."""
    lines = size = 0
    stored = Content(0, 0, 0)
    for path in paths:
        with path.open("rb") as file:
            for chunk, rendered in rendered_chunks(file, spec):
                lines += chunk.count(b"\n")
                size += len(chunk)
                stored = extended(stored, rendered.payload)
    return LogFile(pattern, lines, size, stored)


def rendered_chunks(file: BinaryIO, spec: RenderSpec = _PLAIN) -> Iterator[tuple[bytes, Rendered]]:
    """Yield chunks of whole events of a file, each with its rendered records."""
    render = renderer(spec)
    is_start = True
    for chunk in _whole_events(_chunks_of_lines(file), event_boundaries(spec)):
        yield chunk, render.render(chunk, is_start=is_start)
        is_start = False


def extended(content: Content, piece: bytes) -> Content:
    """Return `content` with `piece` appended."""
    return Content(content.lines + piece.count(b"\n"), content.bytes + len(piece), zlib.crc32(piece, content.crc32))


def read_stored(data_dir: Path) -> Content:
    """Return the content of all segments of a server, in order."""
    content = Content(0, 0, 0)
    for path in sorted(_segments(data_dir), key=_order):
        with any_form(path) as segment:
            for piece in blocks_of(segment, 0, segment.size):
                content = extended(content, piece)
    return content


def stored_bytes(data_dir: Path) -> int:
    """Return how many bytes of lines the segments of a server have at present."""
    size = 0
    for path in _segments(data_dir):
        with any_form(path) as segment:
            size += segment.size
    return size


def _segments(data_dir: Path) -> set[Path]:
    """Return the segments of a server, each as its plain file, which may be compressed since."""
    return {path.with_name(str(form[0])) for path in data_dir.rglob("*") if (form := segment_form(path.name))}


def blocks(lines: int, *, block_lines: int = _BLOCK_LINES) -> Iterator[bytes]:
    """Yield `lines` log lines in blocks, always the same ones."""
    chance = random.Random(_SEED)
    phrases = make_phrases(chance)
    for start in range(0, lines, block_lines):
        count = min(block_lines, lines - start)
        yield "".join(_lines_of_one_second(chance, phrases, start, count)).encode()


def make_phrases(chance: random.Random) -> list[str]:
    """Return the phrases that the messages of a log consist of."""
    return [" ".join(chance.choices(_WORDS, k=chance.randint(6, 11))) for _ in range(_PHRASES)]


def _lines_of_one_second(chance: random.Random, phrases: list[str], start: int, count: int) -> Iterator[str]:
    second = start // _BLOCK_LINES
    timestamp = f"2024-01-15 {second // 3600 % 24:02}:{second // 60 % 60:02}:{second % 60:02}"
    kinds = chance.choices(list(_KINDS), list(_KINDS.values()), k=count)
    levels = chance.choices(_LEVELS, k=count)
    texts = chance.choices(phrases, k=count)
    for number, (kind, level, text) in enumerate(zip(kinds, levels, texts, strict=True), start):
        if kind == "odd":
            yield chance.choice(_ODD) + "\n"
            continue
        if kind != "plain":
            text = f"{chance.choice(_QUOTED if kind == 'quoted' else _FOREIGN)} {text}"
        yield f"{timestamp} {level} {text} id={number:08x}\n"


def _chunks_of_lines(file: BinaryIO) -> Iterator[bytes]:
    rest = b""
    while piece := file.read(_READ_BYTES):
        whole, newline, tail = piece.rpartition(b"\n")
        if newline:
            yield rest + whole + newline
            rest = tail
        else:
            rest += piece
    if rest:
        yield rest


def _whole_events(chunks: Iterator[bytes], boundaries: EventBoundaries | None) -> Iterator[bytes]:
    """Cut chunks of whole lines at the beginnings of events."""
    rest = b""
    for chunk in chunks:
        data = rest + chunk
        end = boundaries.complete_bytes(data) if boundaries else len(data)
        rest = data[end:]
        if end:
            yield data[:end]
    if rest:
        yield rest


def _order(segment: Path) -> tuple[Path, str, int]:
    day, _, number = segment.stem.rpartition("-")
    return segment.parent, day, int(number)
