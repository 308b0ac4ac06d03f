"""Decides how the files of one input are rendered: by its settings, and by the format detected in each file.

Owns when a file's format is decided. Must never change the rendering of a source once it was decided.
"""

import logging
import sys
from dataclasses import replace
from typing import Final

from logferry.client.files.lines.format_choice import FormatChoice
from logferry.client.files.lines.header_lines import HeaderLines
from logferry.client.files.lines.line_reader import SourceFile
from logferry.client.readers.file_encoding import FoundEncoding, find_encoding
from logferry.client.readers.kubernetes_names import kubernetes_fields
from logferry.config import InputSettings
from logferry.model.encoding_names import UTF_8, UTF_16_BE, UTF_16_LE
from logferry.model.format_names import AUTO, CURRENT_RULES, has_header, holds_nuls, joins_lines, without_header
from logferry.model.render_spec import RenderSpec
from logferry.names import text_of_name

logger = logging.getLogger(__name__)

# What was announced of a file whose lines fit no format.
_NOTHING_FITS: Final = "none"


class InputRules:
    """Decides how the files of an input are rendered."""

    def __init__(self, settings: InputSettings, *, announces: bool = True) -> None:
        """`announces` says that the formats that are found are logged."""
        self.settings = settings
        self._announces = announces

    def rendering(self, path: str, log_format: str, encoding: str = UTF_8) -> RenderSpec:
        """Return how to render a file of this input whose lines have this format and this encoding."""
        settings = self.settings
        # A pattern that was meant for other files may fit no line of a container.
        joins_its_own = settings.format == AUTO and joins_lines(log_format)
        fields = list(settings.field)
        if settings.add_host:
            fields.append(("host", settings.host))
        if settings.add_path:
            fields.append(("path", text_of_name(path)))
        if settings.add_kubernetes:
            fields += kubernetes_fields(path)
        return RenderSpec(
            log_format,
            settings.max_line_bytes,
            "" if joins_its_own else settings.multiline,
            settings.multiline_max_lines,
            settings.multiline_max_bytes,
            tuple(fields),
            settings.include,
            settings.exclude_line,
            settings.redact,
            skips_nuls=not holds_nuls(log_format),
            rules=CURRENT_RULES,
            levels=settings.levels,
            strip_ansi=settings.strip_ansi,
            encoding=encoding,
        )

    def prepare(self, file: SourceFile, *, limit: int = sys.maxsize, ends: bool = False) -> None:
        """Set the rendering of a file's next chunk as this input requires. Raises OSError.

        The file is read no further than `limit`; `ends` says that it will have no lines there but those that it has.
        """
        source = file.source
        if file.rendering_decided_for is source:
            return
        encoding = find_encoding(file, self.settings.encoding, ends=ends)
        if self.settings.format == AUTO:
            self._prepare_auto(file, encoding, min(limit, encoding.until), ends=ends)
            return
        if encoding.is_final and not has_header(self.settings.format):
            file.rendering_decided_for = source
        self._render_as(file, self.settings.format, encoding, encoding.until, ends=ends)

    def prepare_lines(self, file: SourceFile) -> None:
        """Have a file that is not read yet find the ends of its lines, in its encoding. Raises OSError."""
        encoding = find_encoding(file, self.settings.encoding, ends=True)
        file.render_as(replace(file.rendering, encoding=encoding.name))

    def _prepare_auto(self, file: SourceFile, encoding: FoundEncoding, limit: int, *, ends: bool) -> None:
        source = file.source
        choice = file.format_choice
        file.render_as(replace(file.rendering, encoding=encoding.name))  # the choice finds lines as the file does
        if choice is None or choice.source is not source or choice.encoding is not file.encoding:
            choice = self._begin_choice(file)
        choice.look(file, limit=limit, ends=ends)
        found, until, stops_there = choice.at(file.offset)
        if self._announces:
            _announce(choice, found, source.path)
        self._render_as(file, found, encoding, min(until, encoding.until), ends=ends, stops_there=stops_there)
        if encoding.is_final and choice.is_final and choice.changes_at is None and not has_header(found):
            file.rendering_decided_for, file.format_choice = source, None

    def _render_as(
        self,
        file: SourceFile,
        found: str,
        encoding: FoundEncoding,
        until: int,
        *,
        ends: bool,
        stops_there: bool = False,
    ) -> None:
        """Render the lines up to `until` in the format that was found, and by the header before them if it has one."""
        if has_header(found) and encoding.name not in (UTF_16_BE, UTF_16_LE):
            if file.header_lines is None or file.header_lines.source is not file.source:
                file.header_lines = HeaderLines(file)
            found, end, stops = file.header_lines.at(file, file.offset, ends=ends)
            until, stops_there = min((until, stops_there), (end, stops))
        rendering = self.rendering(file.source.path, found, encoding.name)
        file.render_as(rendering, until=until, stops_there=stops_there)

    def _begin_choice(self, file: SourceFile) -> FormatChoice:
        settings = self.settings
        file.format_choice = choice = FormatChoice(file, levels=settings.levels, strips_ansi=settings.strip_ansi)
        renderings = file.source.renderings  # read once: the engine may replace the list in between
        choice.announced = without_header(renderings[-1][1].format) if renderings else ""
        return choice


def _announce(choice: FormatChoice, found: str, path: str) -> None:
    """Log the format of a file once it is found, and again only if later lines show another one."""
    is_sure = choice.sample_is_whole or choice.is_final
    is_changed = choice.changes_at is not None and found == choice.later
    if choice.format is None and not is_changed:
        if is_sure and choice.announced != _NOTHING_FITS and choice.has_lines:
            logger.info("%s: its lines are of no known format; they are read as plain", path)
            choice.announced = _NOTHING_FITS
    elif found != choice.announced and (is_sure or not choice.announced):
        if is_changed:
            logger.info("%s: from byte %d on, its lines are %s", path, choice.changes_at, found)
        else:
            logger.info("%s: its lines are %s", path, found)
        choice.announced = found
