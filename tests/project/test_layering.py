"""The floor plan: imports point down, no circles, the pure parts stay pure, only the command line prints or exits."""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Final

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src" / "logferry"
MODULES = sorted(SOURCE.rglob("*.py"))

# Every package, its parts from the top down: a part may import those below it, never one above (docs/architecture.md).
# A part is a module or a package; what is not listed may import nothing of its neighbours and be imported by none.
FLOORS: Final = {
    "": (
        *("__main__", "cli", "console", "client", "reading", "server", "rendering", "telemetry", "config", "protocol"),
        "model",
        *("addresses", "folder_lock", "tls_files", "permissions", "small_files", "x509", "durable", "checksum"),
        *("zstd_library", "speedups", "errors", "names", "printable", "progress", "suggestions", "worker"),
    ),
    "cli": (
        *("start", "dispatch", "demo", "client", "server", "reading", "help", "pattern_watch", "signals"),
        "progress_line",
        *("early_signals", "command_line", "parsing", "commands", "output", "streams"),
    ),
    "client": (
        *("run", "reload", "tls_reload", "status", "proof", "delivery", "readers", "recognition"),
        *("state", "files", "finding", "net"),
    ),
    "client.delivery": ("resilient", "engine", "outputs", "positions", "accounts", "batches", "servers", "output"),
    "client.delivery.engine": ("engine", "refusals", "outgoing", "waiting"),
    "client.delivery.positions": ("positions", "reconciliation", "resume", "takeover", "unwanted"),
    "client.delivery.accounts": ("accounts", "balance", "progress", "window"),
    "client.delivery.batches": ("prefetch", "batch_queue", "batches"),
    "client.delivery.servers": (
        *("servers", "server_choice", "idle_connection", "stalls", "retry", "observer", "status_pings"),
    ),
    "client.net": ("conversation", "connecting", "transports", "waiting"),
    "client.net.conversation": ("probing", "reports", "hello", "pages", "silence", "hand_over"),
    "client.net.connecting": ("health", "connect", "endpoint", "handshake", "security", "token"),
    "client.net.transports": ("tls", "tls_errors", "tcp", "memory", "transport"),
    "client.net.waiting": ("poller", "steps", "wakeup", "readiness"),
    "client.files": ("archives", "lines", "content", "overwritten", "identity"),
    "client.files.archives": ("archive", "codecs", "zstd", "decoder"),
    "client.files.lines": ("line_reader", "format_choice", "header_lines", "text_file", "known_file", "line_splitter"),
    "client.files.content": ("fd_pool", "snapshot", "replay_buffer", "holes", "content"),
    "config": ("loading", "pages", "tables", "settings", "options", "kinds"),
    "config.loading": ("loading", "conflicts", "environment", "toml_file"),
    "config.settings": (
        *("settings_type", "client_settings", "ship_settings", "connection_settings"),
        *("console_settings", "server_settings", "nats_settings", "input_settings"),
    ),
    "config.kinds": ("input_kinds", "listen_urls", "server_addresses", "units", "kinds"),
    "server": (
        *("server", "stores", "reload", "status", "descriptors", "encryption"),
        *("listen", "arrivals", "client_socket", "clients", "storage"),
    ),
    "server.clients": (
        *("roster", "bridge", "connection", "scheduling", "services", "sessions", "reporting", "tls"),
        *("memory", "identities"),
    ),
    "server.clients.bridge": ("store_bridge", "own_sources", "echo"),
    "server.clients.connection": ("connection", "reading", "answering", "lifecycle", "patience", "pace"),
    "server.clients.scheduling": ("turns", "questions", "waiting", "paused", "places", "held_back"),
    "server.clients.sessions": ("delivery", "outcomes", "plain", "base", "answers"),
    "server.clients.reporting": ("states_file", "client_record", "client_log", "counters", "client_reports"),
    "server.clients.memory": ("pressure", "flow_control", "parties"),
    "server.clients.tls": ("layer", "handshakes", "failures", "engine", "offered", "names"),
    "server.clients.identities": ("clients_file", "login", "entries", "tokens", "grants", "networks", "authenticator"),
    "server.storage": (
        *(
            "disk",
            "nats",
            "memory_store",
            "admission",
            "loss_lists",
            "loss_limits",
            "loss_pages",
            "store_state",
            "store",
            "deliveries",
            "records",
            "owners",
            "log_names",
            "safe_names",
        ),
    ),
    "server.storage.nats": (
        *(
            "nats_store",
            "reports",
            "chain",
            "index",
            "plain_lines",
            "appends",
            "known",
            "losses",
            "reading",
            "sources",
            "batches",
        ),
        *(
            "streams",
            "durability",
            "connection",
            "headers",
            "order",
            "in_flight",
            "stalls",
            "names",
            "settings",
            "wire",
        ),
    ),
    "server.storage.disk": (
        *("disk_store", "opening", "upkeep", "writing", "integrity", "compression", "recovery", "retention"),
        *("segments", "content", "journals", "ledger", "files"),
    ),
    "server.storage.disk.writing": ("writer", "group_commit", "time_index", "lanes"),
    "server.storage.disk.integrity": (
        *("scrub", "scrub_plan", "repair", "source_report", "damage", "fsck", "data_folder", "damaged_folder"),
        *("surplus_lines", "judgement"),
    ),
    "server.storage.disk.compression": ("compressor", "segment_forms"),
    "server.storage.disk.content": ("copies", "measure", "stored_segments", "segment_bytes", "codecs", "members"),
    "server.storage.disk.recovery": (
        *("rebuild", "new_ledger", "recovery", "lost_transactions", "entering", "named_sources"),
        *("found_logs", "lost_ledger", "previous_runs"),
    ),
    "server.storage.disk.retention": ("retention", "kept_segments", "unused_sources", "expired_rows"),
    "server.storage.disk.segments": (
        "deferred_sync",
        "segments",
        "open_segments",
        "held_back",
        "log_folders",
        "pending_appends",
    ),
    "server.storage.disk.journals": (
        *("journals", "new_segments", "own_journals", "waiting_entries", "recorded_group"),
        *("journal_completion", "compaction", "journal_files", "journal_reading", "shared_journal", "journal"),
    ),
    "server.storage.disk.ledger": ("ledger", "queries", "tables", "database"),
    "server.storage.disk.ledger.queries": ("accounts", "history", "log_ends", "overview"),
    "server.storage.disk.ledger.tables": (
        *("damage", "sources", "losses", "members", "segments", "logs", "unsynced", "starts", "times"),
        *("packed_times", "extents", "checked"),
    ),
    "server.storage.disk.ledger.database": ("soundness", "reading", "database", "file_format"),
    "server.storage.disk.files": (
        *("surplus", "free_space", "file_system", "idle_priority", "data_lock", "segment_files", "segment_forms"),
        *("emptied_folders", "name_encoding", "regular", "segment_names", "held_folder"),
    ),
    "protocol": (
        *("opening", "delivery", "messages", "plain", "lines", "strangers", "compressor", "pieces"),
        *("steps", "patterns"),
    ),
    "protocol.opening": ("opening", "tls_opening", "proxy_header"),
    "protocol.delivery": ("client", "answer_lines", "server", "control_lines", "control_reader", "bulk"),
    "protocol.messages": (
        "requests",
        "client_state",
        "answers",
        "reports",
        "repairs",
        "features",
        "elsewhere",
        "writing",
    ),
    "protocol.plain": ("client", "server", "acks"),
    "protocol.lines": ("validation", "long_lines", "text"),
    "reading": ("sql", "story", "disk", "counting", "query", "times", "stored"),
    "reading.story": ("history_of", "explanation", "history"),
    "reading.disk": ("logs", "changes", "log_ends", "listing", "segments", "ledger"),
    "reading.counting": (
        *(
            "statistics",
            "ahead",
            "chunk_counting",
            "line_counts",
            "hosts",
            "client_states",
            "bounded_counts",
            "message_patterns",
        ),
    ),
    "reading.query": (
        *(
            "search",
            "follow",
            "merging",
            "chunk_times",
            "context",
            "found",
            "matching",
            "selection",
            "literals",
            "records",
        ),
    ),
    "reading.times": ("time_index", "event_times", "timestamps", "rare_timestamps", "calendar_times", "when"),
    "console": (
        *("application", "running", "connections", "static_files", "access", "api", "queries", "stored", "source"),
        *("levels", "encryption", "extra"),
    ),
    "console.api": ("openapi", "routes", "answers", "lines", "parameters", "words"),
    "console.queries": ("queries", "feed"),
    "console.stored": (
        *("stored_source", "isolated", "searches", "bookmarks", "counting", "wanted", "proving", "checking", "usage"),
    ),
    "rendering": (
        *("renderer", "reference", "encodings", "detect", "event_boundaries", "registry", "formats"),
        *("container_objects", "container_events", "json_objects", "multiline", "partial_lines", "filters"),
        *("redaction", "extra_fields", "shapes"),
        "engine",
    ),
}

