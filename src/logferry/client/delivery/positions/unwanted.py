"""Up to which offset a server is not to get anything of a source, whatever it has of it.

Pure; must never read a file, nor decide what a server has.
"""

from collections.abc import Collection

from logferry.model.source import Source


def not_wanted_until(source: Source, servers: Collection[str]) -> int:
    """Return the offset before which a client of these servers ("host:port") sends nothing of a source.

    One of them got that by the plain protocol, or nobody asked for it.
    """
    plain_until = source.plain_until if not source.plain_server or source.plain_server in servers else 0
    return max(plain_until, source.asked_from)
