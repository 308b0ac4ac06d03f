"""`logferry logs`: shows stored lines, merged by time; follows new ones as they come.

Starts quickly and reads from the ends, so that the last lines are there at once whatever the size of the store. Ctrl-C
ends it wherever it is.
"""

import os
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

from logferry.cli.commands import EXIT_INCOMPLETE, EXIT_INTERRUPTED, EXIT_OK
from logferry.cli.parsing import RaisingParser
from logferry.cli.reading.lines_out import LinesOut, NobodyReads
from logferry.cli.reading.options import (
    add_contents,
    add_selection,
    add_store,
    data_dir_of,
    selection_of,
    unmatched,
    whole_number,
)
from logferry.cli.signals import exiting_on_interrupt
from logferry.errors import ConfigError, LogferryError
from logferry.printable import printable
from logferry.reading.disk.logs import DiskLogs
from logferry.reading.query.found import FoundLine
from logferry.reading.query.search import search
from logferry.reading.query.selection import Selection
from logferry.reading.stored import Log

if TYPE_CHECKING:
    from logferry.cli.reading.line_forms import Form
    from logferry.cli.reading.remote import Console

_LINES: Final = 100

_EPILOG: Final = """\
examples:
  logferry logs web-1                              the last 100 lines of a host, oldest first
  logferry logs --since 1h --level error,warn --grep 'timeout|refused' -C 2
  logferry logs -f 'web-*' --file app.log          new lines as they come

--text and --grep look at the message, and at every other field as key=value (docs/reading.md). A line's time is
its timestamp; a line without one has the time of the line before it, or that of its receipt (marked with ~).

exit codes: 0 the lines were shown; 1 there is no store, or no such host or file; 2 the command line is wrong;
3 a segment could not be read; 130 interrupted (with -f, Ctrl-C is the normal end: 0)
"""


def parser() -> RaisingParser:
    """Return the parser of the command line."""
    made = RaisingParser("logs", "Show stored lines, merged by time.", _EPILOG, usage="%(prog)s [options] [HOST ...]")
    made.add_argument("hosts", nargs="*", metavar="HOST", help="the same as --host")
    add_store(made, or_console=True)
    add_selection(made)
    add = add_contents(made).add_argument
    add("-A", "--after", type=whole_number, metavar="N", help="and N lines of the same file after each")
    add("-B", "--before", type=whole_number, metavar="N", help="and N lines before each")
    add("-C", "--context", type=whole_number, metavar="N", help="and N lines before and after each")
    add = made.add_argument_group("how").add_argument
    add(
        "-n",
        "--lines",
        type=_lines,
        metavar="N",
        help=f"the last N lines, or all (default: all with --since, else {_LINES})",
    )
    add("-f", "--follow", action="store_true", help="go on with new lines as they come")
    add("--reverse", action="store_true", help="newest first")
    add("--output", choices=("text", "json", "raw"), help="text (default), json: an object a line, or raw: as stored")
    add("--no-pager", action="store_true", help="no $LOGFERRY_PAGER, $PAGER or less on a terminal")
    return made


def _lines(text: str) -> int:
    return -1 if text == "all" else whole_number(text)


def run(words: Sequence[str]) -> int:
    """Show lines; return the exit code. Raises ConfigError, LogferryError and OSError."""
    given = vars(parser().parse_args(list(words)))
    if given.get("follow") and (given.get("until") or given.get("reverse")):
        raise ConfigError(["--follow cannot be used with --until or --reverse: new lines come at the end"])
    selection = selection_of(given)
    show = _Show(given, selection)
    return show.run_remote(given) if given.get("url") else show.run()


