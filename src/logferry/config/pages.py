"""Generates the texts of `.env.example` and of the tables in docs/configuration.md. Never writes a file."""

from collections.abc import Sequence

from logferry.config.options import Option
from logferry.config.tables import CONSOLE_OPTIONS, SERVE_OPTIONS, SHIP_OPTIONS


def env_example() -> str:
    """Return the text of `.env.example`: every variable with its default."""
    lines = [
        "# Settings for Logferry, as environment variables. Copy to .env and change what you need.",
        "# Generated from src/logferry/config/ by `python3 tools/generate_docs.py`.",
    ]
    for title, options in (
        ("the client (logferry ship)", SHIP_OPTIONS),
        ("the server (logferry serve)", SERVE_OPTIONS),
        ("the console (logferry console)", CONSOLE_OPTIONS),
    ):
        lines += ["", f"# --- {title} ---"]
        for option in options:
            lines += [f"# {option.help}", f"#{option.env}={option.default}"]
    return "\n".join(lines) + "\n"


def markdown_table(options: Sequence[Option]) -> str:
    """Return the options as the table in docs/configuration.md."""
    rows = ["| variable | flag | default | meaning |", "|---|---|---|---|"]
    rows += [f"| `{o.env}` | `{o.flag}` | `{o.default}` | {o.help} |" for o in options]
    return "\n".join(rows) + "\n"
