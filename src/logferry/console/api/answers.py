"""Answers of the API: one JSON object, a stream of JSON lines, or Server-Sent Events; and errors, which all look the
same.

Owns how an item of a query becomes part of each form, and that an answer ends, and its query with it, as soon as its
reader has gone or takes nothing any more. Work puts items into its feed with `item`; the kinds are `line`, `gap`,
`counts` and `end`, or one `result` that is all of the answer.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Literal

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from logferry.console.queries.feed import Feed
from logferry.console.queries.queries import Busy, CannotAsk, CannotRead, NotThere, Queries, Running
from logferry.console.source import Stop
from logferry.printable import printable

Form = Literal["json", "lines", "events"]
Work = Callable[[Feed, Stop], object]

# How often a stream says how far its query has come, and an idle tail that it is there.
_PROGRESS_S: Final = 0.2
_HEARTBEAT_S: Final = 10.0

# A reader that takes nothing for so long has its connection ended.
_STALLED_S: Final = 30.0
_STALLED_TAIL_S: Final = 300.0

_TYPES: Final[Mapping[str, str]] = {
    "json": "application/json",
    "lines": "application/x-ndjson",
    "events": "text/event-stream; charset=utf-8",
}


def as_json(value: object) -> bytes:
    """Return JSON in ASCII: escapes stand for whatever a log may hold."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def item(kind: str, value: object, bookmark: str = "") -> bytes:
    """Return an item for a feed. With a bookmark, a reader of events may go on behind it."""
    return f"{kind} {bookmark}".rstrip().encode() + b"\0" + as_json(value)


def problem(status: int, code: str, sentence: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return an error: `code` is for programs, the sentence for people."""
    return Response(_problem(code, sentence), status, headers, "application/json")


def _problem(code: str, sentence: str) -> bytes:
    return as_json({"error": {"code": code, "message": printable(sentence, max_chars=1000)}})


class QueryAnswer:
    """The answer to a question, made by a query in a thread while it is sent."""

    def __init__(self, queries: Queries, work: Work, *, form: Form = "json", is_tail: bool = False) -> None:
        self._queries = queries
        self._work = work
        self._form: Form = form
        self._is_tail = is_tail

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        try:
            async with self._queries.run(self._work, is_tail=self._is_tail) as running, _while_read(receive, running):
                sending = _Sending(send, running, self._form, is_tail=self._is_tail)
                await (sending.whole() if self._form == "json" else sending.stream())
                failure = sending.failure
        except Busy:
            failure = problem(
                503, "busy", "too many queries run at the moment: try again in a few seconds", {"retry-after": "3"}
            )
        if failure is not None:
            await failure(scope, receive, send)


@asynccontextmanager
async def _while_read(receive: Receive, running: Running) -> AsyncIterator[None]:
    """End the query when its reader has gone."""

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        running.stop.close()
        running.feed.close()
        running.feed.end()

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching


class _Sending:
    """One answer that is sent. `failure` is what must be answered instead."""

    def __init__(self, send: Send, running: Running, form: Form, *, is_tail: bool) -> None:
        self._send = send
        self._running = running
        self._form: Form = form
        self._is_tail = is_tail
        self._has_begun = False
        self._began = time.monotonic()
        self.failure: ASGIApp | None = None

    async def whole(self) -> None:
        """Send one object, once all is known."""
        parts: dict[bytes, list[bytes]] = {}
        async for taken, _ in self._taken(3600.0):
            for kind, text in taken:
                parts.setdefault(kind, []).append(text)
        if self.failure is None:
            await self._body(_joined(parts), is_last=True)

    async def stream(self) -> None:
        """Send items as they come, and between them how far the query is."""
        quiet_s = _HEARTBEAT_S if self._is_tail else _PROGRESS_S
        async for taken, left_out in self._taken(quiet_s):
            texts = [self._formed(kind, text) for kind, text in taken]
            if left_out:
                texts.insert(0, self._formed(b"left_out", as_json({"lines": left_out})))
            if not self._is_tail:
                texts.append(self._formed(b"progress", as_json(self._progress())))
            await self._body(b"".join(texts) or b": here\n\n")
        if self.failure is None or self._has_begun:
            await self._body(b"", is_last=True)

    async def _taken(self, quiet_s: float) -> AsyncIterator[tuple[Iterator[tuple[bytes, bytes]], int]]:
        """Yield what the query has put into its feed, until its end. What it has failed with is the last item."""
        is_end = False
        while not is_end:
            items, left_out, is_end = await self._running.feed.take(quiet_s)
            if is_end:
                items += (await self._running.feed.take(0)).items
                items += self._last()
            if self.failure is None:
                yield (_split(each) for each in items), left_out

    def _last(self) -> list[bytes]:
        error = self._running.error
        if error is None:
            return []
        status, code, sentence = _explained(error)
        if not self._has_begun:
            self.failure = problem(status, code, sentence)
            return []
        return [b"error\0" + as_json({"code": code, "message": printable(sentence, max_chars=1000)})]

    def _progress(self) -> dict[str, Any]:
        stop = self._running.stop
        return {
            "bytes": stop.bytes_read,
            "lines": stop.lines_read,
            "seconds": round(time.monotonic() - self._began, 2),
        }

    def _formed(self, kind: bytes, text: bytes) -> bytes:
        return _as_event(kind, text) if self._form == "events" else b'{"%s":%s}\n' % (kind, text)

    async def _body(self, body: bytes, *, is_last: bool = False) -> None:
        """Send a part of the body; end the query if its reader does not take it."""
        stalled_s = _STALLED_TAIL_S if self._is_tail else _STALLED_S
        try:
            async with asyncio.timeout(stalled_s):
                if not self._has_begun:
                    self._has_begun = True
                    headers = [(b"content-type", _TYPES[self._form].encode())]
                    if is_last:
                        headers.append((b"content-length", b"%d" % len(body)))
                    await self._send({"type": "http.response.start", "status": 200, "headers": headers})
                await self._send({"type": "http.response.body", "body": body, "more_body": not is_last})
        except TimeoutError:
            raise ConnectionAbortedError("the reader takes nothing") from None


def _as_event(kind: bytes, text: bytes) -> bytes:
    kind, _, bookmark = kind.partition(b" ")
    return b"event: %s\n%sdata: %s\n\n" % (kind, b"id: %s\n" % bookmark if bookmark else b"", text)


def _split(one: bytes) -> tuple[bytes, bytes]:
    kind, _, text = one.partition(b"\0")
    return kind, text


def _joined(parts: Mapping[bytes, list[bytes]]) -> bytes:
    """Return one object: the result, or lists of lines and gaps with what the end says."""
    if result := parts.get(b"result"):
        return result[-1]
    end = (parts.get(b"end") or [b"{}"])[-1]
    lists = [b'"%ss":[%s]' % (kind, b",".join(parts.get(kind, ()))) for kind in (b"line", b"gap")]
    rest = [end[1:-1]] if len(end) > 2 else []
    return b"{" + b",".join(lists + rest) + b"}"


def _explained(error: Exception) -> tuple[int, str, str]:
    if isinstance(error, NotThere):
        return 404, "gone", "this line is not there any more: retention has deleted it, or the place is wrong"
    if isinstance(error, CannotAsk):
        return 400, "parameter", f"q: {error}"
    if isinstance(error, CannotRead):
        return 503, "store", f"the store cannot be read: {error}"
    return 500, "bug", "the query has failed; the log of the console says why"
