"""Compile src/logferry/_speedups.c beside its source, for the Python that runs this: `python3 tools/build_speedups.py`.

A C compiler and the headers of Python are needed (Debian: apt install gcc python3-dev). pip does the same when it
installs logferry, see setup.py.
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

SOURCE: Final = Path(__file__).resolve().parents[1] / "src" / "logferry" / "_speedups.c"
_LIMIT_S: Final = 120


def main() -> int:
    """Compile, and put the result in place at once; 1 when that cannot be done."""
    target = SOURCE.with_name("_speedups" + str(sysconfig.get_config_var("EXT_SUFFIX")))
    try:
        with tempfile.TemporaryDirectory() as folder:
            built = Path(folder) / target.name
            subprocess.run(_command(built), check=True, timeout=_LIMIT_S)
            # Not over the old one: a process that runs has it in its memory. In the same folder, so that it is renamed.
            staged = target.with_name(f".{target.name}.{os.getpid()}")
            shutil.copyfile(built, staged)
            staged.replace(target)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"cannot compile {SOURCE.name}, so logferry runs without it: {error}", file=sys.stderr)
        return 1
    print(f"compiled {target.name}")
    return 0


def _command(target: Path) -> list[str]:
    compiler = shlex.split(os.environ.get("CC") or "cc")
    include = sysconfig.get_path("include")
    return [*compiler, "-O2", "-shared", "-fPIC", f"-I{include}", str(SOURCE), "-o", str(target)]


if __name__ == "__main__":
    sys.exit(main())
