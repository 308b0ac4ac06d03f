"""Which file systems report every change."""

import os
import sys
from pathlib import Path

import pytest

from logferry.client.finding import mounts
from logferry.client.finding.mounts import Mounts, file_system, mount_id, mount_points

FDINFO = "pos:\t0\nflags:\t012200000\nmnt_id:\t78\nino:\t2\n"

MOUNTINFO = r"""22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
78 27 0:52 / /mnt/my\040logs\040-\040old rw,relatime shared:44 master:7 - nfs4 nas:/export/my\040logs rw,vers=4.2
79 27 0:53 / /mnt/more rw,relatime - fuse.sshfs me@host: rw
8 27 0:54 / /mnt/my\040logs\040-\040old rw - xfs /dev/vdb rw
"""


@pytest.mark.parametrize(
    ("mount", "kind"),
    [("27", "ext4"), ("78", "nfs4"), ("79", "fuse.sshfs"), ("8", "xfs"), ("22", "proc"), ("7", ""), ("", "")],
)
def test_the_type_is_that_of_the_mount_with_the_number(mount: str, kind: str) -> None:
    assert file_system(MOUNTINFO, mount) == kind


def test_the_id_of_a_mount_is_read_from_fdinfo() -> None:
    assert mount_id(FDINFO) == "78"
    assert mount_id("pos:\t0\nflags:\t02\n") == ""


def test_mount_points_are_listed_with_their_real_names() -> None:
    assert mount_points(MOUNTINFO) == {"/proc", "/", "/mnt/my logs - old", "/mnt/more"}
    assert mount_points("") == frozenset()


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        *((kind, True) for kind in ("ext2", "ext4", "xfs", "btrfs", "tmpfs", "overlay", "zfs", "f2fs")),
        *((kind, False) for kind in ("nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "fuseblk", "9p", "virtiofs", "ceph")),
        *((kind, False) for kind in ("glusterfs", "proc", "unheardof", "")),
    ],
)
def test_only_what_no_other_machine_writes_to_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, expected: bool
) -> None:
    monkeypatch.setattr(mounts, "file_system", lambda *_: kind)
    assert Mounts().is_local(str(tmp_path)) is expected


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it asks /proc")
def test_the_kernel_is_asked_about_the_real_folder(tmp_path: Path) -> None:
    if not os.path.isdir("/dev/shm"):
        pytest.skip("there is no /dev/shm, which would be a tmpfs")
    to_memory, to_proc = tmp_path / "memory", tmp_path / "proc"
    to_memory.symlink_to("/dev/shm")
    to_proc.symlink_to("/proc/self")
    assert Mounts().is_local(str(to_memory))
    assert not Mounts().is_local(str(to_proc))


def test_what_is_missing_or_not_a_folder_is_not_trusted(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert not Mounts().is_local(str(tmp_path / "missing"))
    assert not Mounts().is_local(str(tmp_path / "file"))


def test_without_the_means_nothing_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "O_PATH", raising=False)
    assert not Mounts().is_local(str(tmp_path))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it asks /proc")
def test_a_mount_point_is_recognised(tmp_path: Path) -> None:
    assert Mounts().is_point("/proc")
    assert not Mounts().is_point(str(tmp_path))
