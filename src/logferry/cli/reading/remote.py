"""What a console answers: with `--url`, commands ask its API (/api/v1) instead of reading a data folder.

Everything that a console answers is hostile: sizes are bounded, and values are checked before they become lines. Prints
nothing.
"""

import http.client
import json
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from logferry.errors import ConfigError, LogferryError, cause_of
from logferry.printable import printable, quoted
from logferry.reading.counting.hosts import Host
from logferry.reading.counting.statistics import By, Row, Statistics
from logferry.reading.query.found import FoundLine
from logferry.reading.query.records import Record
from logferry.reading.query.selection import Selection
from logferry.reading.stored import Log, Looked, Place, Received, place_at

_PAGE_LINES: Final = 250  # a console may allow no more than some hundred
_MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
_MAX_EVENT_BYTES: Final = 32 * 1024 * 1024
_TIMEOUT_S: Final = 120.0

# A tail that is quiet has a sign of life every ten seconds.
_QUIET_S: Final = 40.0
_RETRY_S: Final = 1.0

# What comes of a connection that ends, and of an answer that is not HTTP.
_BROKEN: Final = (OSError, http.client.HTTPException)

_is_id: Final = re.compile(rb"[!-~]{1,8192}").fullmatch


class Console:
    """The API of one console. Every call may raise LogferryError."""

    def __init__(self, given: Mapping[str, Any], selection: Selection) -> None:
        """Ask what the flags `--url` and those beside it say. Raises ConfigError if one of them cannot be used."""
        url, token_file = given["url"], given.get("token_file")
        if given.get("data_dir"):
            raise ConfigError(["--url cannot be used with --data-dir: a console has its own"])
        self._opener = urllib.request.build_opener(_NoRedirects, *_https(given))
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ConfigError([f"--url: {quoted(url, max_chars=100)} must be a URL such as http://127.0.0.1:9080"])
        self._base = url.rstrip("/").removesuffix("/api/v1") + "/api/v1"
        self._question = _question(selection)
        self._headers: dict[str, str] = {}
        if token_file:
            try:
                token = Path(token_file).read_text(encoding="ascii").strip()
            except (OSError, ValueError) as error:
                raise ConfigError([f"--token-file: {cause_of(error, with_path=True)}"]) from None  # type: ignore[arg-type]
            self._headers["authorization"] = f"Bearer {token}"
        self.problem = ""  # why an answer is not complete
        self.trouble = ""  # of a tail, now

    def lines(self, limit: int | None, *, newest_first: bool) -> Iterator[FoundLine]:
        """Yield lines by time, at most `limit`, a page at a time."""
        order, goes_on = ("newest", "older") if newest_first else ("oldest", "newer")
        place, left = "", limit
        while left is None or left > 0:
            size = _PAGE_LINES if left is None else min(left, _PAGE_LINES)
            more = {"order": order, "limit": str(size), **({goes_on: place} if place else {})}
            answer = self._answer("/logs", {**self._question, **more})
            found = answer.get("lines")
            for each in found if isinstance(found, list) else ():
                yield _line(each)
                left = None if left is None else left - 1
            if answer.get("complete") is False:
                self.problem = f"the console ended the search by its limits ({printable(str(answer.get('ended_by')))})"
            before, place = place, str(answer.get("last") or "")
            if not answer.get("has_more") or not place or not found:
                return
            if place == before:
                raise LogferryError(f"{printable(self._base)} shows the same page again and again")

    def hosts(self) -> list[Host]:
        """Return the hosts that the console knows, by name."""
        return [_host(each) for each in _objects(self._answer("/hosts", {}).get("hosts"))]

    def logs(self) -> list[Log]:
        """Return the logs that the console knows."""
        found = self._answer("/files", {}).get("files")
        names = [(_text(each, "host"), _text(each, "file")) for each in _objects(found)]
        return [Log(f"{host}\0{path}", host, path) for host, path in names]

    def statistics(self, by: By, *, with_patterns: bool) -> tuple[Statistics, Looked]:
        """Return how many lines match, and what the console has looked at. `problem` says what ended it early."""
        more = {**self._question, "by": by.value, "patterns": "yes" if with_patterns else "no"}
        found = self._answer("/stats", more)
        if found.get("complete") is not True:
            ended_by = printable(str(found.get("ended_by")))
            raise LogferryError(f"the console ended the count by its limits ({ended_by}): choose a shorter time")
        rows = [row for each in _objects(found.get("rows")) if (row := _row(each, by)) is not None]
        looked = Looked()
        looked.bytes, looked.logs, looked.unreadable = (
            _number(found, name) for name in ("bytes", "logs", "unreadable")
        )
        looked.problem = _text(found, "problem")
        return Statistics(by, rows, _number(found, "lines"), _number(found, "missed")), looked

    def follow(self, wait: Callable[[float], object] = time.sleep) -> Iterator[FoundLine | None]:
        """Yield lines as they are stored; None once the console has begun, and again while nothing comes.

        A connection that ends is made anew, and goes on behind the last line. `trouble` says why nothing comes, or what
        may be missing.
        """
        has_begun, last = False, ""
        while True:
            try:
                for kind, number, value in self._events(last):
                    if kind == b"begin":
                        self._note_begin(value, is_again=has_begun)
                        has_begun = True
                    elif kind == b"left_out":
                        if last:
                            wait(_RETRY_S)  # or a console that leaves out everything is asked all the time
                            break  # all of it is stored: it comes from behind the last line
                        self.trouble = f"the console left out {value.get('lines')!r} lines: they came too fast"
                    last = number or last
                    yield _line(value) if kind == b"line" else None
            except LogferryError as error:
                if not has_begun:
                    raise
                self.trouble = f"{error}; trying again"
                yield None
                wait(_RETRY_S)

    def _note_begin(self, value: Mapping[str, Any], *, is_again: bool) -> None:
        is_whole = not is_again or value.get("goes_on") is True
        self.trouble = "" if is_whole else "the console cannot go on where it was: lines may be missing here"

    def _events(self, last: str) -> Iterator[tuple[bytes, str, dict[str, Any]]]:
        """Yield kind, id and value of what the tail sends; a value without a kind is a sign of life."""
        more = {"last-event-id": last} if last else {}
        with self._opened("/tail", self._question, accept="text/event-stream", timeout_s=_QUIET_S, more=more) as stream:
            event, number = b"", ""
            try:
                while text := stream.readline(_MAX_EVENT_BYTES):
                    name, _, value = text.rstrip(b"\r\n").partition(b": ")
                    if name == b"event":
                        event, number = value, ""
                    elif name == b"id":
                        number = value.decode("latin-1") if _is_id(value) else ""
                    elif name == b"data":
                        yield event, number, _parsed(value)
                    elif not value:
                        yield b"", "", {}
            except _BROKEN as error:
                raise LogferryError(f"{printable(self._base)} is gone: {_why(error)}") from None
        raise LogferryError(f"{printable(self._base)} has ended the connection")

    def _answer(self, path: str, more: Mapping[str, str]) -> dict[str, Any]:
        try:
            with self._opened(path, more) as stream:
                data = stream.read(_MAX_ANSWER_BYTES + 1)
        except _BROKEN as error:
            raise LogferryError(f"cannot ask {printable(self._base)}: {_why(error)}") from None
        if len(data) > _MAX_ANSWER_BYTES:
            raise LogferryError(f"{printable(self._base)} has sent an answer that is too long")
        return _parsed(data)

    def _opened(
        self,
        path: str,
        parameters: Mapping[str, str],
        *,
        accept: str = "application/json",
        timeout_s: float = _TIMEOUT_S,
        more: Mapping[str, str] | None = None,
    ) -> Any:
        headers = {**self._headers, "accept": accept, **(more or {})}
        question = {name: text for name, text in parameters.items() if text}
        request = urllib.request.Request(f"{self._base}{path}?{urlencode(question)}", headers=headers)
        try:
            return self._opener.open(request, timeout=timeout_s)
        except urllib.error.HTTPError as error:
            raise LogferryError(f"the console refuses: {_refusal(error)}") from None
        except (*_BROKEN, ValueError) as error:
            raise LogferryError(f"cannot ask {printable(self._base)}: {_why(error)}") from None


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Follows none: a console has none, and the token would go wherever it leads."""

    def redirect_request(self, *_: Any) -> None:
        """See urllib."""


def _https(given: Mapping[str, Any]) -> Iterator[urllib.request.HTTPSHandler]:
    """Yield what speaks TLS as the flags say, if they do. Raises ConfigError."""
    authorities, certificate, key = (given.get(name) for name in ("tls_ca", "tls_cert", "tls_key"))
    if key and not certificate:
        raise ConfigError(["--tls-key: there is no --tls-cert that it belongs to"])
    try:
        context = ssl.create_default_context(cafile=authorities) if authorities or certificate else None
        if context and certificate:
            context.load_cert_chain(certificate, key)
    except OSError as error:
        raise ConfigError([f"--tls-ca, --tls-cert and --tls-key: {printable(str(error))}"]) from None
    if context:
        yield urllib.request.HTTPSHandler(context=context)


def _question(selection: Selection) -> dict[str, str]:
    """Return the parameters for a selection. Patterns and texts become words of the console's search."""
    patterns = [re.escape(text) for text in selection.texts] + ([selection.regex.pattern] if selection.regex else [])
    texts = [_between_slashes(pattern) for pattern in patterns]
    if selection.inverted and len(texts) > 1:
        raise ConfigError(["-v with --url takes one --text or --grep"])
    minus = "-" if selection.inverted else ""
    since, until = (None if each is None else f"@{each / 1000:.3f}" for each in selection.span)
    return {
        "host": ",".join(selection.hosts),
        "file": ",".join(selection.files),
        "level": ",".join(sorted(level.lower() for level in selection.levels)),
        "since": since or "",
        "until": until or "",
        "q": " ".join(f"{minus}/{text}/" for text in texts),
    }


