"""Writes the files that are made from the declaration of the options: .env.example and docs/configuration.md.

`python3 tools/generate_docs.py` writes them; with `--check` it only says which are out of date, and exits 1 if any is.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

sys.path.insert(0, str(ROOT / "src"))

from logferry.config import SERVE_OPTIONS, SHIP_OPTIONS, env_example, markdown_table  # noqa: E402  (the path comes first)

_CONFIGURATION_PAGE = """\
# Configuration

<!-- Made from src/logferry/config.py by `python3 tools/generate_docs.py`: change it there. -->

Every setting is a flag and an environment variable. The command line wins over the environment, and the environment
over the default. An environment variable that is empty counts as not set.

- Yes or no: `--compress`, `--compress=true` and `--compress false` all work, and so does `COMPRESS=true`.
  `1`, `true`, `yes` and `on` mean yes; `0`, `false`, `no` and `off` mean no; upper or lower case does not matter.
- Times are seconds; `0.5` is fine. Sizes are bytes.
- A bad value stops the program before it does anything: one line on stderr per problem, all problems at once, naming
  the option, where the value came from and what is allowed. The exit code is 2.
- `SERVER_HOST` and `SERVER_PORT` are read by both programs: the client connects there, the server listens there.
  `LOG_LEVEL` and `SHUTDOWN_TIMEOUT` mean the same to both.

`.env.example` lists all variables with their defaults. Copied to `.env` it is read by `docker compose`; the programs
themselves read only their environment (`set -a; . ./.env; set +a` puts it there). `docker-compose.yml` sets the
addresses, the data folder, the log file and the mode of its services itself; there, `SERVER_PORT` is the port on the
host at which the server can be reached.

## The client: `python3 main.py`, or `logferry ship`

{ship_table}
## The server: `python3 server_main.py`, or `logferry serve`

{serve_table}"""


def generated_files() -> dict[Path, str]:
    """Return what each generated file should contain."""
    page = _CONFIGURATION_PAGE.format(
        ship_table=markdown_table(SHIP_OPTIONS), serve_table=markdown_table(SERVE_OPTIONS)
    )
    return {ROOT / ".env.example": env_example(), ROOT / "docs" / "configuration.md": page}


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
