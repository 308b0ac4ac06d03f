"""syslog-ng: a file source, its column parser, its JSON formatter, a TCP destination.

Flow control is on: without it, syslog-ng drops lines when its queue is full. The queue holds the source's whole
window, as the manual requires.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.peers.peer import Peer

_CONFIGURATION: Final = r"""@version: 3.35
options {{ stats-freq(0); log-msg-size(65536); }};
source s_log {{
    file("{log}" flags(no-parse) follow-freq(0.1) log-iw-size(100000) log-fetch-limit(1000));
}};
parser p_columns {{
    csv-parser(columns("date", "time", "level", "rest") delimiters(" ") quote-pairs("") flags(greedy));
}};
destination d_receiver {{
    network("127.0.0.1" port({port}) transport("tcp") log-fifo-size(200000) flush-lines(1000) template("{template}\n"));
}};
log {{ source(s_log); parser(p_columns); destination(d_receiver); flags(flow-control); }};
"""
_TEMPLATE: Final = (
    r"$(format-json --scope none level=\"$(uppercase ${level})\" message=\"${rest}\" timestamp=\"${date} ${time}\")"
)


def configure(home: Path, log: Path, port: int) -> Sequence[str]:
    """See Peer."""
    configuration = home / "syslog-ng.conf"
    configuration.write_text(_CONFIGURATION.format(log=log, port=port, template=_TEMPLATE), encoding="utf-8")
    return [
        *("--foreground", "--no-caps", f"--cfgfile={configuration}", f"--persist-file={home / 'persist'}"),
        *(f"--pidfile={home / 'pid'}", f"--control={home / 'control'}"),
    ]


SYSLOG_NG: Final = Peer(
    "syslog-ng", "syslog-ng", "Debian: syslog-ng-core, which cannot be installed beside rsyslog", configure
)
