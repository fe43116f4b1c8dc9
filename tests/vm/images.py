"""The guest's two disks and the archive it starts from.

- The system: the interpreter, its standard library, the virtual environment, the C libraries they
  need, busybox. It changes seldom, so it is made once and kept in ``.vm``, named by what is in it.
- The checkout: what the tests need of it. Made anew for each run; it takes a tenth of a second.
- The archive: busybox, the modules for the disks, and the script that mounts them.

Every file is at the path that it has outside, so compiled modules, the environment's scripts and
its link to the checkout are right as they are. The disks are ext4, without compression: under
emulation unpacking would cost more than reading. What the guest writes is thrown away.
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.vm.cpio import archive
from tests.vm.needs import CACHE, ROOT, Needs

_HERE = Path(__file__).parent
_CHECKOUT = ("pyproject.toml", "src", "tests", "examples", "benchmarks")
# Room for what tests write: page cache tests write files of a few hundred MB. The file is sparse.
_FREE_BYTES = 2 * 2**30
_STANDARD_LIBRARY = Path(sysconfig.get_path("stdlib"))
_ENVIRONMENT = Path(sys.prefix)
# Where the dynamic linker finds a library by its name.
_LIBRARY_INDEX = Path("/etc/ld.so.cache")
# Large, and nothing that a test of memory limits imports.
_NOT_COPIED = shutil.ignore_patterns(
    "pip",
    "mypy",
    "mypyc",
    "*__mypyc*",
    "ruff*",
    "granian",
    "matplotlib*",
    "fontTools",
    # Half-written ones, of whoever runs beside this.
    "*.pyc.*",
)
_NOT_COPIED_OF_STANDARD_LIBRARY = shutil.ignore_patterns(
    "site-packages", "dist-packages", "test", "idlelib", "ensurepip", "lib2to3", "config-*"
)


@contextmanager
def checkout_disk(needs: Needs) -> Iterator[Path]:
    """Yield an image of the checkout as it is now; it is gone after the block."""
    with _stage() as stage:
        for name in _CHECKOUT:
            _copy(ROOT / name, stage / name, shutil.copy2)
        # Compiling is slow in the guest, and a module compiled in a process is memory held by it.
        subprocess.run(
            [sys.executable, "-m", "compileall", "-q", "-j2", "-s", stage, "-p", ROOT, stage],
            check=True,
        )
        image = stage.with_suffix(".ext4")
        _make_disk(needs, stage, image)
        try:
            yield image
        finally:
            image.unlink()


def system_disk(needs: Needs) -> Path:
    """Return an image of the interpreter and the environment, made if what is in it has changed."""
    image = CACHE / f"system-{_system_key(needs)}.ext4"
    if image.exists():
        return image
    for old in CACHE.glob("system-*.ext4"):
        old.unlink()
    with _stage() as stage:
        for path in _system_files(needs):
            _copy(path, _inside(stage, path), _link_or_copy)
        for directory in ("/bin", "/dev", "/etc", "/proc", "/run", "/sys", "/tmp", "/root"):
            _inside(stage, Path(directory).resolve()).mkdir(parents=True, exist_ok=True)
        # Under a name of its own first: a run that is broken off leaves no half of an image.
        unfinished = stage.with_suffix(".ext4")
        _make_disk(needs, stage, unfinished)
        unfinished.replace(image)
    return image


def start_archive(needs: Needs, command: Sequence[str], slowness: float) -> bytes:
    """Return the archive that the kernel starts from.

    Args:
        needs: where the modules and busybox are.
        command: what the guest runs.
        slowness: how many times slower the guest is, for ``tests.support.slowness``.
    """
    settings = {
        "CHECKOUT": str(ROOT),
        "PYTHON": sys.executable,
        "COMMAND": shlex.join(command),
        "SLOWNESS": f"{slowness:g}",
    }
    files = {
        "/init": (_HERE / "init").read_bytes(),
        "/guest": (_HERE / "guest").read_bytes(),
        "/settings": "".join(f"{k}={shlex.quote(v)}\n" for k, v in settings.items()).encode(),
        "/bin/busybox": needs.busybox.read_bytes(),
    }
    files |= {str(path): path.read_bytes() for path in _libraries([needs.busybox])}
    # Loaded in the order of their names.
    for number, module in enumerate(needs.modules):
        files[f"/modules/{number:02}-{module.name.partition('.')[0]}.ko"] = _unpacked(module)
    return archive(files)


def _system_files(needs: Needs) -> Iterator[Path]:
    """Yield what the system disk holds, directories for all that is in them."""
    # /bin is a link to usr/bin in some distributions, and no link in others.
    yield from (top for top in Path("/").iterdir() if top.is_symlink() and top.is_dir())
    yield from _links_to(Path(sys.executable))
    yield from (_STANDARD_LIBRARY, _ENVIRONMENT / "lib", _ENVIRONMENT / "pyvenv.cfg")
    yield needs.busybox
    extensions = (_STANDARD_LIBRARY / "lib-dynload", _ENVIRONMENT)
    objects = [file for directory in extensions for file in directory.rglob("*.so")]
    yield from _libraries([Path(sys.executable), needs.busybox, *objects])
    yield _LIBRARY_INDEX


def _links_to(path: Path) -> Iterator[Path]:
    """Yield *path*, what it links to, what that links to, and so on."""
    while path.is_symlink():
        yield path
        path = path.parent / os.readlink(path)
    yield path


def _libraries(programs: Iterable[Path]) -> list[Path]:
    """Return the shared libraries that any of *programs* loads, with the links to them."""
    command = ["ldd", *map(str, programs)]
    printed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    paths = set(re.findall(r"(/\S+) \(0x", printed))
    return sorted({link for path in paths for link in _links_to(Path(path))})


def _unpacked(module: Path) -> bytes:
    data = module.read_bytes()
    if module.suffix == ".xz":
        return lzma.decompress(data)
    return gzip.decompress(data) if module.suffix == ".gz" else data


def _inside(stage: Path, path: Path) -> Path:
    """Return where *path* belongs below *stage*, with links between directories resolved."""
    return stage / str(path.parent.resolve() / path.name).lstrip("/")


def _copy(source: Path, target: Path, copy_file: Callable[..., object]) -> None:
    """Copy *source* to *target*, all of it if it is a directory."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir() and not source.is_symlink():
        shutil.copytree(
            source,
            target,
            symlinks=True,
            ignore=_not_copied,
            copy_function=copy_file,
            dirs_exist_ok=True,
        )
    elif not os.path.lexists(target):
        copy_file(source, target)


