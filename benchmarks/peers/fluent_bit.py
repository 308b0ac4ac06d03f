"""Fluent Bit: tail with a parser to tcp, JSON lines, without acks, which it does not expect from a plain receiver.

It pauses at the memory limit given here; without a limit it would read the whole file into memory.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.peers.peer import Peer

_CONFIGURATION: Final = """\
[SERVICE]
    flush         0.2
    log_level     error
    parsers_file  {home}/parsers.conf

[INPUT]
    name           tail
    path           {log}
    db             {home}/positions.db
    read_from_head on
    parser         line
    mem_buf_limit  50M
    buffer_max_size 1M

[OUTPUT]
    name           tcp
    match          *
    host           127.0.0.1
    port           {port}
    format         json_lines
    json_date_key  false
    retry_limit    no_limits
"""
_PARSERS: Final = """\
[PARSER]
    name   line
    format regex
    regex  ^(?<timestamp>[^ ]+ [^ ]+) (?<level>[^ ]+) (?<message>.*)$
"""


def configure(home: Path, log: Path, port: int) -> Sequence[str]:
    """See Peer."""
    configuration = home / "fluent-bit.conf"
    configuration.write_text(_CONFIGURATION.format(home=home, log=log, port=port), encoding="utf-8")
    (home / "parsers.conf").write_text(_PARSERS, encoding="utf-8")
    return ["-c", str(configuration)]


FLUENT_BIT: Final = Peer("fluent-bit", "fluent-bit", "https://fluentbit.io", configure)
