"""The questions of `/api/v1`, each with the parameters that it takes: from a request to the work of a query.

Owns the paths and the parameters; `openapi` describes what stands in `ROUTES`. Work runs in a thread and puts items
into a feed: nothing here reads the store on the event loop.
"""

import contextlib
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Any, Final

from starlette.requests import Request
from starlette.types import ASGIApp

from logferry import __version__
from logferry.console.api.answers import Form, QueryAnswer, Work, item, problem
from logferry.console.api.lines import of_gap, of_line, of_value
from logferry.console.api.parameters import QUERY_NAMES, BadParameter, Parameters
from logferry.console.levels import LEVEL_CLASSES
from logferry.console.queries.feed import Feed
from logferry.console.queries.queries import Queries
from logferry.console.source import FileCheck, Followed, Line, Query, Source, Stop, Stopped, UnknownPlace
from logferry.reading.counting.statistics import By
from logferry.reading.query.records import utc

PREFIX: Final = "/api/v1"

# What one answer holds at most, in bytes of JSON: the page asks for the next part.
_MAX_ANSWER_BYTES: Final = 16 * 1024 * 1024
_MAX_CONTEXT: Final = 500
_MAX_BUCKETS: Final = 500
_DEFAULT_LINES: Final = 500
_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 24 * _HOUR_MS

# How long a bucket of the histogram may be: what people count by.
_WIDTHS: Final = (
    *(number * unit for unit in (1, 10, 100) for number in (1, 2, 5)),
    *(number * unit for unit in (1000, 60_000) for number in (1, 2, 5, 10, 15, 30)),
    *(number * _HOUR_MS for number in (1, 2, 3, 6, 12, 24)),
)

Build = Callable[["Api", Parameters], Work]


@dataclass(frozen=True, slots=True)
class Route:
    """One question: its parameters, each with what it means, and how the work is made of them."""

    path: str
    summary: str
    parameters: Mapping[str, str]
    build: Build
    streams: bool = False
    is_tail: bool = False
    needs: Collection[str] = ()


