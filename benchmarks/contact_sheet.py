"""What removing a background makes of portraits, on one sheet, to be looked at by a person.

    python -m benchmarks.contact_sheet sheet.png [PHOTO...]

A row for each photo, the benchmarks' portrait of 12 megapixels if none is named: the photo, what is
in front on a chequered ground, on white and on a colour, and cut as a passport photo. Beside each
is how long it took. Needs u2netp: ``tonnage models install``.
"""

from __future__ import annotations

import argparse
import io
import time
from pathlib import Path
from typing import Any, Final

from PIL import Image, ImageDraw

from benchmarks.portrait import portrait
from tonnage import images

HEIGHT: Final = 450
_SQUARE: Final = 15
_WAYS: Final[tuple[dict[str, Any], ...]] = (
    {},
    {"background": "white"},
    {"background": "#20c0a0"},
    {"crop": "passport"},
)


def main() -> None:
    """Make the sheet."""
    parser = argparse.ArgumentParser(description="Make a sheet of cut-outs.")
    parser.add_argument("sheet", type=Path, help="where it goes, as PNG")
    parser.add_argument("photos", type=Path, nargs="*", help="of what (default: our portrait)")
    chosen = parser.parse_args()
    sources: list[bytes | Path] = list(chosen.photos) or [portrait()]
    rows = [_row(source) for source in sources]
    sheet = Image.new("RGB", (max(row.width for row in rows), HEIGHT * len(rows)), "grey")
    for number, row in enumerate(rows):
        sheet.paste(row, (0, number * HEIGHT))
    sheet.save(chosen.sheet)


def _row(source: bytes | Path) -> Image.Image:
    tiles = [images.open(source).decode(HEIGHT * 2, HEIGHT)]
    for way in _WAYS:
        begun = time.perf_counter()
        made = images.remove_background.wait(source, **way)
        print(f"{way or 'transparent'}: {time.perf_counter() - begun:.2f} s, {made}")
        tiles.append(_on_chequers(Image.open(io.BytesIO(made.content))))
    tiles = [tile.resize((round(tile.width * HEIGHT / tile.height), HEIGHT)) for tile in tiles]
    row = Image.new("RGB", (sum(tile.width for tile in tiles), HEIGHT))
    left = 0
    for tile in tiles:
        row.paste(tile, (left, 0))
        left += tile.width
    return row


def _on_chequers(picture: Image.Image) -> Image.Image:
    if picture.mode != "RGBA":
        return picture
    below = Image.new("RGB", picture.size, "white")
    draw = ImageDraw.Draw(below)
    for top in range(0, picture.height, _SQUARE):
        for left in range(top // _SQUARE % 2 * _SQUARE, picture.width, 2 * _SQUARE):
            draw.rectangle((left, top, left + _SQUARE - 1, top + _SQUARE - 1), fill="lightgrey")
    below.paste(picture, mask=picture)
    return below


if __name__ == "__main__":
    main()
