"""Writes the files that are generated from declarations: .env.example, docs/configuration.md and docs/metrics.md.

`python3 tools/generate_docs.py` writes them; with `--check` it only reports which are out of date, and exits 1 if any
are.
"""

import argparse
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "logferry.example.toml"

sys.path.insert(0, str(ROOT / "src"))

from logferry.config import (  # noqa: E402  (the path comes first)
    CONSOLE_OPTIONS,
    INPUT_OPTIONS,
    SERVE_OPTIONS,
    SHIP_OPTIONS,
    env_example,
    markdown_table,
)
from logferry.telemetry.server_table import SERVER  # noqa: E402
from logferry.telemetry.table import CLIENT, Metric  # noqa: E402

_CONFIGURATION_PAGE = """\
# Configuration

<!-- Generated from src/logferry/config/ by `python3 tools/generate_docs.py`: change it there. -->

Every setting has a flag, an environment variable, and a key in the configuration file. The command line wins over the
environment, the environment over the file, and the file over the default. An empty environment variable counts as not
set.

The first ten variables in the client's table have no prefix; the server reads three of them: `SERVER_HOST`,
`SERVER_PORT` and `METRICS_INTERVAL`. Every other variable begins with `LOGFERRY_`. Each end ignores the variables of
the other. A `LOGFERRY_*` variable that neither end knows is an error, except the variables that Kubernetes sets for a
Service with a name like `logferry`. Former versions read the other variables without the prefix (`STATE_DIR`,
`INCLUDE`). The programs no longer read these names; if one is set, they log its new name.

- Booleans: `--compress`, `--compress=true`, `--compress false` and `COMPRESS=true` all work. `1`, `true`, `yes` and
  `on` mean yes; `0`, `false`, `no` and `off` mean no; case does not matter.
- Durations take a unit: `500ms`, `10s`, `1.5m`, `2h`, `7d`; a bare number means seconds. Sizes take `K`, `M`, `G` or
  `T`, in powers of 1024: `64K`, `2G`; a bare number means bytes. In a configuration file, a value with a unit is a
  string; a bare number may be a TOML number.
- Where an option takes several values, repeat the flag. In a variable, separate file names with `:` and all other
  values with newlines. `none` means no value at all.
- The files of `ship`, `verify` and `repair` need no flag: `logferry ship app.log 'logs/*.log'`; such a
  name may hold a `:`. After `--`, every word is a file. `~` and `~user` at the beginning of a path are home folders.
- Regular expressions use the syntax of Python's `re`.
- An invalid value stops the program before it does anything. The program prints every problem, one per line on stderr,
  with the option, the origin of the value, and what is allowed. The exit code is 2.
- Both programs read `SERVER_HOST` and `SERVER_PORT`: the client connects there, the server listens there.
  `LOGFERRY_LOG_LEVEL` and `LOGFERRY_SHUTDOWN_TIMEOUT` mean the same for both.
- An option that replaces others (`--listen` replaces `--server-host` and `--server-port`) counts if it stands in a
  higher layer than they do, and otherwise they do. Both in one layer is an error.

`.env.example` lists all variables with their defaults. `docker compose` reads a copy of it named `.env`; the programs
themselves read only their environment (`set -a; . ./.env; set +a` loads `.env` into it). `docker-compose.yml` sets the
addresses, the data folder, the log file and the mode of its services itself. There, `SERVER_PORT` is the port on the
host at which the server is reachable; to use a `LOGFERRY_CONFIG` with `[[input]]` sections, set `LOG_FILE` to an empty
value.

## The client: `python3 main.py`, or `logferry ship`

{ship_table}
## The configuration file

`--config logferry.toml` (or `LOGFERRY_CONFIG`) names a file in [TOML](https://toml.io/en/v1.0.0). Its keys are the long
options with underscores instead of dashes: `--server-port` is `server_port`. Numbers, `true` and `false` are written as
such, several values as an array, fields as a table; anything that the command line accepts may also be written as a
string. File names are relative to the folder in which the program starts.

Client and server have separate files: a key that only the other end knows is an error. The rest of this section
describes the client's file; the server's file has no sections.

Each `[[input]]` section describes one input: its files, the format of their lines, and what happens to them. It needs a
`log_file`. The keys of an input are
{input_names}.
All other keys go above the first section. An input's key above the first section is the default for every section. A
configuration file without `[[input]]` sections describes one input, with the keys at its top. If two inputs match the
same log file, the first of them ships it.

An input's option on the command line or in the environment applies to every input. A log file given there replaces all
`[[input]]` sections: the client then has a single input, with the settings at the top of the file.

```toml
{example}```

`logferry check-config` takes the same options as `logferry ship` but ships nothing. If the configuration is valid, it
prints what the client would ship and exits with code 0. Otherwise it prints every problem with file, line and key, and
exits with code 2.

`logferry try FILE` takes the options that say what lines become: it reads the first 1000 lines of a file (`-n`), or of
standard input (`-`), and shows the first records that would be stored, how many lines were recognised and have a
level and a timestamp, the shapes of those that have none, and which format `--format auto` would choose, and why. It
connects to nothing, and writes nothing. `--json` prints that as JSON ([docs/json.md](json.md)).

On SIGHUP, a client in continuous mode reloads its configuration file. Inputs that were added, changed or removed, and
`log_level`, take effect within `POLL_INTERVAL`. Other settings take effect at the next start; the client logs which of
them have changed. If the file is invalid, the client logs the problems and keeps its settings. A client without a
configuration file only looks for new log files.

## The server: `python3 server_main.py`, or `logferry serve`

{serve_table}
`--config` (or `LOGFERRY_CONFIG`) names a TOML file with these options as keys. The rules for the client's file apply:

```toml
server_port = 9100
data_dir = "/srv/logs"
durability = "fsync"
retention_bytes = "200G"
idle_timeout = "2m"
```

`logferry check-config --serve` takes the options of `logferry serve` but starts nothing. It prints where the server
would listen and store lines, what an ack would promise, and the limits; or every problem, including a data folder that
the server could not write to. `logferry fsck` finds the data folder in the same file.

On SIGHUP, a server reloads its configuration file, and no connection ends. The retention, the size of segments, the
limits on time and memory, `metrics_interval` and `log_level` take effect at once; `proxy_protocol`, `max_connections`,
`accept` and the limits on lines and frames, for new connections. Other settings take effect at the next start; the
server logs which of them have changed. If the file is invalid, the server logs the problems and keeps its settings.

## The console: `logferry console`

{console_table}
`--config` (or `LOGFERRY_CONSOLE_CONFIG`) names a TOML file of the console's own, with these options as keys.
[docs/console.md](console.md) says what the console shows. On SIGHUP it loads changed files of TLS at once.
"""


