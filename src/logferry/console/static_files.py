"""The files of the page: a fixed list, read once from the package, answered with an ETag.

Owns which files there are. A path of a request is only ever looked up in the list, never on the disk.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

_TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_PAGES: Final = {"/": "index.html", "/api/": "openapi.html"}


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    media_type: str
    tag: str

    def answer(self, request: Request) -> Response:
        """Return the file, or that the browser has it already."""
        headers = {"etag": self.tag, "cache-control": "no-cache"}
        if request.headers.get("if-none-match") == self.tag:
            return Response(status_code=304, headers=headers)
        return Response(self.content, headers=headers, media_type=self.media_type)


class StaticFiles:
    """All files of the page, by the path of their URL."""

    def __init__(self) -> None:
        folder = resources.files("logferry.console").joinpath("static")
        files = {each.name: _file(each.name, each.read_bytes()) for each in folder.iterdir() if _type_of(each.name)}
        self._files: Mapping[str, _File] = {
            **{f"/static/{name}": file for name, file in files.items()},
            **{path: files[name] for path, name in _PAGES.items()},
        }

    def answer(self, request: Request) -> Response | None:
        """Return the file of a URL; None if there is none."""
        file = self._files.get(request.url.path)
        return file.answer(request) if file else None


def _type_of(name: str) -> str:
    return _TYPES.get(name.rpartition(".")[2], "")


def _file(name: str, content: bytes) -> _File:
    return _File(content, _type_of(name), f'"{hashlib.sha256(content).hexdigest()[:20]}"')
