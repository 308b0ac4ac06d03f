"""rsyslog: imfile to omfwd.

The same JSON as ours, in the fastest way that we found for rsyslog: fields and columns where they suffice, and one
regular expression for the rest of the line (three of them took twice the time). Everything else is the default.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.peers.peer import Peer

_CONFIGURATION: Final = r"""
global(workDirectory="{home}" maxMessageSize="64k")
module(load="imfile")
template(name="json" type="list") {{
    constant(value="{{\"level\": \"")
    property(name="msg" field.delimiter="32" field.number="3" caseconversion="upper")
    constant(value="\", \"message\": \"")
    property(name="msg" regex.type="ERE" regex.expression="^[^ ]+ [^ ]+ [^ ]+ (.*)" regex.submatch="1"
             regex.nomatchmode="FIELD" format="json")
    constant(value="\", \"timestamp\": \"")
    property(name="msg" position.from="1" position.to="19")
    constant(value="\"}}\n")
}}
ruleset(name="ship") {{
    action(type="omfwd" target="127.0.0.1" port="{port}" protocol="tcp" template="json")
}}
input(type="imfile" File="{log}" Tag="benchmark" ruleset="ship")
"""


def configure(home: Path, log: Path, port: int) -> Sequence[str]:
    """See Peer."""
    configuration = home / "rsyslog.conf"
    configuration.write_text(_CONFIGURATION.format(home=home, log=log, port=port), encoding="utf-8")
    return ["-n", "-f", str(configuration), "-i", str(home / "pid")]


RSYSLOG: Final = Peer("rsyslog", "rsyslogd", "Debian: apt install rsyslog", configure)
