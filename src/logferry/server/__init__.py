"""From socket to disk.

Connections (server.py, peer.py) talk by one of two protocols (conversation.py, delivery_conversation.py). One writer
thread (store.py) decides what is stored (sources.py), keeps it (segments.py, files.py) and says so (ledger.py). What
happens before and after: recovery.py, retention.py; what looks at it from beside: fsck.py.
"""

from logferry.server.server import Patience, Server, ServerStats, serve

__all__ = ["Patience", "Server", "ServerStats", "serve"]