def _why(error: Exception) -> str:
    return printable(str(error) or type(error).__name__, max_chars=200)


def _between_slashes(pattern: str) -> str:
    """Return a pattern as it is written between slashes, where one in it has a backslash, and no line ends."""
    return re.sub(r"\\?\n|(\\.)|/", lambda match: match[1] or ("\\n" if match[0].endswith("\n") else "\\/"), pattern)


def _refusal(error: urllib.error.HTTPError) -> str:
    try:
        found = json.loads(error.read(65536))
        return printable(str(found["error"]["message"]), max_chars=500)
    except (*_BROKEN, ValueError, KeyError, TypeError, RecursionError):
        return f"HTTP {error.code}"


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise LogferryError("the console has sent something that is not JSON")
    return found


def _line(found: Any) -> FoundLine:
    """Return a line of an answer. Raises LogferryError."""
    if not isinstance(found, dict):
        raise LogferryError("the console has sent a line that is not one")
    fields = found.get("fields")
    fields = dict(fields) if isinstance(fields, dict) else {}
    timestamp = fields.pop("timestamp", "")
    host, path, level, message, place = (_text(found, name) for name in ("host", "file", "level", "message", "place"))
    line = FoundLine(
        Log(f"{host}\0{path}", host, path),
        _place(place),
        json.dumps({"level": level, "message": message, "timestamp": timestamp, **fields}).encode("ascii"),
        _time(found.get("time")),
        Received(None, _time(found.get("received"))),
        has_event_time=found.get("event_time") is True,
    )
    line.is_context = found.get("context") is True
    line.know(Record(level, message, timestamp if isinstance(timestamp, str) else "", fields))
    return line


