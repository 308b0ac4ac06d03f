"""Writes the files that are made from the declaration of the options: .env.example and docs/configuration.md.

`python3 tools/generate_docs.py` writes them; with `--check` it only says which are out of date, and exits 1 if any is.
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
    INPUT_OPTIONS,
    SERVE_OPTIONS,
    SHIP_OPTIONS,
    env_example,
    markdown_table,
)

_CONFIGURATION_PAGE = """\
# Configuration

<!-- Made from src/logferry/config/ by `python3 tools/generate_docs.py`: change it there. -->

Every setting is a flag, an environment variable, and a key of a configuration file. The command line wins over the
environment, the environment over the file, and the file over the default. An environment variable that is empty counts
as not set.

Ten variables, the first of the client's table, stand as they are; the server reads `SERVER_HOST`, `SERVER_PORT` and
`METRICS_INTERVAL` of them. The name of every other variable begins with `LOGFERRY_`. Each end ignores the variables of
the other; a `LOGFERRY_*` variable that neither knows is an error, except those that Kubernetes sets for a Service of
that name. Former versions read the other variables without the prefix (`STATE_DIR`, `INCLUDE`): such a variable is no
longer read, and a line in the log names it.

- Yes or no: `--compress`, `--compress=true` and `--compress false` all work, and so does `COMPRESS=true`.
  `1`, `true`, `yes` and `on` mean yes; `0`, `false`, `no` and `off` mean no; upper or lower case does not matter.
- Durations take a unit: `500ms`, `10s`, `1.5m`, `2h`, `7d`; a bare number is seconds. Sizes take `K`, `M`, `G`, `T`, in
  powers of 1024: `64K`, `2G`; a bare number is bytes. In a configuration file such a value is a string, a bare number
  may be a number.
- Where several values are taken, the flag may be given several times. In a variable, names of files are separated by
  `:` and everything else by line ends. `none` means no value at all.
- Regular expressions are Python's.
- A bad value stops the program before it does anything: one line on stderr per problem, all problems at once, naming
  the option, where the value came from and what is allowed. The exit code is 2.
- `SERVER_HOST` and `SERVER_PORT` are read by both programs: the client connects there, the server listens there.
  `LOGFERRY_LOG_LEVEL` and `LOGFERRY_SHUTDOWN_TIMEOUT` mean the same to both.

`.env.example` lists all variables with their defaults. Copied to `.env` it is read by `docker compose`; the programs
themselves read only their environment (`set -a; . ./.env; set +a` puts it there). `docker-compose.yml` sets the
addresses, the data folder, the log file and the mode of its services itself; there, `SERVER_PORT` is the port on the
host at which the server can be reached, and `LOG_FILE` has to be emptied for a `LOGFERRY_CONFIG` with `[[input]]`
sections.

## The client: `python3 main.py`, or `logferry ship`

{ship_table}
## The configuration file

`--config logferry.toml` (or `LOGFERRY_CONFIG`) names a file in [TOML](https://toml.io/en/v1.0.0). Its keys are the long
options with underscores instead of dashes: `--server-port` is `server_port`. Numbers, `true` and `false` are written as
such, several values as an array, fields as a table; whatever the command line takes may also be written as a string.
File names are relative to the folder in which the program is started.

Client and server have a file each: a key that only the other end has is an error. What follows is about the client's;
the server's has no sections.

Each `[[input]]` section is one input: files, what their lines are, and what becomes of them. It needs a `log_file`.
{input_names}
belong to an input; all other keys stand above the first section. A key of an input that stands there is the default of
every section. A file without `[[input]]` sections has one input, with the keys that stand at its top. A file that two
inputs ask for is left to the first of them.

What is given on the command line or in the environment holds for every input. A log file that is given there takes the
place of all `[[input]]` sections: it is the only input then, with what the top of the file says.

```toml
{example}```

`logferry check-config` takes the same options as `logferry ship` and ships nothing. It prints what would be shipped and
ends with exit code 0; or it prints all that is wrong, each with file, line and key, and ends with exit code 2.

SIGHUP makes a client in continuous mode read its configuration file again. Inputs that were added, changed or dropped,
and `log_level`, take effect within `POLL_INTERVAL`. Other settings stay as they are until the next start; a line in the
log names them. When anything is wrong with the file, the log says what, and everything stays as it was. A client
without a configuration file only looks for new log files.

## The server: `python3 server_main.py`, or `logferry serve`

{serve_table}
`--config` (or `LOGFERRY_CONFIG`) names a TOML file with these options as keys, by the same rules as the client's:

```toml
server_port = 9100
data_dir = "/srv/logs"
durability = "fsync"
retention_bytes = "200G"
idle_timeout = "2m"
```

`logferry check-config --serve` takes the options of `logferry serve` and starts nothing. It prints where the server
would listen, where it would store, what an ack would mean and its limits; or all that is wrong, also when it could not
write into its data folder. `logferry fsck` finds its folder in the same file.
"""


def generated_files() -> dict[Path, str]:
    """Return what each generated file should contain."""
    page = _CONFIGURATION_PAGE.format(
        ship_table=markdown_table(SHIP_OPTIONS),
        serve_table=markdown_table(SERVE_OPTIONS),
        input_names=_words(f"`{option.name}`" for option in INPUT_OPTIONS),
        example=EXAMPLE.read_text(encoding="utf-8"),
    )
    return {ROOT / ".env.example": env_example(), ROOT / "docs" / "configuration.md": page}


def _words(names: Iterable[str]) -> str:
    """Return the names as the beginning of a sentence, in lines as long as those of the page."""
    *first, last = names
    return textwrap.fill(f"{', '.join(first)} and {last}", 120, break_on_hyphens=False)


def is_current(path: Path, text: str) -> bool:
    """Whether the file exists and contains exactly `text`."""
    return path.is_file() and path.read_text(encoding="utf-8") == text


def main() -> int:
    """Write the files, or only check them."""
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
