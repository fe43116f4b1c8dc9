"""Where models are, and whether they are what they should be. Never fetches one.

Promises: a file whose name is known is used only if its sum is right. The sum is taken once for
each state of a file (size, time, inode) in a process: 10 ms for u2netp, 0.3 s for u2net.

The directory is ``--models-dir``, or ``U2NET_HOME`` as rembg has it, or else ``tonnage/models`` in
the user's data directory; rembg's own directories are looked at too then. In each, both of rembg's
layouts are understood: ``NAME.onnx`` and ``models/NAME/NAME.onnx``.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tonnage.errors import ModelError
from tonnage.images.background.models import DEFAULT, Model
from tonnage.jobs import settings

if TYPE_CHECKING:
    from collections.abc import Mapping

# Of files that were found right; bounded by the files there are, and one model is used at a time.
_right: set[tuple[str, int, int, int, str]] = set()
_MOST_RIGHT: Final = 64


def directory() -> Path:
    """Return where models are installed."""
    chosen = settings.current().models_dir
    return Path(chosen).expanduser() if chosen else _data_directory(os.environ)


def find(model: Model) -> Path | None:
    """Return the file of *model*, unchecked; None: there is none."""
    if model.is_file:
        named = Path(model.name).expanduser()
        return named if named.is_file() else None
    return next((path for path in _candidates(model) if path.is_file()), None)


def found(model: Model) -> Path:
    """Return the file of *model*, unchecked.

    Raises:
        ModelError: it is not there; the message says how to get it.
    """
    path = find(model)
    if path is None:
        raise ModelError(_how_to_get(model))
    return path


def checked(model: Model) -> Path:
    """Return the file of *model*, whose sum is right.

    Raises:
        ModelError: it is not there, cannot be read, or is another or a damaged one.
    """
    path = found(model)
    if model.sum is not None:
        try:
            check(path, model.sum)
        except OSError as error:
            raise ModelError(f"the model {path} cannot be read: {error.strerror}") from error
    return path


def check(path: Path, wanted_sum: str) -> None:
    """See that the bytes of *path* give *wanted_sum*, as ``sha256:...`` or ``md5:...``.

    Raises:
        ModelError: they do not.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        state = (
            str(path.resolve()),
            status.st_size,
            status.st_mtime_ns,
            status.st_ino,
            wanted_sum,
        )
        if state in _right:
            return
        kind, _, digits = wanted_sum.partition(":")
        if hashlib.file_digest(file, kind).hexdigest() != digits:
            raise ModelError(
                f"the model {path} is not what it should be: its {kind} is not {digits}; it was"
                " cut short on its way, or is another model: remove it and get it again"
            )
    if len(_right) >= _MOST_RIGHT:
        _right.clear()
    _right.add(state)


def _candidates(model: Model) -> list[Path]:
    homes = [directory()]
    if not settings.current().models_dir:
        homes += _rembg_homes(os.environ)
    return [
        path
        for home in homes
        for path in (home / model.file_name, home / "models" / model.name / model.file_name)
    ]


def _how_to_get(model: Model) -> str:
    if model.is_file:
        return f"there is no model {model.name}"
    if model.name == DEFAULT:
        return f"the model {DEFAULT} is not in {directory()}: run tonnage models install"
    return (
        f"the model {model.name} is not in {directory()}: get {model.file_name} from rembg's"
        f" releases and run tonnage models install {model.name} --from FILE"
    )


def _data_directory(environ: Mapping[str, str]) -> Path:
    """Return ours as the XDG base directories have it; a path that is relative does not count."""
    chosen = environ.get("XDG_DATA_HOME", "")
    home = Path(chosen) if os.path.isabs(chosen) else Path("~/.local/share").expanduser()
    return home / "tonnage" / "models"


def _rembg_homes(environ: Mapping[str, str]) -> list[Path]:
    """Return where rembg keeps its models if nothing else is said, now and before."""
    data = environ.get("XDG_DATA_HOME")
    now = environ.get("REMBG_HOME") or (f"{data}/rembg" if data else "~/.rembg")
    return [Path(now).expanduser(), Path(data or "~").expanduser() / ".u2net"]
