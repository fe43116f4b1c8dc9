"""Where the shared levels of a server lie: a directory of its own, on a disk.

Without a setting it is made for each server anew, where temporary files are, and removed when the
server ends; what one that was killed has left behind, the next one removes. So it outlives workers
and not the server. With ``--cache-dir`` it stays: the next server finds what is there, unless the
machine was started anew meanwhile, since nothing is written through to the disk.

A directory belongs to one server at a time. Who finds the one that was named in use makes one of
its own, and says so. What lies in memory (tmpfs) counts against the limit: that is said too.

The directory is open to its owner alone (0700), and one that is not ours is not used.
"""

from __future__ import annotations

import atexit
import fcntl
import logging
import os
import secrets
import shutil
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tonnage.errors import StoreError
from tonnage.host.commons import open_commons, share
from tonnage.host.filesystems import in_memory_as

if TYPE_CHECKING:
    from tonnage.host.commons import Region

logger = logging.getLogger("tonnage.stores")

#: What lies in a directory that was named.
NAMED: Final = "tonnage-cache"

# What its processes know of it: the length of its path, the path, and in the last word what tells
# this server from others.
_REGION: Final = ("shared directory", 4096)
_TOKEN: Final = 511
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_LONGEST_PATH: Final = 4080

# The descriptor that says this process uses a directory; open as long as it lives.
_in_use: dict[Path, int] = {}


def shared_directory(named: Path | None) -> Path:
    """Return the directory of this server, the same in all its processes; made if it is not there.

    Args:
        named: below which directory it is to be; None: where temporary files are.

    Raises:
        StoreError: there can be none.
    """
    region = share(*_REGION)
    with region.locked():
        length = region.words[0]
        known = Path(os.fsdecode(bytes(region.bytes[8 : 8 + length]))) if length else None
        try:
            found = known and _still_ours(known, region)
            if found is None:
                found = (named and _named(named, region)) or _own()
        except OSError as error:
            raise StoreError(f"there is no directory for shared caches: {error}") from error
        text = os.fsencode(found)
        if len(text) > _LONGEST_PATH:
            raise StoreError(f"there is no directory for shared caches: {found} is too long")
        region.bytes[8 : 8 + len(text)] = text
        region.words[0] = len(text)
    return found


def remove_directory() -> None:
    """Remove the directory of this server, unless it was named; when all its workers have ended."""
    region = share(*_REGION)
    length = region.words[0]
    path = Path(os.fsdecode(bytes(region.bytes[8 : 8 + length])))
    if length and _is_own(path):
        shutil.rmtree(path, ignore_errors=True)


def _still_ours(path: Path, region: Region) -> Path | None:
    """Return the directory that this server uses already, unless another one has taken it.

    That can be when its only worker has just ended.
    """
    if _is_own(path) or (path / "server").read_bytes() == _token(region):
        return _hold(path)
    return None


def _token(region: Region) -> bytes:
    """Return what tells this server from others."""
    if not region.words[_TOKEN]:
        region.words[_TOKEN] = secrets.randbits(64) | 1
    return b"%016x" % region.words[_TOKEN]


def _named(parent: Path, region: Region) -> Path | None:
    """Return the directory below *parent*, if no other server has it."""
    path = parent / NAMED
    parent.mkdir(parents=True, exist_ok=True)
    if _hold(path, alone=True) is None:
        logger.warning(
            "%s is used by another server: what workers of this one share is not there, and not"
            " kept when it ends; give each a --cache-dir of its own",
            path,
        )
        return None
    # A disk that was not told to write may have written some pages and others not.
    boot = path / "boot"
    now = _BOOT_ID.read_text() if _BOOT_ID.exists() else ""
    if not boot.exists() or boot.read_text() != now:
        for each in path.glob("*.mdb*"):
            each.unlink(missing_ok=True)
        boot.write_text(now)
    (path / "server").write_bytes(_token(region))
    _complain_of_memory(path)
    return path


def _own() -> Path:
    """Return a new directory for this server alone."""
    tried = dict.fromkeys((tempfile.gettempdir(), "/tmp", "/var/tmp"))
    parents = [path for path in map(Path, tried) if os.access(path, os.W_OK | os.X_OK)]
    if not parents:
        raise StoreError("there is no directory for shared caches: no temporary files can be made")
    parent = next((path for path in parents if in_memory_as(path) is None), parents[0])
    _sweep(parent)
    while True:
        path = parent / f"{_prefix()}{secrets.token_hex(8)}"
        if _hold(path) is not None:
            _complain_of_memory(path)
            return path


def _prefix() -> str:
    return f"{NAMED}-{os.getuid()}-"


def _is_own(path: Path) -> bool:
    return path.name.startswith(_prefix())


def _hold(path: Path, *, alone: bool = False) -> Path | None:
    """Use *path*, made if it is not there; None: it went meanwhile, or is not to be had *alone*."""
    path.mkdir(0o700, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise StoreError(f"{path} is not used for shared caches: it is not ours alone")
    if path in _in_use:
        return path
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if alone:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        # Who sweeps may have had it just before.
        if os.path.samestat(os.fstat(fd), os.stat(path)):
            _in_use[path] = fd
            return path
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(fd)
    return None


def _sweep(parent: Path) -> None:
    """Remove what servers have left behind that were killed."""
    for path in parent.glob(f"{_prefix()}*"):
        if path.is_symlink() or path.lstat().st_uid != os.getuid():
            continue
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        except BlockingIOError:
            pass  # its server lives
        finally:
            os.close(fd)


def _complain_of_memory(path: Path) -> None:
    kind = in_memory_as(path)
    if kind is not None:
        logger.warning(
            "%s is on a %s: what workers share there counts as memory; name a directory on a disk"
            " with --cache-dir",
            path,
            kind,
        )


def _remove_at_exit() -> None:
    # Elsewhere the server does it, when its last worker is gone.
    if open_commons().opened_by == os.getpid():
        remove_directory()


atexit.register(_remove_at_exit)