def _not_copied(directory: str, names: list[str]) -> set[str]:
    if Path(directory) == _STANDARD_LIBRARY:
        return _NOT_COPIED_OF_STANDARD_LIBRARY(directory, names)
    return _NOT_COPIED(directory, names)


def _link_or_copy(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # on another file system, or somebody else's file
        shutil.copy2(source, target, follow_symlinks=False)


@contextmanager
def _stage() -> Iterator[Path]:
    """Yield an empty directory in which a disk's content is put together."""
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="stage-", dir=CACHE) as above:
        stage = Path(above, "content")
        stage.mkdir()
        yield stage


def _make_disk(needs: Needs, stage: Path, image: Path) -> None:
    """Write a file system with what is in *stage*, and room for more."""
    content_bytes = sum(file.lstat().st_size for file in stage.rglob("*"))
    size_bytes = content_bytes * 5 // 4 + _FREE_BYTES
    options = ("-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-E", "root_owner=0:0")
    size = f"{size_bytes // 1024}K"
    command: list[str | Path] = [needs.mke2fs, *options, "-d", stage, image, size]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _system_key(needs: Needs) -> str:
    """Return a short name for what the system disk would hold."""
    found = hashlib.sha256()
    paths = [Path(__file__), needs.busybox, Path(sys.executable).resolve(), _LIBRARY_INDEX]
    paths += sorted(_ENVIRONMENT.glob("lib/python*/site-packages/*"))
    for path in paths:
        found.update(f"{path} {path.stat().st_mtime_ns}\n".encode())
    return found.hexdigest()[:16]
