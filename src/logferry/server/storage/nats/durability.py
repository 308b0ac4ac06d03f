"""How durable an ack of JetStream is: on every disk, on several machines, or handed to a kernel.

Asks the servers' HTTP monitoring (`/jsz`), since nothing else says. Says only what every node has said: with a node
that was not asked, `fsync` is not promised.
"""

import json
import logging
import urllib.request
from collections.abc import Sequence
from typing import Any, Final

from logferry.server.storage.nats.connection import shown

logger = logging.getLogger(__name__)

_TIMEOUT_S: Final = 2.0
_MOST_BYTES: Final = 1024 * 1024


def durability(monitors: Sequence[str], replicas: int) -> str:
    """Return "fsync" if all nodes sync each message before its ack, else "replicated", or "os" with a single copy."""
    otherwise = "replicated" if replicas > 1 else "os"
    syncing = set()
    for monitor in monitors:
        told = ask(monitor, "/jsz?config=1")
        config = told.get("config")
        if not isinstance(config, dict) or config.get("sync_always") is not True:
            why = "does not say how it syncs" if not told else "syncs now and then: set sync_interval: always there"
            logger.warning("the NATS server at %s %s; acks promise %s", shown([monitor]), why, otherwise)
            return otherwise
        syncing.add(told.get("server_id"))
    if len(syncing) < replicas:
        if monitors:
            logger.warning(
                *("--nats-monitor names %d of at least %d nodes; acks promise %s", len(syncing), replicas, otherwise)
            )
        return otherwise
    return "fsync"


def ask(monitor: str, path: str) -> dict[str, Any]:
    """Return what a server reports about itself, nothing if it does not answer."""
    try:
        with urllib.request.urlopen(monitor.rstrip("/") + path, timeout=_TIMEOUT_S) as answer:
            told = json.loads(answer.read(_MOST_BYTES))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}
