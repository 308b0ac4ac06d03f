"""The floor plan: imports point down, the pure parts stay pure, and only the command line prints or exits."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src" / "logferry"
MODULES = sorted(SOURCE.rglob("*.py"))

# What each part may import of the project. A part is a folder, or a module at the top.
BASE = {"logferry", "errors", "speedups"}
SHARED = BASE | {"config", "telemetry", "durable"}
ALLOWED = {
    "errors": set[str](),
    "speedups": {"logferry", "_speedups"},
    "config": BASE | {"config"},
    "telemetry": BASE | {"telemetry"},
    "durable": BASE,
    "protocol": BASE | {"protocol"},
    "rendering": BASE | {"protocol", "rendering"},
    "client": SHARED | {"protocol", "rendering", "client"},
    "server": SHARED | {"protocol", "server"},
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


every_module = pytest.mark.parametrize("path", MODULES, ids=name_of)


def part_of(path: Path) -> str:
    """Return the folder, or the top module, that a file belongs to."""
    return path.relative_to(SOURCE).with_suffix("").parts[0]


def imports_of(path: Path) -> Iterator[str]:
    """Yield the full names of all that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}: relative imports hide where they point"
            yield node.module or ""


def calls_in(path: Path) -> Iterator[str]:
    """Yield the names of all functions that are called, as they are written."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


def test_there_is_something_to_check() -> None:
    assert {"cli", "config", "errors", "protocol", "client", "server"} <= {part_of(path) for path in MODULES}
    assert len(PURE) >= 5


@every_module
def test_nothing_but_the_standard_library_is_needed(path: Path) -> None:
    roots = {name.partition(".")[0] for name in imports_of(path)}
    assert roots <= sys.stdlib_module_names | {"logferry"}


@every_module
def test_imports_point_down(path: Path) -> None:
    allowed = ALLOWED.get(part_of(path))
    if allowed is None:
        return  # cli and what it is made of: the top
    for name in imports_of(path):
        root, _, rest = name.partition(".")
        if root == "logferry":
            target = rest.partition(".")[0] or root
            assert target in allowed, f"{name_of(path)} must not import {name}"


@every_module
def test_the_top_is_imported_by_nobody_below(path: Path) -> None:
    if part_of(path) not in ALLOWED:
        return
    assert not {name for name in imports_of(path) if name == "logferry.__main__" or name.startswith("logferry.cli.")}


@pytest.mark.parametrize("path", PURE, ids=name_of)
def test_the_pure_parts_know_no_socket_thread_clock_or_file(path: Path) -> None:
    """Rule F10."""
    assert not {name.partition(".")[0] for name in imports_of(path)} & IMPURE
    assert not {"open", "print", "input", "exec", "eval"} & set(calls_in(path))


@every_module
def test_only_the_command_line_prints_or_exits(path: Path) -> None:
    if part_of(path) in ("cli", "__main__"):
        return
    forbidden = {"print", "exit", "quit", "sys.exit", "os._exit", "os.abort", "sys.stdout.write", "sys.stderr.write"}
    assert not forbidden & set(calls_in(path))


@every_module
def test_every_module_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
