"""The server: from sockets, through connections and their sessions (clients/), to the disk (storage/)."""

from logferry.server.clients.patience import Patience
from logferry.server.server import Replacements, Server, serve
from logferry.server.status import ServerStats

__all__ = ["Patience", "Replacements", "Server", "ServerStats", "serve"]
