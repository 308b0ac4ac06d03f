"""Reads the beginning of a file as `logferry ship` would, for `logferry try`: what its lines become, and why.

Owns the bounds of what is read. Must never connect, write, or read more than those bounds.
"""

import json
import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

from logferry.client.files.archives.archive import open_content
from logferry.client.files.content.content import Content, FileContent
from logferry.client.files.content.snapshot import Snapshot
from logferry.client.files.lines.format_choice import FormatChoice
from logferry.client.files.lines.line_reader import SourceFile
from logferry.client.files.lines.line_splitter import first_lines
from logferry.client.finding.fifos import is_fifo
from logferry.client.readers.input_rules import InputRules
from logferry.client.readers.rerender import lines_in
from logferry.config import STANDARD_INPUT, InputSettings
from logferry.errors import SourceError, cause_of
from logferry.model.chunk import Chunk
from logferry.model.format_names import HEADER_PREFIX
from logferry.rendering.detect import SAMPLE_LINES, Tally, telling_text
from logferry.rendering.encodings import BEGINNING_BYTES, encoding_named, encoding_of
from logferry.rendering.engine.ansi import without_ansi
from logferry.rendering.engine.escape import BOM
from logferry.rendering.engine.format import Format
from logferry.rendering.engine.levels import UNKNOWN
from logferry.rendering.event_boundaries import event_joiner
from logferry.rendering.registry import format_named
from logferry.rendering.renderer import renderer
from logferry.rendering.shapes import Shape, most_common

# However long the lines are.
MAX_BYTES: Final = 16 * 1024 * 1024
_READ_BYTES: Final = 256 * 1024

_MAX_SHAPES: Final = 5


@dataclass(frozen=True, slots=True)
class AutoChoice:
    """What `--format auto` would choose: `format` is None if nothing fits half of the `sample` first lines.

    `fits` counts the lines of the sample that each format fits, `fits_all` those of all lines that were read. From byte
    `later_from` on, the format is `later`.
    """

    format: str | None
    sample: int
    fits: dict[str, int]
    fits_all: dict[str, int]
    later: str = ""
    later_from: int = 0


@dataclass(slots=True)
class Trial:
    """What the beginning of a file becomes.

    `formats` are those in which it was read, and `records` what is stored. An event is `recognised` if its format makes
    anything of it. `unknown` are the messages of records without a level. `is_all` says that the file has no more.
    """

    auto: AutoChoice
    is_all: bool
    lines: int = 0
    blank: int = 0
    joined: int = 0
    filtered: int = 0
    redacted: int = 0
    recognised: int = 0
    with_level: int = 0
    with_timestamp: int = 0
    formats: list[str] = field(default_factory=list)
    records: list[bytes] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    @property
    def events(self) -> int:
        """How many events the lines are."""
        return self.lines - self.blank - self.joined

    def shapes(self) -> tuple[list[Shape], int]:
        """Return the most frequent shapes of messages without a level, and how many shapes there are."""
        return most_common(self.unknown, _MAX_SHAPES)


def try_lines(name: str, settings: InputSettings, *, max_lines: int) -> Trial:
    """Read and render the first lines of a file, or of standard input ("-"). Raises SourceError."""
    try:
        content = _open(name)
        try:
            data, is_all = _first_bytes(content, max_lines, settings.encoding)
        except BaseException:
            content.close()
            raise
        beginning = Snapshot(content, data, content.problems if is_all else ())
        with closing(SourceFile(Path(name), max_line_bytes=settings.max_line_bytes, content=beginning)) as file:
            rules = InputRules(settings, announces=False)
            rules.prepare_lines(file)
            trial = Trial(_auto_choice(file, file.encoding.decoded(data, 0), settings), is_all)
            for chunk in _chunks(file, rules):
                _add(trial, chunk)
            return trial
    except FileNotFoundError:
        raise SourceError(name, "no such file") from None
    except OSError as error:
        raise SourceError(name, cause_of(error)) from error


class _Stream(FileContent):
    """What a descriptor yields, read once from beginning to end."""

    def pread(self, size: int, offset: int) -> bytes:
        """See Content: the next bytes, for which this waits."""
        del offset
        return os.read(self._fd, size)


def _open(name: str) -> Content:
    if name == STANDARD_INPUT:
        return _Stream(os.dup(0))
    if is_fifo(name):
        return _Stream(os.open(name, os.O_RDONLY | os.O_CLOEXEC))
    return open_content(Path(name))


