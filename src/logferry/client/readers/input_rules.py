"""Decides how the files of one input are rendered: by its settings, and by the format detected in each file.

Owns when a file's format is decided. Must never change the rendering of a source once it was decided.
"""

import logging
from typing import Final

from logferry.client.files.holes import without_holes
from logferry.client.files.line_reader import SourceFile
from logferry.client.readers.kubernetes_names import kubernetes_fields
from logferry.config import InputSettings
from logferry.model.format_names import CURRENT_RULES, RUNTIME_FORMATS
from logferry.model.render_spec import RenderSpec
from logferry.names import text_of_name
from logferry.rendering.detect import detect

logger = logging.getLogger(__name__)

AUTO: Final = "auto"

# The lines within this many first bytes of a file decide its format; later lines do not change it. Lines may be long:
# container runtimes split lines at 16 KiB.
_DECIDING_BYTES: Final = 64 * 1024


class InputRules:
    """Decides how the files of an input are rendered."""

    def __init__(self, settings: InputSettings) -> None:
        self.settings = settings

    def rendering(self, path: str, log_format: str) -> RenderSpec:
        """Return how to render a file of this input whose lines have this format."""
        settings = self.settings
        is_found_out = (
            settings.format == AUTO
        )  # a pattern that was meant for other files may fit no line of a container
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
            "" if is_found_out and log_format in RUNTIME_FORMATS else settings.multiline,
            settings.multiline_max_lines,
            settings.multiline_max_bytes,
            tuple(fields),
            settings.include,
            settings.exclude_line,
            settings.redact,
            skips_nuls=True,
            rules=CURRENT_RULES,
            levels=settings.levels,
            strip_ansi=settings.strip_ansi,
        )

    def prepare(self, file: SourceFile) -> None:
        """Set the rendering of a file's next chunk as this input requires. Raises OSError."""
        source = file.source
        if file.rendering_decided_for is source:
            return
        log_format = self.settings.format
        if log_format == AUTO:
            log_format = self._decide(file)
        else:
            file.rendering_decided_for = source
        file.render_as(self.rendering(source.path, log_format))

    def _decide(self, file: SourceFile) -> str:
        """Return the format of what comes next in a file; plain as long as the lines do not show a format.

        A detected format holds for the source, whatever lines follow.
        """
        source = file.source
        renderings = source.renderings  # read once: the engine may replace the list in between
        known = renderings[-1][1].format if renderings else ""
        found = known if known not in ("", "plain") else _detected(file)
        if found is not None or file.offset - file.text_begin > _DECIDING_BYTES:
            file.rendering_decided_for = source
            if found is None:
                logger.info("%s: its lines are of no known format; they are read as plain", source.path)
            elif found != known:
                logger.info("%s: its lines are %s", source.path, found)
        return found or "plain"


def _detected(file: SourceFile) -> str | None:
    """Return the format of the first lines before the offset or, if those do not show one, of the lines after it."""
    begin = file.text_begin
    found = detect(_lines(file.peek(begin, min(file.offset - begin, _DECIDING_BYTES))))
    if found is None and file.offset - begin <= _DECIDING_BYTES:
        found = detect(_lines(file.peek(file.offset, _DECIDING_BYTES)))
    return found


def _lines(sample: bytes) -> bytes:
    return without_holes(sample[: sample.rfind(b"\n") + 1])
