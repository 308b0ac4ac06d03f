"""The options of the server's commands: `logferry serve` and `logferry fsck`."""

from typing import Final

from logferry.config.kinds import BOOLEAN, LISTEN_PORT, MIB, PATH, TEXT, choice, seconds, whole
from logferry.config.options import JSON, LOG_LEVEL, SHUTDOWN_TIMEOUT, Option

FSCK_OPTIONS: Final = (
    Option("data_dir", "LOGFERRY_DATA_DIR", PATH, "./data", "the server's folder"),
    JSON,
    LOG_LEVEL,
)

SERVE_OPTIONS: Final = (
    Option("server_host", "SERVER_HOST", TEXT, "0.0.0.0", "the address to listen on"),
    Option("server_port", "SERVER_PORT", LISTEN_PORT, "9000", "the TCP port to listen on; 0 = a free one"),
    Option("data_dir", "LOGFERRY_DATA_DIR", PATH, "./data", "the folder for what is stored"),
    Option(
        "durability",
        "LOGFERRY_DURABILITY",
        choice("fsync", "os", "none"),
        "fsync",
        "what an ack promises: fsync = on disk; os = handed to the kernel; none = received",
    ),
    Option("echo", "LOGFERRY_ECHO", BOOLEAN, "false", "print every stored line on stdout"),
    Option(
        "accept",
        "LOGFERRY_ACCEPT",
        choice("level-and-message", "any-object"),
        "level-and-message",
        "which JSON objects to take: those with level and message, or any (Fluent Bit, Vector, Logstash)",
    ),
    Option("max_connections", "LOGFERRY_MAX_CONNECTIONS", whole(1, 1_000_000), "10000", "clients at the same time"),
    Option(
        "max_record_bytes",
        "LOGFERRY_MAX_RECORD_BYTES",
        whole(1024, 16 * MIB),
        "8388608",
        "longest NDJSON line taken, in bytes",
    ),
    Option(
        "max_frame_bytes",
        "LOGFERRY_MAX_FRAME_BYTES",
        whole(1024, 16 * MIB - 1),
        "16777215",
        "longest gzip frame taken, in bytes",
    ),
    Option(
        "max_inflated_bytes",
        "LOGFERRY_MAX_INFLATED_BYTES",
        whole(1024, 256 * MIB),
        "33554432",
        "most that one frame may inflate to, in bytes",
    ),
    Option(
        "memory_limit_bytes",
        "LOGFERRY_MEMORY_LIMIT_BYTES",
        whole(MIB, 1024 * 1024 * MIB),
        "67108864",
        "most that all clients together may have in the server's memory, not yet stored",
    ),
    Option(
        "idle_timeout", "LOGFERRY_IDLE_TIMEOUT", seconds(0.05), "600", "seconds of silence until a client is dropped"
    ),
    Option(
        "segment_bytes",
        "LOGFERRY_SEGMENT_BYTES",
        whole(1024, 1024 * 1024 * MIB),
        "268435456",
        "a segment file rolls at this size",
    ),
    Option(
        "retention_bytes",
        "LOGFERRY_RETENTION_BYTES",
        whole(0, 1024 * 1024 * 1024 * MIB),
        "0",
        "most that is kept, in bytes: the oldest whole segments are deleted; 0 = all is kept",
    ),
    Option(
        "retention_days",
        "LOGFERRY_RETENTION_DAYS",
        whole(0, 100_000),
        "0",
        "days for which segments are kept; 0 = for ever",
    ),
    Option(
        "metrics_interval",
        "METRICS_INTERVAL",
        seconds(0),
        "0",
        "seconds between two lines with the server's counters in its log; 0 = only at the end",
    ),
    SHUTDOWN_TIMEOUT,
    LOG_LEVEL,
)
