"""Files are put into a directory, and never over others unawares.

Promises: either all that is to be written is, or, where a file is in the way, nothing. A file that
is there with the same text is left as it is; so is one of the user's own that files of a platform
only go with (a Dockerfile, say).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tonnage.commands.deploying.told import File
from tonnage.errors import ConfigError


def write(files: Sequence[File], directory: Path, *, force: bool) -> Iterator[str]:
    """Write *files* into *directory* and yield a line for each, on what was done.

    *force* overwrites those that are in the way.

    Raises:
        ConfigError: a file is in the way, or the directory cannot be written.
    """
    found = {file.name: _read(directory / file.name) for file in files}
    if not force:
        _refuse_others(files, found, directory)
    for file in files:
        path, text = directory / file.name, found[file.name]
        if text == file.text:
            yield f"{path} is up to date"
        elif text is not None and file.is_shared and not force:
            yield f"{path} is kept as it is{_difference(text, file.text)}"
        else:
            _write(path, file.text)
            yield f"{path} is {'written' if text is None else 'overwritten'}"


def _refuse_others(files: Iterable[File], found: dict[str, str | None], directory: Path) -> None:
    for file in files:
        text = found[file.name]
        if text is not None and text != file.text and not file.is_shared:
            raise ConfigError(
                f"{directory / file.name} is there already{_difference(text, file.text)}: see what"
                " would be written with --print, write elsewhere with --output, or overwrite it"
                " with --force"
            )


def _difference(old: str, new: str) -> str:
    """Return how much *new* differs from *old*, as a person counts."""
    lines = [
        line
        for line in difflib.unified_diff(old.splitlines(), new.splitlines(), n=0)
        if line[:1] in "+-" and line[:3] not in ("+++", "---")
    ]
    more = sum(line.startswith("+") for line in lines)
    return f" (what init makes has {more} lines more and {len(lines) - more} fewer)"


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror or error}") from error
