"""Filebeat: a filestream input, a parsing processor, and the Logstash output to a receiver that acks (lumberjack.py).

Filebeat has no output for plain TCP. Its configuration is YAML; JSON is valid YAML.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.peers.peer import Peer


def configure(home: Path, log: Path, port: int) -> Sequence[str]:
    """See Peer."""
    configuration = home / "filebeat.yml"
    dissect = {
        "tokenizer": "%{date} %{time} %{level} %{message}",
        "field": "message",
        "target_prefix": "",
        "overwrite_keys": True,
        "ignore_failure": True,
    }
    content = {
        "filebeat.inputs": [{"type": "filestream", "id": "benchmark", "enabled": True, "paths": [str(log)]}],
        "processors": [{"dissect": dissect}],
        "output.logstash": {"hosts": [f"127.0.0.1:{port}"]},
        "logging.level": "error",
    }
    configuration.write_text(json.dumps(content, indent=1), encoding="utf-8")
    configuration.chmod(0o600)  # Filebeat refuses a file that others may write
    return ["-c", str(configuration), "--path.data", str(home / "data"), "--path.logs", str(home), "-e"]


FILEBEAT: Final = Peer(
    "filebeat", "filebeat", "https://www.elastic.co/beats/filebeat", configure, receiver=("lumberjack",)
)
