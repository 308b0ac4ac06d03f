"""Takes ANSI escape sequences (ECMA-48) out of lines: colours, moves of the cursor, links and titles.

It works on whole chunks, and never removes a byte that ends a line or joins lines.
"""

from typing import Final

from logferry.protocol.patterns import compile_pattern

_ESCAPE: Final = b"\x1b"

# Control sequences, and strings of operating system commands, which BEL or ST ends.
_SEQUENCES: Final = compile_pattern(rb"\x1b(?:\[[0-?]*+[ -/]*+[@-~]|\][^\x00-\x1f]*+(?:\x07|\x1b\\)|[()][0-9A-B])")


def without_ansi(data: bytes) -> bytes:
    """Return the data without escape sequences; an incomplete one stays."""
    return _SEQUENCES.sub(b"", data) if _ESCAPE in data else data