_METRICS_PAGE = """\
# Metrics

<!-- Generated from the tables in src/logferry/telemetry/ by `python3 tools/generate_docs.py`: change it there. -->

`--http HOST:PORT` (or `LOGFERRY_HTTP`) serves these numbers at `/metrics`, in the text format of Prometheus. `/healthz`
answers 200 while the process works, and 503 once the thread that serves or ships has not turned for 30 s. `/readyz`
answers 200, or 503 with the reason while the process does not do its work.

Counters count from the start of the process. No metric has a series for each file, source or client. In code and in
`status.json`, a number has the name in the last column.

## The client

{client_table}
## The server

{server_table}"""


def _metrics_table(metrics: Iterable[Metric]) -> str:
    rows = ["| metric | type | meaning | name in status.json |", "|---|---|---|---|"]
    for each in metrics:
        label = f"{{{each.label}}}" if each.label else ""
        rows.append(f"| `{each.exposed_as}{label}` | {each.kind.value} | {each.help} | `{each.name}` |")
    return "\n".join(rows) + "\n"


def generated_files() -> dict[Path, str]:
    """Return what each generated file should contain."""
    page = _CONFIGURATION_PAGE.format(
        ship_table=markdown_table(SHIP_OPTIONS),
        serve_table=markdown_table(SERVE_OPTIONS),
        console_table=markdown_table(CONSOLE_OPTIONS),
        input_names=_words(f"`{option.name}`" for option in INPUT_OPTIONS),
        example=EXAMPLE.read_text(encoding="utf-8"),
    )
    metrics = _METRICS_PAGE.format(client_table=_metrics_table(CLIENT), server_table=_metrics_table(SERVER))
    docs = ROOT / "docs"
    return {ROOT / ".env.example": env_example(), docs / "configuration.md": page, docs / "metrics.md": metrics}


def _words(names: Iterable[str]) -> str:
    """Return the names as part of a sentence, wrapped like the rest of the page."""
    *first, last = names
    return textwrap.fill(f"{', '.join(first)} and {last}", 120, break_on_hyphens=False)


def is_current(path: Path, text: str) -> bool:
    """Whether the file exists and contains exactly `text`."""
    return path.is_file() and path.read_text(encoding="utf-8") == text


def main() -> int:
    """Write the files, or only check whether they are up to date."""
    parser = argparse.ArgumentParser(description="Write .env.example and docs/configuration.md from the options.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file is out of date")
    only_check = parser.parse_args().check
    outdated = {path: text for path, text in generated_files().items() if not is_current(path, text)}
    for path, text in outdated.items():
        if only_check:
            print(f"{path.relative_to(ROOT)} is out of date: run python3 tools/generate_docs.py")
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")
    return 1 if only_check and outdated else 0


if __name__ == "__main__":
    sys.exit(main())
