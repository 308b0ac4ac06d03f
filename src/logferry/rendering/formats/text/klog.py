"""The klog format: what Kubernetes' components (klog), glog and Abseil write (docs/protocol.md, rule F38).

    I0304 11:12:13.456789       1 pump.go:123] "Starting" name="x"     klog, older glog
    W20260304 11:12:13.456789 811 pump.cc:7] hot                       glog with a year

The letter is the level. The timestamp is kept as it is written: without a year, most of the time. Any other line is
shipped whole (rule F5).
"""

from typing import Final

from logferry.rendering.engine.fields import of_each, text
from logferry.rendering.engine.line_format import LineFormat, ending_with_message

_LEVELS: Final = {"I": "INFO", "W": "WARNING", "E": "ERROR", "F": "FATAL"}

_DAY: Final = "(?:[12][0-9]{3}(?=[0-9]))?+(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])"
_TIME: Final = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-6][0-9](?:\.[0-9]++)?+"

# The source has no characters that JSON would escape. If the message is empty, the space before it may be missing.
_BEGINNING: Final = (
    rf"(?P<letter>[IWEF])(?P<timestamp>{_DAY} {_TIME}) ++(?P<tid>[0-9]++|0x[0-9A-Fa-f]++)"
    r' (?P<source>[^\x00-\x20"\\:\]]++:[0-9]++)\](?: |(?!.))'
)


def _level_of_letter(letter: str | None) -> str:
    return _LEVELS[letter or ""]


KLOG: Final = LineFormat(
    "klog",
    [
        ending_with_message(
            _BEGINNING,
            [of_each("level", "letter", _level_of_letter), text("message"), *map(text, ("timestamp", "tid", "source"))],
        )
    ],
)
