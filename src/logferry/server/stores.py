"""Which store a server has: the one on this machine's disk, or a replicated log on NATS JetStream.

Translates the server's settings into those of the store. Owns neither; nothing else chooses a store.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from logferry.config import ServeSettings
from logferry.server.storage.disk.content.codecs import chosen_compression
from logferry.server.storage.disk.disk_store import DiskStore
from logferry.server.storage.disk.files.file_system import FileSystem
from logferry.server.storage.disk.opening import DiskStoreSettings
from logferry.server.storage.store import Store

if TYPE_CHECKING:
    from logferry.server.storage.nats.settings import NatsSettings


def store_of(
    settings: ServeSettings, *, open_segments: int, files: FileSystem | None, crash_point: Callable[[str], None]
) -> Store:
    """Return the store that the settings name, not open; `files` and `crash_point` are for one on a disk."""
    if settings.store == "nats":
        from logferry.server.storage.nats.nats_store import NatsStore  # late: most servers have a disk

        return NatsStore(_nats_settings(settings))
    return DiskStore(_disk_settings(settings, open_segments), file_system=files, crash_point=crash_point)


def _disk_settings(settings: ServeSettings, open_segments: int) -> DiskStoreSettings:
    return DiskStoreSettings(
        data_dir=settings.data_dir,
        durability=settings.durability,
        segment_bytes=settings.segment_bytes,
        retention_bytes=settings.retention_bytes,
        retention_days=settings.retention_days,
        scrub_interval_s=settings.scrub_interval,
        scrub_rate=settings.scrub_rate,
        min_free_bytes=settings.min_free_bytes,
        compression=chosen_compression(settings.segment_compression),
        max_open_segments=open_segments,
    )


def _nats_settings(settings: ServeSettings) -> "NatsSettings":
    from logferry.server.storage.nats.settings import NatsSettings

    return NatsSettings(
        urls=settings.nats,
        creds=settings.nats_creds,
        tls_ca=settings.nats_tls_ca,
        prefix=settings.nats_prefix,
        shards=settings.nats_shards,
        replicas=settings.nats_replicas,
        max_bytes=settings.nats_max_bytes,
        monitors=settings.nats_monitor,
    )