def _objects(found: Any) -> list[dict[str, Any]]:
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _row(found: Mapping[str, Any], by: By) -> Row | None:
    """Return a row of counts; None for one that is not what was asked for."""
    key = found.get("key")
    if by is By.FILE:
        is_pair = isinstance(key, list) and len(key) == 2 and all(isinstance(each, str) for each in key)
        key = (key[0], key[1]) if isinstance(key, list) and is_pair else None
    elif type(key) is not (int if by.is_time else str):
        key = None
    if key is None:
        return None
    levels = found.get("levels")
    names = {name: _number(levels, name) for name in levels} if isinstance(levels, dict) else {}
    return Row(key, _number(found, "count"), _pairs(found.get("hosts")), _pairs(found.get("patterns")), names)


def _pairs(found: Any) -> list[tuple[str, int]]:
    pairs = [each for each in found if isinstance(each, list) and len(each) == 2] if isinstance(found, list) else []
    return [(text, number) for text, number in pairs if isinstance(text, str) and type(number) is int]


def _host(found: Mapping[str, Any]) -> Host:
    files, segments, lines, size = (_number(found, name) for name in ("files", "segments", "lines", "bytes"))
    first, last = (_time_or_none(found.get(name)) for name in ("first_received", "last_received"))
    return Host(_text(found, "host"), files, segments, lines, size, first, last, _client(found.get("client")))


def _client(found: Any) -> Mapping[str, Any]:
    """Return what a client said about itself; nothing for anything else."""
    if not isinstance(found, dict) or not found:
        return {}
    numbers = {name: _number(found, name) for name in ("unread_bytes", "unacked_bytes", "unacked_lines")}
    texts = {name: _text(found, name) for name in ("version", "waits_for")}
    return {"at": _time(found.get("at")), "behind_since": _time_or_none(found.get("behind_since")), **texts, **numbers}


def _number(found: Mapping[str, Any], name: str) -> int:
    value = found.get(name)
    return value if type(value) is int and 0 <= value < 1 << 63 else 0


def _time_or_none(value: Any) -> int | None:
    return _time(value) if value else None


def _place(text: str) -> Place:
    try:
        return place_at(text)
    except LogferryError:
        return Place(text, 0)


def _text(found: Mapping[str, Any], name: str) -> str:
    value = found.get(name)
    return value if isinstance(value, str) else ""


def _time(value: Any) -> int:
    try:
        return round(datetime.fromisoformat(str(value)).timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        return 0