class _Show:
    """One run of the command."""

    def __init__(self, given: dict[str, Any], selection: Selection) -> None:
        self._selection = selection
        self._follows = bool(given.get("follow"))
        self._reverse = bool(given.get("reverse"))
        both = given.get("context", 0)
        self._before, self._after = given.get("before", both), given.get("after", both)
        self._limit = _limit(given, selection)
        self._output = given.get("output", "text")
        self._is_terminal = sys.stdout.isatty()
        pages = self._is_terminal and not self._follows and self._output == "text" and not given.get("no_pager")
        self._data_dir = data_dir_of(given)
        self._pages = pages
        self._form: Form | None = None
        self._last: FoundLine | None = None
        self._shown: list[FoundLine] = []  # the first line and the last one

    def run(self) -> int:
        """Show the lines."""
        with closing(DiskLogs(self._data_dir)) as stored:
            return self._run(stored)

    def _run(self, stored: DiskLogs) -> int:
        if sentence := unmatched(self._selection, stored.logs()):
            if not self._follows:
                raise LogferryError(sentence)
            self._notice(sentence)
        out = LinesOut(pages=self._pages)
        code = EXIT_OK if self._follows else EXIT_INTERRUPTED
        with exiting_on_interrupt(lambda: None, out.wait_for_pager, code=code):
            try:
                self._show(stored, out)
                out.end()
            except NobodyReads:
                out.wait_for_pager()
                return EXIT_OK
        return EXIT_INCOMPLETE if stored.looked.unreadable else EXIT_OK

    def run_remote(self, given: dict[str, Any]) -> int:
        """Show the lines of a console."""
        from logferry.cli.reading.remote import Console  # late: only this needs HTTP

        if self._before or self._after or self._output == "raw":
            raise ConfigError(["--url cannot be used with -A, -B, -C or --output raw"])
        console = Console(given, self._selection)
        out = LinesOut(pages=self._pages)
        code = EXIT_OK if self._follows else EXIT_INTERRUPTED
        with exiting_on_interrupt(lambda: None, out.wait_for_pager, code=code):
            try:
                self._show_remote(console, out)
                out.end()
            except NobodyReads:
                out.wait_for_pager()
                return EXIT_OK
        if console.problem:
            self._warn(console.problem)
        return EXIT_INCOMPLETE if console.problem else EXIT_OK

    def _show_remote(self, console: "Console", out: LinesOut) -> None:
        stream = console.follow() if self._follows else iter(())
        next(stream, None)  # it has begun: nothing that comes from now on is missed
        is_last = self._limit is not None and not self._reverse
        found = console.lines(self._limit, newest_first=is_last or self._reverse)
        places = set()
        for line in reversed(list(found)) if is_last else found:
            self._put([], line, out)
            places.add(line.place)
        out.flush()
        trouble = ""
        for each in stream:
            if each is None:
                out.flush()
                if console.trouble != trouble:
                    trouble = console.trouble
                    self._notice(trouble or "the console answers again")
            elif each.place not in places:
                self._put([], each, out)

    def _show(self, stored: DiskLogs, out: LinesOut) -> None:
        began = time.monotonic()
        found = search(
            stored,
            self._selection,
            limit=self._limit,
            reverse=self._reverse,
            before_lines=self._before,
            after_lines=self._after,
        )
        logs = [log for log in stored.logs() if self._selection.has_log(log)]
        for line in found:
            self._put(logs, line, out)
        out.flush()
        if self._follows:
            self._follow(stored, out)
        if out.has_pager or sys.stderr.isatty():
            self._print_notes(stored, out, time.monotonic() - began)
        elif stored.looked.unreadable:
            self._warn(f"some segments could not be read, such as {stored.looked.problem}; see `logferry fsck`")

    def _print_notes(self, stored: DiskLogs, out: LinesOut, seconds: float) -> None:
        from logferry.cli.reading.log_notes import notes_after  # late: only people read them

        for note in notes_after(stored, self._selection, self._shown, seconds=seconds):
            if out.has_pager:
                out.line(printable(note).encode())
            else:
                self._notice(note)

    def _follow(self, stored: DiskLogs, out: LinesOut) -> None:
        from logferry.reading.query.follow import Follower, follow

        logs = [log for log in stored.logs() if self._selection.has_log(log)]
        follower = Follower(stored, self._selection, before_lines=self._before, after_lines=self._after)
        problem = ""
        for line in follow(follower, wait=time.sleep, clock=time.monotonic):
            if line is not None:
                self._put(logs, line, out)
                continue
            out.flush()
            if follower.problem != problem:
                problem = follower.problem
                self._notice(problem or "the store can be read again")

    def _put(self, logs: Sequence[Log], line: FoundLine, out: LinesOut) -> None:
        form = self._form = self._form or self._made_form(logs)
        if (self._before or self._after) and self._output == "text":
            last = self._last
            is_next = last is not None and last.log == line.log and line.place in (last.end, _end_of(line, last))
            if last is not None and not is_next:
                out.line(b"--")
            self._last = line
        self._shown = [*self._shown[:1], line]
        out.line(form(line))

    def _made_form(self, logs: Sequence[Log]) -> "Form":
        from logferry.cli.reading.line_forms import (  # late: nothing may be found
            TextForm,
            as_json,
            raw,
            raw_for_terminal,
        )

        if self._output == "raw":
            return raw_for_terminal if self._is_terminal else raw
        if self._output == "json":
            return as_json
        names = {(log.host, log.name) for log in logs}
        encoding = sys.stdout.encoding or "utf-8"
        return TextForm(
            encoding=encoding,
            has_colours=self._is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb",
            is_terminal=self._is_terminal,
            whole_paths=len(names) < len(logs),
        )

    def _notice(self, text: str) -> None:
        """Print a remark for people: on a terminal alone."""
        if sys.stderr.isatty() or self._follows:
            self._warn(text)

    @staticmethod
    def _warn(text: str) -> None:
        """Print why the result is not all that was asked for."""
        print(
            printable(f"logferry logs: {text}", encoding=sys.stderr.encoding or "utf-8"),
            file=sys.stderr,
            flush=True,
        )


def _limit(given: dict[str, Any], selection: Selection) -> int | None:
    lines = given.get("lines")
    if lines is None:
        return None if selection.span.since is not None else _LINES
    return None if lines < 0 else int(lines)


def _end_of(line: FoundLine, last: FoundLine) -> object:
    """Return the place of a line if the last one follows it: in reverse, that is the next one."""
    return line.place if line.end == last.place else None