# Neighbours on one floor, and shared rooms that the pure ones may not enter.
CLOSED: Final = {
    ("client", "server"),
    ("client", "reading"),
    *(
        (room, shared)
        for room in ("rendering", "protocol", "model")
        for shared in ("config", "telemetry", "durable", "worker")
    ),
    *(("telemetry", below) for below in ("config", "protocol", "model", "durable", "checksum")),
    *(("config", below) for below in ("protocol", "durable", "checksum")),
}

# The world outside: sockets, threads, clocks, files, randomness.
IMPURE = {
    *("asyncio", "concurrent", "datetime", "fcntl", "glob", "io", "logging", "mmap", "multiprocessing", "os"),
    *("pathlib", "queue", "random", "secrets", "select", "selectors", "shutil", "signal", "socket", "socketserver"),
    *("ssl", "subprocess", "tempfile", "threading", "time", "uuid"),
}
PURE = [path for path in MODULES if path.relative_to(SOURCE).parts[0] in ("protocol", "rendering")]


def name_of(path: Path) -> str:
    return str(path.relative_to(SOURCE))


@cache
def tree_of(path: Path) -> ast.Module:
    """Return what a module consists of."""
    return ast.parse(path.read_text(encoding="utf-8"))


def part_of(path: Path) -> str:
    """Return the folder, or the top module, that a file belongs to."""
    return path.relative_to(SOURCE).with_suffix("").parts[0]


