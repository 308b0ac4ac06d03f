"""How the messages of the delivery extension are written (docs/protocol.md, rules E1 to E20).

A control line is a JSON object whose first key is `logferry`; after the header of a batch come as many bytes as it
states. Each side parses messages into values: `control_lines.py` and `answer_lines.py`.
"""

import json
from typing import Final

VERSION: Final = 1
CONTROL_PREFIX: Final = b'{"logferry"'

# A control line has a few hundred bytes; a path may have 4096, each escaped to six.
MAX_CONTROL_BYTES: Final = 64 * 1024

# No answer is longer than this: the longest are pages of a report and pieces of stored content.
MAX_ANSWER_BYTES: Final = 1024 * 1024

MAX_OFFSET: Final = 2**63 - 1  # the largest offset of SQLite and of file systems

# Longer paths and names of hosts are cut: the system's limit of a path, if every byte is escaped, and of a name. The id
# of a client may not be longer than a name.
MAX_PATH_CHARS: Final = 4 * 4096
MAX_NAME_CHARS: Final = 255

# Of a token: ours have 43 characters, those of other programs a few hundred.
MAX_TOKEN_CHARS: Final = 1024

# The most sources that one request for positions may name: 64 characters each, far below MAX_CONTROL_BYTES.
MAX_LOCATED: Final = 500

# How many sources one connection may open if the welcome states no limit.
MAX_SOURCES: Final = 10_000

# Why a source is closed to a client (rule E36). It must not say whose the source is: an id of a client is a secret.
FOREIGN: Final = "the source belongs to another client"


def control_line(kind: str, /, **fields: object) -> bytes:
    """Return one control line of a client."""
    return json.dumps({"logferry": kind, **fields}).encode() + b"\n"


def batch_header(
    *, source: str, start: int, end: int, lines: int, crc32: int, size: int, is_gzip: bool, is_split: bool = False
) -> bytes:
    """Return the control line before the `size` bytes of a batch; `crc32` is that of the uncompressed NDJSON."""
    encoding = "gzip" if is_gzip else "identity"
    split = ', "split": true' if is_split else ""
    return (
        f'{{"logferry": "batch", "source": "{source}", "start": {start}, "end": {end}, "lines": {lines}, '
        f'"bytes": {size}, "encoding": "{encoding}", "crc32": {crc32}{split}}}\n'
    ).encode()


def answer_line(message: str, /, **fields: object) -> bytes:
    """Return one answer that is not an error."""
    return json.dumps({"status": "ok", "message": message, **fields}).encode() + b"\n"


def denial_line(reason: str) -> bytes:
    """Return the answer to a client that may not ship (rule A7); never mistaken for one about a line."""
    return json.dumps({"status": "denied", "message": f"not authorised: {reason}"}).encode() + b"\n"


def refusal_line(reason: str, *, source: str, committed: int, is_final: bool) -> bytes:
    """Return the answer to a batch that is not stored."""
    fields = {"status": "error", "message": reason, "source": source, "committed": committed, "final": is_final}
    return json.dumps(fields).encode() + b"\n"
