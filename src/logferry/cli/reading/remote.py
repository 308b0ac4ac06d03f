"""Lines from a console: `logferry logs --url` asks its API (/api/v1) instead of reading a data folder.

Everything that a console answers is hostile: sizes are bounded, and values are checked before they become lines. Prints
nothing.
"""

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from logferry.errors import ConfigError, LogferryError, cause_of
from logferry.printable import printable, quoted
from logferry.reading.query.found import FoundLine
from logferry.reading.query.records import Record
from logferry.reading.query.selection import Selection
from logferry.reading.stored import Log, Place, Received, place_at

_PAGE_LINES: Final = 250  # a console may allow no more than some hundred
_MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
_MAX_EVENT_BYTES: Final = 32 * 1024 * 1024
_TIMEOUT_S: Final = 120.0


class Console:
    """The API of one console. Every call may raise LogferryError."""

    def __init__(self, url: str, token_file: str | None, selection: Selection) -> None:
        """Raises ConfigError if the URL, or what is selected, cannot be used."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ConfigError([f"--url: {quoted(url, max_chars=100)} must be a URL such as http://127.0.0.1:9080"])
        self._base = url.rstrip("/").removesuffix("/api/v1") + "/api/v1"
        self._question = _question(selection)
        self._headers = {"accept": "application/json"}
        if token_file:
            try:
                token = Path(token_file).read_text(encoding="ascii").strip()
            except (OSError, ValueError) as error:
                raise ConfigError([f"--token-file: {cause_of(error, with_path=True)}"]) from None  # type: ignore[arg-type]
            self._headers["authorization"] = f"Bearer {token}"
        self.problem = ""  # why an answer is not complete

    def lines(self, limit: int | None, *, newest_first: bool) -> Iterator[FoundLine]:
        """Yield lines by time, at most `limit`, a page at a time."""
        order, goes_on = ("newest", "older") if newest_first else ("oldest", "newer")
        place, left = "", limit
        while left is None or left > 0:
            size = _PAGE_LINES if left is None else min(left, _PAGE_LINES)
            more = {"order": order, "limit": str(size), **({goes_on: place} if place else {})}
            answer = self._answer("/logs", more)
            found = answer.get("lines")
            for each in found if isinstance(found, list) else ():
                yield _line(each)
                left = None if left is None else left - 1
            if answer.get("complete") is False:
                self.problem = f"the console ended the search by its limits ({printable(str(answer.get('ended_by')))})"
            place = str(answer.get("last") or "")
            if not answer.get("has_more") or not place or not found:
                return

    def follow(self) -> Iterator[FoundLine | None]:
        """Yield lines as they are stored; None once the console has begun, and again while nothing comes."""
        with self._opened("/tail", {}, accept="text/event-stream") as stream:
            event = b""
            while text := stream.readline(_MAX_EVENT_BYTES):
                if text.startswith(b"event:"):
                    event = text[6:].strip()
                elif text.startswith(b"data:") and event == b"line":
                    yield _line(_parsed(text[5:]))
                elif not text.strip():
                    yield None
        raise LogferryError(f"{printable(self._base)} has ended the connection")

    def _answer(self, path: str, more: Mapping[str, str]) -> dict[str, Any]:
        with self._opened(path, more) as stream:
            data = stream.read(_MAX_ANSWER_BYTES + 1)
        if len(data) > _MAX_ANSWER_BYTES:
            raise LogferryError(f"{printable(self._base)} has sent an answer that is too long")
        return _parsed(data)

    def _opened(self, path: str, more: Mapping[str, str], *, accept: str = "") -> Any:
        headers = {**self._headers, **({"accept": accept} if accept else {})}
        question = {name: text for name, text in {**self._question, **more}.items() if text}
        request = urllib.request.Request(f"{self._base}{path}?{urlencode(question)}", headers=headers)
        try:
            return urllib.request.urlopen(request, timeout=_TIMEOUT_S)
        except urllib.error.HTTPError as error:
            raise LogferryError(f"the console refuses: {_refusal(error)}") from None
        except (OSError, ValueError) as error:
            raise LogferryError(f"cannot ask {printable(self._base)}: {printable(str(error))}") from None


def _question(selection: Selection) -> dict[str, str]:
    """Return the parameters for a selection. Patterns and texts become words of the console's search."""
    texts = [re.escape(text).replace("/", "\\/") for text in selection.texts]
    if selection.regex:
        texts.append(re.sub(r"(?<!\\)/", r"\\/", selection.regex.pattern))
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


def _refusal(error: urllib.error.HTTPError) -> str:
    try:
        found = json.loads(error.read(65536))
        return printable(str(found["error"]["message"]), max_chars=500)
    except (OSError, ValueError, KeyError, TypeError):
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
