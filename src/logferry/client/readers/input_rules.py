"""How the files of one input are rendered: its settings, and the format that is detected in each file.

Owns when the format of a file is decided. Must never change the rendering of a source once it was decided.
"""

import logging
from typing import Final

from logferry.client.files.line_reader import SourceFile
from logferry.config import InputSettings
from logferry.model.format_names import JOINING_FORMATS
from logferry.model.render_spec import RenderSpec
from logferry.rendering.detect import detect

logger = logging.getLogger(__name__)

AUTO: Final = "auto"

# The format of a file is decided by lines from its first bytes; lines beyond these do not change it any more. Lines may
# be long: container runtimes cut what they are given after 16 KiB.
_DECIDING_BYTES: Final = 64 * 1024


class InputRules:
    """Decides how the files of an input are rendered."""

    def __init__(self, settings: InputSettings) -> None:
        self.settings = settings

    def rendering(self, path: str, log_format: str) -> RenderSpec:
        """Return how a file of this input is rendered if its lines have this format."""
        settings = self.settings
        fields = list(settings.field)
        if settings.add_host:
            fields.append(("host", settings.host))
        if settings.add_path:
            fields.append(("path", path))
        return RenderSpec(
            log_format,
            settings.max_line_bytes,
            "" if log_format in JOINING_FORMATS else settings.multiline,
            settings.multiline_max_lines,
            settings.multiline_max_bytes,
            tuple(fields),
            settings.include,
            settings.exclude_line,
            settings.redact,
        )

    def prepare(self, file: SourceFile) -> None:
        """Make the next chunk of a file be rendered as this input says. Raises OSError."""
        source = file.source
        if file.prepared_for is source:
            return
        log_format = self.settings.format
        if log_format == AUTO:
            log_format = self._decide(file)
        else:
            file.prepared_for = source
        file.render_as(self.rendering(source.path, log_format))

    def _decide(self, file: SourceFile) -> str:
        """Return the format of what comes next in a file; lines that do not show one yet are plain.

        A format that was found once holds for the source, whatever follows.
        """
        source = file.source
        renderings = source.renderings  # read once: the engine may replace the list meanwhile
        known = renderings[-1][1].format if renderings else ""
        found = known if known not in ("", "plain") else _detected(file)
        if found is not None or file.offset > _DECIDING_BYTES:
            file.prepared_for = source
            if found not in (None, known):
                logger.info("%s: its lines are %s", source.path, found)
        return found or "plain"


def _detected(file: SourceFile) -> str | None:
    """Return the format of the first lines before the offset or, if those do not show it, of the lines after it."""
    begin = file.peek(0, min(file.offset, _DECIDING_BYTES))
    found = detect(begin[: begin.rfind(b"\n") + 1])
    if found is None and file.offset <= _DECIDING_BYTES:
        sample = file.peek(file.offset, _DECIDING_BYTES)
        found = detect(sample[: sample.rfind(b"\n") + 1])
    return found
