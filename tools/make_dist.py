"""Builds the packages: `make dist`, or `python3 tools/make_dist.py` where build and setuptools are installed.

Into dist/ (`--into` names another folder) come a wheel with the compiled part for the Python that runs this, a wheel
for any machine, the source distribution, and `logferry.pyz`, one file that any Python from 3.11 on runs. Without a
compiler, the first one is left out. Two builds of one commit are equal byte for byte: nothing in them depends on the
time, the machine or the folder (https://reproducible-builds.org/specs/source-date-epoch/).
"""

import argparse
import gzip
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]

_PYZ: Final = "logferry.pyz"
_MAIN: Final = "import sys\n\nfrom logferry.cli.start import installed\n\nsys.exit(installed())\n"

# The earliest time that a zip file can hold.
_FIRST_ZIP_TIME: Final = 315532800


class BuildFailed(Exception):
    """A package could not be built."""


def main() -> int:
    """Build all packages; return the exit code."""
    parser = argparse.ArgumentParser(description="Build the packages of Logferry.")
    parser.add_argument("--into", type=Path, default=ROOT / "dist", metavar="FOLDER", help="where to put them [dist]")
    into = parser.parse_args().into
    into.mkdir(parents=True, exist_ok=True)
    for old in into.glob("logferry*"):
        old.unlink()
    epoch = source_date_epoch()
    build("wheel", into, epoch, compiled="no")
    build("sdist", into, epoch, compiled="auto")  # it has the sources of the compiled part
    make_zipapp(into / _PYZ, epoch)
    try:
        build("wheel", into, epoch, compiled="must")
    except BuildFailed as failed:
        print(f"make dist: no wheel with the compiled part: {failed}", file=sys.stderr)
    for made in sorted(into.glob("logferry*")):
        print(f"{made.stat().st_size:>10,} bytes  {made}")
    return 0


def source_date_epoch() -> int:
    """Return the time that everything in the packages has: SOURCE_DATE_EPOCH, or that of the last commit."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(given)
    words = ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"]
    found = subprocess.run(words, capture_output=True, text=True, check=False)
    return int(found.stdout) if found.returncode == 0 and found.stdout.strip() else _FIRST_ZIP_TIME


def build(kind: str, into: Path, epoch: int, *, compiled: str) -> None:
    """Build a wheel or the source distribution. Raises BuildFailed.

    In a copy of the sources: setuptools leaves traces of one build, which the next one would pack.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "logferry"
        _copy_sources(copy)
        environment = {
            **os.environ,
            "SOURCE_DATE_EPOCH": str(epoch),
            "LOGFERRY_COMPILED": compiled,
            "PYTHONHASHSEED": "0",
        }
        words = [sys.executable, "-m", "build", "--no-isolation", f"--{kind}", "--outdir", folder, str(copy)]
        built = subprocess.run(words, env=environment, capture_output=True, text=True, umask=0o022, check=False)
        if built.returncode:
            raise BuildFailed(built.stderr.strip().splitlines()[-1])
        (made,) = [path for path in Path(folder).iterdir() if path.is_file()]
        data = made.read_bytes()
        (into / made.name).write_bytes(_same_sdist(data, epoch) if kind == "sdist" else data)


def _copy_sources(copy: Path) -> None:
    """Copy what git has, or everything where there is no git, without what was built."""
    words = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(words, capture_output=True, text=True, check=False)
    names = [name for name in listed.stdout.split("\0") if name] if listed.returncode == 0 else _all_files()
    for name in names:
        if (source := ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes(source.read_bytes())
            (copy / name).chmod(0o755 if os.access(source, os.X_OK) else 0o644)


def _all_files() -> list[str]:
    built = {"__pycache__", "build", "dist", ".venv"}
    paths = (path.relative_to(ROOT) for path in ROOT.rglob("*") if path.suffix not in (".so", ".pyc"))
    return [str(path) for path in paths if not built & {*path.parts}]


def _same_sdist(data: bytes, epoch: int) -> bytes:
    """Return a source distribution packed anew, with one time for all files, and nobody's names."""
    packed = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(data)) as old,
        gzip.GzipFile(fileobj=packed, mode="wb", filename="", mtime=epoch) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as new,
    ):
        for member in sorted(old.getmembers(), key=lambda member: member.name):
            content = old.extractfile(member)
            member.mtime, member.uid, member.gid, member.uname, member.gname = epoch, 0, 0, "", ""
            member.pax_headers = {}
            new.addfile(member, content)
    return packed.getvalue()


def make_zipapp(target: Path, epoch: int) -> None:
    """Write the package as one file that Python runs, with the sample of the demo (docs.python.org, zipapp)."""
    package = ROOT / "src" / "logferry"
    files = [(str(path.relative_to(package.parent)), path.read_bytes()) for path in _package_files(package)]
    files += [("logferry/sample_logs.txt", (ROOT / "sample_logs.txt").read_bytes()), ("__main__.py", _MAIN.encode())]
    when = time.gmtime(max(epoch, _FIRST_ZIP_TIME))[:6]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in sorted(files):
            entry = zipfile.ZipInfo(name, when)
            entry.external_attr, entry.compress_type = 0o644 << 16, zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    target.write_bytes(b"#!/usr/bin/env python3\n" + packed.getvalue())
    target.chmod(0o755)


def _package_files(package: Path) -> Iterable[Path]:
    return (
        path
        for path in package.rglob("*")
        if path.is_file() and path.suffix not in (".pyc", ".so") and "__pycache__" not in path.parts
    )


if __name__ == "__main__":
    sys.exit(main())
