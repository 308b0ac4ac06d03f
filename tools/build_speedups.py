"""Compile src/native into src/logferry, for the Python that runs this: `python3 tools/build_speedups.py`.

This needs a C compiler and Python's headers (Debian: apt install gcc python3-dev). pip does the same when it installs
logferry (setup.py). CC and CFLAGS in the environment choose another compiler and add options.
"""

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Final

_SOURCE: Final = Path(__file__).resolve().parents[1] / "src"
# A compiler that has stopped must not stop `pip install` for ever. With sanitizers (tools/run_fuzz.sh), a compiler that
# has a core for itself takes half a minute; on a busy machine it gets a tenth of one.
_LIMIT_S: Final = 900


def main() -> int:
    """Compile, and put the result in place atomically; return 1 if that fails."""
    target = _SOURCE / "logferry" / f"_speedups{sysconfig.get_config_var('EXT_SUFFIX')}"
    try:
        with tempfile.TemporaryDirectory() as folder:
            built = Path(folder) / target.name
            subprocess.run(_command(built), check=True, timeout=_LIMIT_S)
            # Never overwrite the old file: a running process may have it mapped. Copy the new one into the same folder,
            # so that replacing the old one is a rename.
            staged = target.with_name(f".{target.name}.{os.getpid()}")
            shutil.copyfile(built, staged)
            staged.replace(target)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"cannot compile src/native, so logferry runs without it: {error}", file=sys.stderr)
        return 1
    print(f"compiled {target.name}")
    return 0


def _command(target: Path) -> list[str]:
    compiler = shlex.split(os.environ.get("CC") or "cc")
    options = shlex.split(os.environ.get("CFLAGS", ""))
    include = sysconfig.get_path("include")
    sources = sorted(map(str, (_SOURCE / "native").glob("*.c")))
    return [*compiler, "-O2", "-shared", "-fPIC", *options, f"-I{include}", *sources, "-o", str(target)]


if __name__ == "__main__":
    sys.exit(main())
