"""Reads each line of a container in the format that the beginning of the line shows (`cri+auto`; rule F39).

What a line begins with decides alone, in a fixed order. So the streams of a container, the containers of a pod and the
programs that a container runs one after another are each read right, and a restart needs to know nothing. Must never
keep anything from one line to the next.
"""

import re
from collections.abc import Callable
from functools import partial
from typing import Final

from logferry.protocol.patterns import compile_pattern
from logferry.rendering.engine.format import Format, Rendered
from logferry.rendering.engine.records import Column, LinePattern, Texts, Written

_CLOCK: Final = "[0-9]{2}:[0-9]{2}:[0-9]{2}"

# A first key that only a program would write, before another pair.
_LOGFMT: Final = (
    r"(?:time|ts|t|timestamp|level|lvl|severity|msg|message|logger|caller)="
    r'(?:"(?:[^"\\\x00-\x1f]++|\\[!-~])*+"|[!#-~]++) [A-Za-z_][0-9A-Za-z_.-]*+='
)

# Beginnings of lines, with the formats of these lines. They mean the same in texts and in bytes, whatever control
# character stands for a newline inside of an event.
_BEGINNINGS: Final = (
    (r"[ ]*+\{", "json"),
    (r"type=[A-Z0-9_]++ msg=audit\(", "auditd"),
    (rf"[IWEF](?:[0-9]{{8}}|[0-9]{{4}}) {_CLOCK}", "klog"),
    (r"[!-~]++ [!-~]++ [!-~]++ (?:(?!\[)[!-~]++ )?+\[[0-9]{2}/[A-Z][a-z]{2}/[0-9]{4}:", "apache"),
    (r"\[[A-Z][a-z]{2} [A-Z][a-z]{2} [ 0-3][0-9] [0-9:.]++ [0-9]{4}\]", "apache"),
    (rf"[0-9]{{4}}/[0-9]{{2}}/[0-9]{{2}} {_CLOCK} \[[a-z]++\] [0-9]++#", "nginx"),
    (rf"<[0-9]{{1,3}}>(?:1 )?+|[A-Z][a-z]{{2}} [ 0-3][0-9] {_CLOCK} [!-~]++ [!-9;-~]++:", "syslog"),
    (r"[!-~]++ \[[0-9]{2}/[A-Z][a-z]{2}/[0-9]{4}:", "haproxy"),
    (rf'\[[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}T{_CLOCK}[0-9Z:.+-]*+\] "', "envoy"),
    (rf"[DIWEFA], \[[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}T{_CLOCK}", "rails"),
    (_LOGFMT, "logfmt"),
)


class AnyFormat(Format):
    """Lines of all formats that are recognised by how a line begins; any other line is plain."""

    name = "auto"

    def __init__(self, format_of: Callable[[str], Format]) -> None:
        self._format_of = format_of
        self._kinds: Final = [
            (compile_pattern(beginning, re.ASCII), rf"((?:{beginning})[^\r\n]*+)(?!\r)", format_of(name))
            for beginning, name in _BEGINNINGS
        ]
        self._otherwise: Final = format_of("plain")

    def with_levels(self, levels: tuple[str, ...]) -> Format:
        """See Format."""
        return AnyFormat(lambda name: self._format_of(name).with_levels(levels))

    def record_of(self, text: str) -> str:
        """See Format."""
        found = next((kind for beginning, _, kind in self._kinds if beginning.match(text)), self._otherwise)
        return found.record_of(text)

    def render(self, data: bytes, inner_newline: bytes) -> Rendered:
        """See Format. There is no carriage return in the data, and no blank line."""
        if data.startswith(b"{") and data.count(b"\n{") == data.count(b"\n") - 1:  # most programs write one format
            return self._format_of("json").render(data, inner_newline)
        render = partial(self._otherwise.render, inner_newline=inner_newline)
        for _, line, kind in reversed(self._kinds):
            record = (Column(1, partial(_records, kind, inner_newline)), b"\n")
            render = partial(LinePattern(line, record, is_one_line=True).render, otherwise=render)
        return render(data)


def _records(kind: Format, inner_newline: bytes, texts: Texts) -> Written:
    return Written(kind.render(b"\n".join(texts) + b"\n", inner_newline).payload.split(b"\n")[:-1])