class Api:
    """Answers the questions about one source."""

    def __init__(self, source: Source, queries: Queries, *, clock: Callable[[], float] = time.time) -> None:
        self.source = source
        self.queries = queries
        self.clock = clock

    def answer(self, route: Route, request: Request) -> ASGIApp:
        """Return the answer to a request."""
        try:
            parameters = Parameters(request.scope["query_string"], route.parameters)
            if route.is_tail:
                parameters.goes_on_after(request.headers.get("last-event-id", ""))
            work = route.build(self, parameters)
        except BadParameter as error:
            return problem(400, "parameter", str(error))
        accepted = request.headers.get("accept", "")
        form: Form = "events" if route.is_tail else "json"
        if route.streams and "application/x-ndjson" in accepted:
            form = "lines"
        return QueryAnswer(self.queries, work, form=form, is_tail=route.is_tail)

    def status(self, parameters: Parameters) -> Work:
        """Return what the page shows in its header."""

        def work(feed: Feed, _stop: Stop) -> None:
            hosts, proof, storage = self.source.hosts(), self.source.proof(), self.source.storage()
            feed.put(item("result", _status(hosts, proof, storage, self.clock())))

        return work

    def hosts(self, parameters: Parameters) -> Work:
        """Return all hosts."""
        return _all("hosts", self.source.hosts)

    def files(self, parameters: Parameters) -> Work:
        """Return all files."""
        return _all("files", self.source.files)

    def proof(self, parameters: Parameters) -> Work:
        """Return the proof of all files."""
        return lambda feed, _stop: feed.put(item("result", of_value(self.source.proof())))

    def statistics(self, parameters: Parameters) -> Work:
        """Return how many lines match, by what they have in common."""
        query = parameters.query(self.clock())
        by = parameters.choice("by", By.MINUTE.value, *(each.value for each in By))
        with_patterns = parameters.choice("patterns", "no", "yes", "no") == "yes"

        def work(feed: Feed, stop: Stop) -> None:
            try:
                for found in self.source.statistics(query, by=by, with_patterns=with_patterns, stop=stop):
                    feed.put(item("result", {"by": by, **of_value(found), "complete": True, "ended_by": ""}))
            except Stopped as stopped:
                feed.put(item("result", {"by": by, "complete": False, "ended_by": stopped.reason}))

        return work

    def check(self, parameters: Parameters) -> Work:
        """Compare all that is stored of one file with the ledger."""
        host, path = parameters.name("host"), parameters.name("file", may_be_empty=True)

        def work(feed: Feed, stop: Stop) -> None:
            found, ended = FileCheck(host, path), ""
            try:
                for found in self.source.check(host, path, stop=stop):
                    feed.put(item("check", of_value(found)))
            except Stopped as stopped:
                ended = stopped.reason
            feed.put(item("result", {**of_value(found), "complete": not ended, "ended_by": ended}))

        return work

    def storage(self, parameters: Parameters) -> Work:
        """Return what the store takes."""
        return lambda feed, _stop: feed.put(item("result", of_value(self.source.storage())))

    def logs(self, parameters: Parameters) -> Work:
        """Return lines that match, in the order of time."""
        query = parameters.query(self.clock())
        limit = parameters.whole("limit", _DEFAULT_LINES, 1, self.queries.limits.max_lines)
        older, newer = parameters.place("older"), parameters.place("newer")
        if older and newer:
            raise BadParameter("older and newer cannot be used together")
        order = parameters.choice("order", "newest" if not newer else "oldest", "newest", "oldest")
        if (older and order == "oldest") or (newer and order == "newest"):
            raise BadParameter("lines that are older come newest first, lines that are newer come oldest first")

        def work(feed: Feed, stop: Stop) -> None:
            found = self.source.search(query, from_place=older or newer, is_backward=order == "newest", stop=stop)
            _put_lines(feed, stop, found, limit)
            for gap in self.source.gaps(query) if not (older or newer) else ():
                feed.put(item("gap", of_gap(gap)))

        return work

    def histogram(self, parameters: Parameters) -> Work:
        """Return how many lines match in each part of a time."""
        now = self.clock()
        query = parameters.query(now)
        buckets = parameters.whole("buckets", 60, 1, _MAX_BUCKETS)

        def work(feed: Feed, stop: Stop) -> None:
            until = query.until if query.until is not None else int(now * 1000) + 1
            since = query.since if query.since is not None else self._first_time(query, stop)
            since = min(since, until - 1)
            width, count, first = _buckets(since, until, buckets)
            whole = replace(query, since=since, until=until)
            head = {"since": utc(first), "until": utc(until), "bucket_ms": width, "levels": LEVEL_CLASSES}
            rows: Sequence[Sequence[int]] = ()
            ended = ""
            try:
                for counts in self.source.counts(whole, since=first, bucket_ms=width, buckets=count, stop=stop):
                    rows = counts.rows
                    feed.put(item("counts", {**head, "counts": rows}))
            except Stopped as stopped:
                ended = stopped.reason
            for gap in self.source.gaps(whole):
                feed.put(item("gap", of_gap(gap)))
            total = sum(sum(row[1:]) for row in rows)
            feed.put(item("end", {**head, "counts": rows, "total": total, **_looked(stop, ended)}))

        return work

    def _first_time(self, query: Query, stop: Stop) -> int:
        """Return when the first line that matches happened, which may be long before it was received."""
        found = self.source.search(query, from_place="", is_backward=False, stop=stop)
        try:
            first = next(found, None)
        except Stopped:
            first = None
        return first.time if first else int(self.clock() * 1000) - _HOUR_MS

    def context(self, parameters: Parameters) -> Work:
        """Return the lines around one of a file."""
        place = parameters.place("place", is_needed=True)
        before = parameters.whole("before", 20, 0, _MAX_CONTEXT)
        after = parameters.whole("after", 20, 0, _MAX_CONTEXT)

        def work(feed: Feed, stop: Stop) -> None:
            found = self.source.context(place, before=before, after=after, stop=stop)
            feed.put(item("result", {"place": place, "lines": [of_line(line) for line in found]}))

        return work

    def tail(self, parameters: Parameters) -> Work:
        """Return lines as they are stored."""
        query = replace(parameters.query(self.clock()), since=None, until=None)
        after = parameters.after

        def work(feed: Feed, stop: Stop) -> None:
            is_known, found = self._followed(query, after, stop)
            for number, (line, bookmark) in enumerate(found):
                if line is not None:
                    feed.put(item("line", of_line(line), bookmark))
                elif number == 0:
                    feed.put(item("begin", {"goes_on": is_known} if after else {}, bookmark))
                else:
                    feed.drop_from_now_on()

        return work

    def _followed(self, query: Query, after: str, stop: Stop) -> tuple[bool, Iterator[Followed]]:
        """Return what comes after a bookmark, or else from now on, and whether the bookmark is known."""
        if after:
            found = self.source.follow(query, after=after, stop=stop)
            with contextlib.suppress(UnknownPlace):
                return True, chain([next(found)], found)
        return False, self.source.follow(query, after="", stop=stop)

    def raw(self, parameters: Parameters) -> Work:
        """Return the stored bytes of a line, as text with escapes and as hexadecimal digits."""
        place = parameters.place("place", is_needed=True)

        def work(feed: Feed, stop: Stop) -> None:
            content = self.source.raw(place, stop=stop)
            text = content.decode("utf-8", "backslashreplace")
            feed.put(item("result", {"place": place, "bytes": len(content), "text": text}))

        return work


