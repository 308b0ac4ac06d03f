"""The description of the API in OpenAPI 3.1, made of the routes themselves.

Owns nothing but the form. Never describes what no route has.
"""

from typing import Any, Final

from logferry import __version__
from logferry.console.api.routes import PREFIX, ROUTES, Route

_ERRORS: Final = {
    "400": "a parameter is wrong",
    "401": "a token is needed, or wrong",
    "404": "the line is not there any more",
    "429": "too many wrong tokens",
    "503": "too many queries run, or the store cannot be read",
}
_WHOLE: Final = ("limit", "buckets", "before", "after")


def description() -> dict[str, Any]:
    """Return the description as an object of JSON."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Logferry console",
            "version": __version__,
            "description": "Looks at what a Logferry server has stored. Every question only reads. Errors are "
            '{"error": {"code": ..., "message": ...}}. With `Accept: application/x-ndjson`, /logs and /histogram '
            "answer with an object a line, while they search: line, gap, counts, progress, end.",
        },
        "paths": {PREFIX + route.path: {"get": _operation(route)} for route in ROUTES},
        "components": {
            "schemas": {"Error": _object({"error": _object({"code": _STRING, "message": _STRING})})},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


_STRING: Final = {"type": "string"}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _operation(route: Route) -> dict[str, Any]:
    types = ["text/event-stream"] if route.is_tail else ["application/json"]
    if route.streams:
        types.append("application/x-ndjson")
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {
        "operationId": route.path[1:],
        "summary": route.summary,
        "parameters": [
            _parameter(name, meaning, is_needed=name in route.needs) for name, meaning in route.parameters.items()
        ],
        "responses": {
            "200": {"description": route.summary, "content": {each: {} for each in types}},
            **{status: {"description": meaning, "content": error} for status, meaning in _ERRORS.items()},
        },
    }


def _parameter(name: str, meaning: str, *, is_needed: bool) -> dict[str, Any]:
    return {
        "name": name,
        "in": "query",
        "required": is_needed,
        "description": meaning,
        "schema": {"type": "integer"} if name in _WHOLE else _STRING,
    }
