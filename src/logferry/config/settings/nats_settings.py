"""Where a store on NATS JetStream is, as options that several commands share (docs/cluster.md)."""

import re
from pathlib import Path
from typing import Annotated, Final, TypeAlias

from logferry.config.kinds.kinds import PATH, Kind, any_number, whole, word_or
from logferry.config.kinds.units import TIB, size
from logferry.config.options import Declaration, Group

_URL: Final = re.compile(r"(?:nats|tls)://(?:[^\s/@,]+@)?[^\s/@,]+", re.ASCII)
_MONITOR: Final = re.compile(r"https?://(?:[^\s/@,]+@)?[^\s/@,]+/?", re.ASCII)
_PREFIX: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}")


def _matching(pattern: "re.Pattern[str]", allowed: str) -> Kind:
    def parse(text: str) -> str:
        if not pattern.fullmatch(text.strip()):
            raise ValueError
        return text.strip()

    return Kind(parse, allowed)


Nats: TypeAlias = Annotated[
    tuple[str, ...],
    Declaration(
        any_number(_matching(_URL, "a URL"), ",", "URLs such as nats://10.0.0.1:4222, with commas between them"),
        "none",
        "the NATS servers of --store nats, as nats://a:4222,nats://b:4222; tls:// for TLS",
        Group.CLUSTER,
    ),
]
NatsCreds: TypeAlias = Annotated[
    Path | None,
    Declaration(word_or("none", PATH), "none", "a file with credentials for NATS (.creds)", Group.CLUSTER),
]
NatsTlsCa: TypeAlias = Annotated[
    Path | None,
    Declaration(
        word_or("none", PATH),
        "none",
        "certificates in PEM of the authorities that issue those of the NATS servers; none = the system's",
        Group.CLUSTER,
    ),
]
NatsPrefix: TypeAlias = Annotated[
    str,
    Declaration(
        _matching(_PREFIX, "a letter from a to z, then at most 31 of a-z, 0-9, _ and -"),
        "lf",
        "begins the names of the store's streams and subjects in NATS",
        Group.CLUSTER,
    ),
]
NatsShards: TypeAlias = Annotated[
    int,
    Declaration(
        whole(1, 256),
        "8",
        "how many streams a new store divides its sources among; a store that exists keeps its number",
        Group.CLUSTER,
    ),
]
NatsReplicas: TypeAlias = Annotated[
    int,
    Declaration(whole(1, 5), "3", "on how many NATS servers each stream is kept, when it is made", Group.CLUSTER),
]
NatsMaxBytes: TypeAlias = Annotated[
    int,
    Declaration(
        size(0, 1024 * TIB),
        "0",
        "the most bytes that the streams of a new store take together, on each of their servers: then acks wait; "
        "0 = no limit",
        Group.CLUSTER,
    ),
]
NatsMonitor: TypeAlias = Annotated[
    tuple[str, ...],
    Declaration(
        any_number(_matching(_MONITOR, "a URL"), ",", "URLs such as http://10.0.0.1:8222, with commas between them"),
        "none",
        "the monitoring addresses of all NATS servers, which say whether each syncs before an ack",
        Group.CLUSTER,
    ),
]
