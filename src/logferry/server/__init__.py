"""The server: from sockets, through connections and their sessions (clients/), to the disk (storage/).

Names are imported on first use: commands that only read a ledger need not wait for the rest of the server.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from logferry.server.clients.connection.patience import Patience
    from logferry.server.server import Replacements, Server, serve
    from logferry.server.status import ServerStats
else:
    _MODULES = {
        "Patience": "clients.connection.patience",
        "ServerStats": "status",
        **dict.fromkeys(("Replacements", "Server", "serve"), "server"),
    }

    def __getattr__(name: str) -> object:
        """Import a name from its module (PEP 562)."""
        from importlib import import_module

        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


__all__ = ["Patience", "Replacements", "Server", "ServerStats", "serve"]
