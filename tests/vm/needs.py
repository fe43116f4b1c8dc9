"""What this machine has to boot another kernel with: qemu, a kernel, busybox, mke2fs, this venv.

``find_needs()`` only looks; what it finds is put together by ``images`` and booted by ``machine``.
A kernel and busybox may be installed, or unpacked by ``tests/vm/fetch`` below ``.vm/packages``,
which takes no root and leaves the machine's own ``/boot`` alone.

Not covered: another processor than x86-64, another C library than glibc, and kernels whose modules
are packed in a way that Python cannot unpack (zstd).
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".vm"

# In the order in which they must be loaded; what is not a file is built into the kernel.
_MODULES = (
    *("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci"),
    *("virtio_blk", "crc16", "crc32c_generic", "mbcache", "jbd2", "ext4"),
)
_MODULE_ENDS = (".ko", ".ko.xz", ".ko.gz")


class MissingError(Exception):
    """Something is not there; the message says what, and how to get it."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a virtual machine is made of.

    Attributes:
        qemu: the emulator.
        mke2fs: makes a file system out of a directory, without root.
        busybox: every command in the guest.
        kernel: the kernel's compressed image.
        release: the kernel's version, as ``uname -r`` gives it.
        modules: what it takes to see a disk, in the order of loading.
    """

    qemu: str
    mke2fs: str
    busybox: Path
    kernel: Path
    release: str
    modules: tuple[Path, ...]


def find_needs() -> Needs:
    """Return what was found.

    Raises:
        MissingError: if anything is not there.
    """
    if platform.machine() != "x86_64":
        raise MissingError(f"needs an x86-64 machine, not {platform.machine()}")
    if sys.prefix == sys.base_prefix:
        raise MissingError("needs the tests' own virtual environment: make test-cgroup2")
    kernel, release = _kernel()
    return Needs(
        qemu=_program("qemu-system-x86_64", "qemu-system-x86"),
        mke2fs=_program("mke2fs", "e2fsprogs"),
        busybox=_busybox(),
        kernel=kernel,
        release=release,
        modules=tuple(_modules(kernel.parents[1], release)),
    )


def _program(name: str, package: str) -> str:
    # A user's PATH has no sbin, where mke2fs is; it does not need root for a file of our own.
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if found is None:
        raise MissingError(f"needs {name} (Debian: apt-get install {package})")
    return found


def _busybox() -> Path:
    fetched = CACHE / "packages/bin/busybox"
    if fetched.exists():
        return fetched
    found = shutil.which("busybox")
    if found is None:
        raise MissingError(
            "needs busybox (tests/vm/fetch, or Debian: apt-get install busybox-static)"
        )
    return Path(found)


def _kernel() -> tuple[Path, str]:
    """Return the newest kernel that can be read and whose modules are there, and its release."""
    for root in (CACHE / "packages", Path("/")):
        images = sorted((root / "boot").glob("vmlinuz-*"), key=_by_number, reverse=True)
        for image in images:
            release = image.name.removeprefix("vmlinuz-")
            if os.access(image, os.R_OK) and (root / "lib/modules" / release).is_dir():
                return image, release
    raise MissingError(
        "needs a kernel (tests/vm/fetch, or apt-get install linux-image-cloud-amd64)"
    )


def _by_number(path: Path) -> list[int]:
    digits = "".join(c if c.isdigit() else " " for c in path.name)
    return [int(number) for number in digits.split()]


def _modules(root: Path, release: str) -> Iterator[Path]:
    directory = root / "lib/modules" / release
    files = {
        file.name.partition(".")[0].replace("-", "_"): file
        for file in (directory / "kernel").rglob("*.ko*")
    }
    for name in _MODULES:
        file = files.get(name)
        if file is None:
            continue
        if not file.name.endswith(_MODULE_ENDS):
            raise MissingError(f"cannot unpack {file.name} of the kernel {release}: tests/vm/fetch")
        yield file
