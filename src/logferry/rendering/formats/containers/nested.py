"""The formats inside the lines of containers: `cri+json`, `docker+logfmt`, `cri+auto` (docs/protocol.md, rule F39).

The runtime's format finds what the container wrote, the inner format makes a record of that, and `records` adds what
the runtime says. It must never lose a field of either.
"""

from functools import partial
from typing import Final

from logferry import speedups
from logferry.rendering.engine.escape import WHITE_SPACE, to_json
from logferry.rendering.engine.format import Format, Rendered, unknown_fields
from logferry.rendering.engine.records import Texts
from logferry.rendering.formats.containers.records import render_taken, with_fields, with_runtime
from logferry.rendering.formats.containers.runtime_fields import ContainerLine, Runtime
from logferry.rendering.partial_lines import PartSyntax


class NestedFormat(Format):
    """One format inside of another one."""

    def __init__(self, runtime: Runtime, inner: Format) -> None:
        self.name = f"{runtime.name}+{inner.name}"
        self._runtime: Final = runtime
        self._inner: Final = inner

    def part_syntax(self) -> PartSyntax:
        """See Runtime."""
        return self._runtime.part_syntax()

    def record_of(self, text: str) -> str:
        """See Format."""
        line = self._runtime.line_of(text)
        if line is None:
            return to_json(unknown_fields(text))
        return self._record_of(line)

    def recognises(self, text: str) -> bool:
        """See Format."""
        return self._runtime.line_of(text) is not None

    def with_levels(self, levels: tuple[str, ...]) -> Format:
        """See Format."""
        return NestedFormat(self._runtime, self._inner.with_levels(levels))

    def render(self, data: bytes, inner_newline: bytes) -> Rendered:
        """See Format."""
        otherwise = partial(self._one_by_one, inner_newline=inner_newline)
        if speedups.compiled:
            taken, newline_inside = self._runtime.take_contents(speedups.compiled, data, inner_newline)
            render = partial(self._inner.render, inner_newline=newline_inside)
            return render_taken(speedups.compiled, taken, render, otherwise)
        return self._runtime.render_contents(data, inner_newline, self._records, otherwise)

    def _record_of(self, line: ContainerLine) -> str:
        is_blank = not line.content.strip(WHITE_SPACE)
        record = to_json(unknown_fields(line.content)) if is_blank else self._inner.record_of(line.content)
        time = to_json(line.timestamp)[1:-1].encode()
        (record,) = (each.decode() for each in with_runtime(record.encode() + b"\n", [time], [line.stream.encode()]))
        return with_fields(record, ((key, to_json(value)) for key, value in line.others.items()))

    def _records(self, contents: bytes, inner_newline: bytes, times: Texts, streams: Texts) -> list[bytes]:
        """See WriteRecords."""
        rendered = self._inner.render(contents, inner_newline)
        if rendered.lines != len(times):
            raise AssertionError(f"{self._inner.name} made {rendered.lines} records of {len(times)} lines")
        return with_runtime(rendered.payload, times, streams)

    def _one_by_one(self, lines: bytes, inner_newline: bytes) -> Rendered:
        newline = inner_newline.decode()
        texts = [text.replace(newline, "\n") for text in lines.decode().split("\n")[:-1]]
        records = [self.record_of(text) + "\n" for text in texts if text.strip(WHITE_SPACE)]
        return Rendered("".join(records).encode(), len(records), len(texts) - len(records))
