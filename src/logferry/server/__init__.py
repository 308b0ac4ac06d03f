"""From socket to disk: the server, its connections and their sessions (clients/), and its store (storage/)."""

from logferry.server.clients.patience import Patience
from logferry.server.server import Replacements, Server, serve
from logferry.server.status import ServerStats

__all__ = ["Patience", "Replacements", "Server", "ServerStats", "serve"]
