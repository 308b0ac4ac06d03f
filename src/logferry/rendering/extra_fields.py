"""Adds the extra fields of a source to each of its records (`--field`, `--add-host` ...)."""

import json
from collections.abc import Mapping

from logferry.model.render_spec import RESERVED_KEYS
from logferry.rendering.engine.escape import to_json


class ExtraFields:
    """Appends the same fields to every record of a chunk, and never replaces a field that a record already has."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        """Raises ValueError if the name of a field is reserved for the renderer."""
        for name in fields:
            if name in RESERVED_KEYS:
                raise ValueError(f"a field cannot be called {name!r}: this name is reserved")
        self._fields = dict(fields)
        self._ending = _ending(self._fields)
        self._keys = [to_json(name).encode() for name in fields]

    def add_to(self, payload: bytes) -> bytes:
        """Return NDJSON with the fields at the end of each record."""
        if any(key in payload for key in self._keys):
            return b"".join(self._added_to_one(record + b"\n") for record in payload.split(b"\n")[:-1])
        return payload.replace(b"}\n", self._ending)  # a record has a newline only at its end

    def _added_to_one(self, record: bytes) -> bytes:
        """Do the same for one record, which keeps those of the fields that it already has."""
        if not any(key in record for key in self._keys):
            return record[: -len(b"}\n")] + self._ending
        own = json.loads(record, parse_int=float)
        fields = {name: value for name, value in self._fields.items() if name not in own}
        return record[: -len(b"}\n")] + _ending(fields)


def _ending(fields: Mapping[str, str]) -> bytes:
    """Return the end of a record whose last fields are `fields`."""
    if not fields:
        return b"}\n"
    return f", {to_json(fields)[1:]}\n".encode()