def _first_bytes(content: Content, max_lines: int, configured: str) -> tuple[bytes, bool]:
    """Return the first lines, and whether these are all that there are."""
    data, lines, counted = bytearray(), 0, 0
    while lines < max_lines and len(data) < MAX_BYTES:
        block = content.pread(_READ_BYTES, len(data))
        if not block:
            return bytes(data), True
        data += block
        if len(data) >= BEGINNING_BYTES:
            encoding = encoding_named(encoding_of(bytes(data[:BEGINNING_BYTES]), configured))
            end = len(data) - len(data) % encoding.width
            lines += encoding.decoded(bytes(data[counted:end]), 0).count(b"\n")
            counted = end
    whole = bytes(data[: encoding.lines_end(bytes(data), 0)] or data)  # nothing can be said of a part of a line
    text = encoding.decoded(whole, 0)
    first = first_lines(text, max_lines)
    return (whole if len(first) == len(text) else whole[: encoding.encoded_length(first)]), False


def _auto_choice(file: SourceFile, data: bytes, settings: InputSettings) -> AutoChoice:
    """Return the choice for a file whose text is `data`."""
    choice = FormatChoice(file, levels=settings.levels, strips_ansi=settings.strip_ansi)
    choice.look(file, ends=True)
    lines = (line.lstrip(b"\0") for line in data.removeprefix(BOM).split(b"\n"))
    texts = (telling_text(line, strips_ansi=settings.strip_ansi) for line in lines if line.strip())
    tally = Tally(settings.levels)
    tally.add(filter(None, islice(texts, SAMPLE_LINES)))
    sample, fits = tally.lines, tally.counts()
    tally.add(filter(None, texts))
    found = AutoChoice(choice.format, sample, fits, tally.counts())
    if choice.changes_at is None:
        return found
    return AutoChoice(found.format, sample, fits, found.fits_all, choice.later, choice.changes_at)


def _chunks(file: SourceFile, rules: InputRules) -> Iterator[Chunk]:
    while True:
        rules.prepare(file, ends=True)
        chunk = file.read(is_final=True)
        if chunk is not None:
            yield chunk
        elif not file.is_scanning:
            return


def _add(trial: Trial, chunk: Chunk) -> None:
    """Count what a chunk becomes."""
    spec = chunk.rendering
    name = spec.format.partition(":")[0] if spec.format.startswith(HEADER_PREFIX) else spec.format
    if name not in trial.formats:
        trial.formats.append(name)
    rendered = renderer(spec).render(chunk.data, is_start=chunk.start == 0, truncated=chunk.truncated)
    trial.lines += lines_in(chunk)
    trial.blank += rendered.blank
    trial.joined += rendered.joined
    trial.filtered += rendered.filtered
    trial.redacted += rendered.redacted
    trial.recognised += sum(map(_is_read_by(spec.format, spec.rules, spec.levels), _texts(chunk)))
    for line in rendered.payload.split(b"\n")[:-1]:
        _add_record(trial, line)


def _add_record(trial: Trial, line: bytes) -> None:
    trial.records.append(line)
    try:
        record = json.loads(line, parse_int=float)  # a number may be too long for an integer
    except RecursionError:
        return
    trial.with_timestamp += record.get("timestamp") is not None
    if record.get("level") == UNKNOWN:
        trial.unknown.append(str(record.get("message")))
    else:
        trial.with_level += 1


def _is_read_by(name: str, rules: int, levels: tuple[str, ...]) -> Any:
    """Return what tells whether a format makes anything of a text."""
    format_ = format_named(name, rules).with_levels(levels)
    return lambda text: Format.recognises(format_, text)


def _texts(chunk: Chunk) -> Iterator[str]:
    """Yield the texts of the events of a chunk that are not blank."""
    data = chunk.data.removeprefix(BOM) if chunk.start == 0 else chunk.data
    data = data if data.endswith(b"\n") else data + b"\n"
    joiner = event_joiner(chunk.rendering)
    joined = joiner.join(data) if joiner and not chunk.truncated else None
    events = joined.data if joined else data
    for event in (without_ansi(events) if chunk.rendering.strip_ansi else events).split(b"\n")[:-1]:
        event = event.removesuffix(b"\r")
        if event.strip():
            text = event.replace(joined.inner_newline, b"\n") if joined else event
            yield text.decode("utf-8", "replace").replace("\r\n", "\n")