def imports_of(path: Path) -> Iterator[str]:
    """Yield the full names of all that a module imports, wherever in it."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}: relative imports hide where they point"
            yield node.module or ""


def calls_in(path: Path) -> Iterator[str]:
    """Yield the names of all functions that are called, as they are written."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


def test_there_is_something_to_check() -> None:
    assert {"cli", "config", "errors", "protocol", "client", "server"} <= {part_of(path) for path in MODULES}
    assert len(PURE) >= 5


def test_nothing_but_the_standard_library_is_needed() -> None:
    known = sys.stdlib_module_names | {"logferry"}
    roots = {(name_of(path), name.partition(".")[0]) for path in MODULES for name in imports_of(path)}
    foreign = {(module, root) for module, root in roots if root not in known}
    assert {root for module, root in foreign if module.startswith("console/")} == {"starlette", "uvicorn"}
    others = {(module, root) for module, root in foreign if not module.startswith("console/")}
    assert others == {("server/storage/nats/connection.py", "nats")}


def test_only_the_command_imports_the_console_and_what_needs_its_extra_late() -> None:
    importers = {name for name in NAMES for target in neighbours_of(name) if target.startswith("console")}
    assert {name for name in importers if not name.startswith("console")} == {"cli.server.console"}
    command = tree_of(NAMES["cli.server.console"])
    at_once = {node.module for node in command.body if isinstance(node, ast.ImportFrom) and node.module}
    assert {name for name in at_once if name.startswith("logferry.console")} == {"logferry.console"}  # `extra`


def module_name(path: Path) -> str:
    """Return the name of a module below `logferry`; a package is its `__init__`."""
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix("__init__").rstrip(".")


NAMES: Final = {module_name(path): path for path in MODULES}


@cache
def neighbours_of(name: str) -> frozenset[str]:
    """Return the modules of the project that a module imports, wherever in it, for type checkers too."""
    return frozenset(_neighbours_of(name)) - {name}


def _neighbours_of(name: str) -> Iterator[str]:
    for node in ast.walk(tree_of(NAMES[name])):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "logferry":
            package = (node.module or "").partition(".")[2]
            for alias in node.names:
                inner = f"{package}.{alias.name}".lstrip(".")
                yield inner if inner in NAMES else package


def test_imports_point_down() -> None:
    edges = [(name, target) for name in NAMES for target in neighbours_of(name)]
    assert not [f"{name} must not import {target}" for name, target in edges if points_up(name, target)]


def points_up(name: str, target: str) -> bool:
    for package, floors in FLOORS.items():
        above, below = part_within(package, name), part_within(package, target)
        if above != below and above and below:
            if floors.index(above) >= floors.index(below):
                return True
            if not package and (above, below) in CLOSED:
                return True
    return False


def part_within(package: str, name: str) -> str:
    """Return which part of a package a module belongs to; "" if to none."""
    prefix = f"{package}." if package else ""
    return name.removeprefix(prefix).partition(".")[0] if name.startswith(prefix) else ""


@pytest.mark.parametrize("package", FLOORS)
def test_every_part_has_its_floor(package: str) -> None:
    assert {part for part in (part_within(package, name) for name in NAMES) if part} - {"_speedups"} == set(
        FLOORS[package]
    )


def test_no_module_is_in_a_circle() -> None:
    TopologicalSorter({name: neighbours_of(name) for name in NAMES}).prepare()  # CycleError names the circle


def test_the_pure_parts_know_no_socket_thread_clock_or_file() -> None:
    """Rule F10."""
    forbidden = {"open", "print", "input", "exec", "eval"}
    assert not [
        name_of(path)
        for path in PURE
        if {name.partition(".")[0] for name in imports_of(path)} & IMPURE or forbidden & set(calls_in(path))
    ]


def test_above_the_outputs_delivery_knows_no_socket() -> None:
    allowed = {"connecting.endpoint", "connecting.health", "waiting.poller", "waiting.readiness", "waiting.wakeup"}
    above = [path for path in MODULES if name_of(path).startswith("client/delivery/") and "outputs" not in path.parts]
    assert len(above) > 20
    for path in above:
        assert not set(imports_of(path)) & {"select", "selectors", "socket", "ssl"}, name_of(path)
        net = {name.removeprefix("logferry.client.net.") for name in imports_of(path) if ".client.net." in name}
        assert net <= allowed, name_of(path)


def test_only_the_command_line_prints_or_exits() -> None:
    forbidden = {"print", "exit", "quit", "sys.exit", "os._exit", "os.abort", "sys.stdout.write", "sys.stderr.write"}
    others = [path for path in MODULES if part_of(path) not in ("cli", "__main__")]
    assert not [name_of(path) for path in others if forbidden & set(calls_in(path))]


def test_every_module_says_what_it_is_for() -> None:
    assert not [name_of(path) for path in MODULES if not ast.get_docstring(tree_of(path))]
