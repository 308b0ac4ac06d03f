"""Vector: a file source, a remap that parses, a socket sink with JSON lines."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.peers.peer import Peer

_REMAP: Final = r"""
parts, error = parse_regex(.message, r'^(?P<timestamp>\S+ \S+) (?P<level>\S+) (?P<message>.*)$')
if error != null {
  . = {"level": "UNKNOWN", "message": .message, "timestamp": null}
} else {
  . = {"level": upcase(string!(parts.level)), "message": parts.message, "timestamp": parts.timestamp}
}
"""


def configure(home: Path, log: Path, port: int) -> Sequence[str]:
    """See Peer."""
    configuration = home / "vector.json"
    content = {
        "data_dir": str(home),
        "sources": {"log": {"type": "file", "include": [str(log)], "read_from": "beginning"}},
        "transforms": {"parse": {"type": "remap", "inputs": ["log"], "source": _REMAP}},
        "sinks": {
            "receiver": {
                "type": "socket",
                "inputs": ["parse"],
                "mode": "tcp",
                "address": f"127.0.0.1:{port}",
                "encoding": {"codec": "json"},
                "framing": {"method": "newline_delimited"},
            }
        },
    }
    configuration.write_text(json.dumps(content, indent=1), encoding="utf-8")
    return ["--quiet", "--config-json", str(configuration)]


VECTOR: Final = Peer("vector", "vector", "https://vector.dev", configure)
