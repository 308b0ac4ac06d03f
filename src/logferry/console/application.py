"""The console as an ASGI application: the page, its API, and what guards both.

Owns which path is answered by what. An unknown path is answered like any other error.
"""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from logferry.console.access import Access, Hosts
from logferry.console.api.answers import as_json, problem
from logferry.console.api.openapi import description
from logferry.console.api.routes import PREFIX, ROUTES, Api
from logferry.console.queries.queries import Queries
from logferry.console.source import Source
from logferry.console.static_files import StaticFiles

_ROUTES: Final = {PREFIX + route.path: route for route in ROUTES}
_DESCRIPTION: Final = f"{PREFIX}/openapi.json"


def application(source: Source, queries: Queries, *, hosts: Hosts, token: str | None) -> ASGIApp:
    """Return the application."""
    return Access(_Router(Api(source, queries)), hosts=hosts, token=token)


class _Router:
    """Finds what answers a path."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._files = StaticFiles()
        self._description = as_json(description())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        await self._answer(Request(scope))(scope, receive, send)

    def _answer(self, request: Request) -> ASGIApp:
        path = request.url.path
        if path == _DESCRIPTION:
            return Response(self._description, media_type="application/json")
        if route := _ROUTES.get(path):
            return self._api.answer(route, request)
        return self._files.answer(request) or problem(
            404, "path", "not found: the page is at /, and /api/ describes the API"
        )