def _buckets(since: int, until: int, most: int) -> tuple[int, int, int]:
    """Return how long buckets are, how many there are, and where the first one begins: at a whole number of them."""
    least = -(-(until - since) // most)
    for width in (*_WIDTHS, *(days * _DAY_MS for days in (7, 30, 365, 3650, 36_500, 365_000, 3_650_000))):
        first = since - since % width
        count = -(-(until - first) // width)
        if width >= least and count <= most + 1:
            break
    return width, count, first


def _all(name: str, read: Callable[[], Sequence[object]]) -> Work:
    return lambda feed, _stop: feed.put(item("result", {name: of_value(list(read()))}))


def _put_lines(feed: Feed, stop: Stop, found: Iterator[Line], limit: int) -> None:
    """Put lines into a feed, up to the limits, and then what the reader needs to ask for the next ones."""
    count = size = 0
    first = last = ended = ""
    try:
        for line in islice(found, limit + 1):
            if count == limit or size > _MAX_ANSWER_BYTES:
                ended = "lines" if count == limit else "answer"
                break
            one = item("line", of_line(line))
            first, last = first or line.place, line.place
            count, size = count + 1, size + len(one)
            if not feed.put(one):
                return
    except Stopped as stopped:
        ended = stopped.reason
    feed.put(item("end", {"first": first, "last": last, "has_more": bool(ended), **_looked(stop, ended)}))


def _looked(stop: Stop, ended: str) -> dict[str, Any]:
    return {
        "complete": ended in ("", "lines"),
        "ended_by": ended,
        "bytes_read": stop.bytes_read,
        "lines_read": stop.lines_read,
    }


def _status(hosts: Sequence[Any], proof: Any, storage: Any, now: float) -> dict[str, Any]:
    last = [host.last_received for host in hosts if host.last_received is not None]
    return {
        "version": __version__,
        "now": utc(int(now * 1000)),
        "hosts": len(hosts),
        "files": sum(host.files for host in hosts),
        "lines": sum(host.lines for host in hosts),
        "last_received": utc(max(last, default=None)),
        "bytes": proof.bytes,
        "checked_bytes": proof.checked_bytes,
        "oldest_check": utc(proof.oldest_check),
        "newest_check": utc(proof.newest_check),
        "damaged": proof.damaged,
        "lost": proof.lost,
        "unknown": proof.unknown,
        "missing_bytes": proof.missing_bytes,
        "repeated_bytes": proof.repeated_bytes,
        "disk_bytes": storage.disk_bytes,
        "disk_free": storage.disk_free,
    }


_SEARCH: Final[Mapping[str, str]] = {
    "q": 'what lines contain: text "exact" -without /regex/ level:error host:web-* file:app.log',
    "host": "patterns of hosts, separated by commas",
    "file": "patterns of files, separated by commas: the name, or the whole path if there is a slash",
    "level": "levels, separated by commas: error (also FATAL, CRITICAL ...), warn, info, debug, other, or a name",
    "since": "the earliest time: 15m, 1h, 09:00, today, 2026-01-15T08:00, RFC 3339",
    "until": "the time before which lines must be",
}
assert set(_SEARCH) == set(QUERY_NAMES)

_PLACE: Final = {"place": "the place of a line, as answers name it"}

ROUTES: Final = (
    Route("/status", "The numbers of the page's header", {}, Api.status),
    Route("/hosts", "All hosts, with what their clients last said", {}, Api.hosts),
    Route(
        "/stats",
        "How many lines match, by what they have in common",
        {
            **_SEARCH,
            "by": f"what: {', '.join(each.value for each in By)}",
            "patterns": "yes: with the most frequent patterns of their messages",
        },
        Api.statistics,
    ),
    Route("/files", "All files of all hosts", {}, Api.files),
    Route(
        "/logs",
        "Lines that match, newest first; with `newer`, or order=oldest, oldest first",
        {
            **_SEARCH,
            "limit": "at most this many lines (500)",
            "order": "newest or oldest",
            "older": "only lines before this place, newest first: `last` of the answer before",
            "newer": "only lines after this place, oldest first",
        },
        Api.logs,
        streams=True,
    ),
    Route(
        "/histogram",
        "How many lines match in each part of a time, by the classes of levels",
        {**_SEARCH, "buckets": "at most about this many parts (60, at most 500)"},
        Api.histogram,
        streams=True,
    ),
    Route(
        "/context",
        "A line and those around it in its file",
        {**_PLACE, "before": "lines before it (20, at most 500)", "after": "lines after it"},
        Api.context,
        needs=("place",),
    ),
    Route("/raw", "The stored bytes of a line", _PLACE, Api.raw, needs=("place",)),
    Route(
        "/tail",
        "Lines as they are stored, as Server-Sent Events; with the header Last-Event-ID, those after that event",
        _SEARCH,
        Api.tail,
        is_tail=True,
    ),
    Route("/proof", "What is known of the completeness of each file", {}, Api.proof),
    Route(
        "/check",
        "Reads all that is stored of one file, and compares it with the ledger",
        {"host": "the host, exactly", "file": "the path of the file, exactly; none for lines of the plain protocol"},
        Api.check,
        streams=True,
        needs=("host",),
    ),
    Route("/storage", "What the store takes on its disk, by host and day", {}, Api.storage),
)
