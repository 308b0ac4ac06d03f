"""The settings of a store on NATS JetStream: where the servers are, and how its streams are made."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class NatsSettings:
    """`prefix` begins the names of all streams and subjects: stores with different prefixes share servers.

    `shards`, `replicas` and `max_bytes` (of all streams of lines together, 0: no limit) count only when streams are
    made. `monitors` are the addresses of the servers' HTTP monitoring, one for each node.
    """

    urls: tuple[str, ...]
    creds: Path | None = None
    tls_ca: Path | None = None
    prefix: str = "lf"
    shards: int = 8
    replicas: int = 3
    max_bytes: int = 0
    monitors: tuple[str, ...] = ()
    request_timeout_s: float = 5.0
    first_retry_s: float = 0.1
