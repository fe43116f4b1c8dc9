"""A client's file name made safe to use as a name on disk. Nothing is looked up or created.

Whatever comes in, what comes out

- is one component of a path: no separator, no drive, never ``.`` or ``..``;
- has only letters, marks and digits of any script (in NFC), ``-``, ``_`` and one ``.``: no control
  character, no invisible one, none that turns the direction of the text;
- does not begin with a dot or a dash, and is no device of Windows (``CON``, ``NUL``, ``COM1``);
- has at most ``LONGEST_BYTES`` bytes of UTF-8, its extension included;
- ends, where the content's type is known, in an extension of that type: ``shell.php`` that holds a
  JPEG becomes ``shell_php.jpg``, and so does ``shell.php.jpg``, which some web servers would run.

It does not make a name unique: ``UploadedFile.move_to`` does.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

# File systems take 255; the rest is left for what an application puts before or behind it.
LONGEST_BYTES: Final = 120
# A longer name is no name: only its end is looked at, so that the work is bounded.
_LONGEST_LOOKED_AT: Final = 4096
_LONGEST_EXTENSION: Final = 10

_SEPARATOR = re.compile(r"[/\\\x00]")
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])", re.IGNORECASE)
_EXTENSION = re.compile(rf"[A-Za-z0-9]{{1,{_LONGEST_EXTENSION}}}")

# What else files of a type are called; the first is the usual one, and is always right.
_ALSO: Final = {
    "jpg": ("jpeg", "jpe", "jfif"),
    "tif": ("tiff",),
    "mpg": ("mpeg",),
    "heic": ("heif",),
    "mid": ("midi",),
    "aiff": ("aif",),
    "png": ("apng",),
    "mp4": ("m4v",),
    "ogg": ("oga", "opus", "ogv"),
    "gz": ("tgz",),
    "txt": ("text", "log"),
    "md": ("markdown",),
    "ndjson": ("jsonl",),
}


def safe_name(name: str, extension: str | None = None) -> str:
    """Return *name* as one that can be used on disk.

    Args:
        name: what the client calls the file; anything at all.
        extension: the usual extension of the content's type (without a dot), where that is known;
            None keeps the one that the name has, made safe.
    """
    last = _SEPARATOR.split(name[-_LONGEST_LOOKED_AT:])[-1]
    # A name with a drive or a stream ("C:x", "x:y") is a colon away from being a path.
    stem, dot, suffix = last.rpartition(".")
    if not dot or not _EXTENSION.fullmatch(suffix):
        stem, suffix = last, ""
    if extension is None:
        return _join(_clean(stem), suffix.lower())
    if suffix.lower() != extension and suffix.lower() not in _ALSO.get(extension, ()):
        stem, suffix = last, extension
    return _join(_clean(stem), suffix.lower())


def _clean(stem: str) -> str:
    kept = "".join(map(_safe, unicodedata.normalize("NFC", stem)))
    return re.sub(r"_{2,}", "_", kept).strip("_").lstrip("-_")


def _safe(character: str) -> str:
    """Return *character* if it may stay, else what stands for it."""
    if character == "-" or character.isalnum():
        return character
    category = unicodedata.category(character)
    if category[0] == "M":
        return character  # an accent, or a vowel of many scripts
    # Controls, what is invisible or turns the direction, halves of characters, and no characters.
    return "" if category[0] == "C" else "_"


def _join(stem: str, suffix: str) -> str:
    stem = stem or "upload"
    if _DEVICE.fullmatch(stem):
        stem = f"file_{stem}"
    room = LONGEST_BYTES - (len(suffix) + 1 if suffix else 0)
    # Cut between characters: what is left of one that does not fit is dropped.
    stem = stem.encode()[:room].decode(errors="ignore")
    return f"{stem}.{suffix}" if suffix else stem
