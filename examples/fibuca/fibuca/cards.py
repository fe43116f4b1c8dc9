"""Membership cards, drawn: a portrait, a name, a number; as PNG for the screen, as PDF for paper.

A card has the size of a bank card (ISO 7810 ID-1) at 300 dots per inch. It takes some 4 MB while it
is drawn, which is too little to be done elsewhere, and is drawn anew whenever somebody asks.
"""

from __future__ import annotations

import unicodedata
from datetime import datetime
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Protocol

from PIL import Image, ImageDraw, ImageFont, ImageOps

DOTS_PER_INCH = 300
SIZE = (1011, 638)
MARGIN = 56
BAND_HEIGHT = 132
PORTRAIT = (315, 405)  # 35 to 45, as in a passport

PAPER, INK, MUTED = "#ffffff", "#12312f", "#5f7674"
BAND, ON_BAND, LINE = "#0f766e", "#ffffff", "#d5e3e1"

# Pillow's own font has the letters of ASCII; for other names one of these, if the system has it.
FONTS = ("NotoSans-Regular.ttf", "DejaVuSans.ttf", "LiberationSans-Regular.ttf", "Arial.ttf")

TYPES = {"png": "image/png", "pdf": "application/pdf"}


class Holder(Protocol):
    """Whose card it is."""

    @property
    def number(self) -> int:
        """What the member is called by in the books."""

    @property
    def name(self) -> str:
        """What he or she is called."""

    @property
    def joined_at(self) -> datetime:
        """Since when."""


def card_of(holder: Holder, portrait: Path, kind: str) -> bytes:
    """Return the card of *holder* as ``png`` or ``pdf``."""
    card = _draw(holder, portrait)
    written = BytesIO()
    if kind == "pdf":
        card.save(written, "PDF", resolution=DOTS_PER_INCH, quality=92, title="Membership card")
    else:
        card.save(written, "PNG", optimize=True, dpi=(DOTS_PER_INCH, DOTS_PER_INCH))
    return written.getvalue()


def _draw(holder: Holder, portrait: Path) -> Image.Image:
    card = Image.new("RGB", SIZE, PAPER)
    pen = ImageDraw.Draw(card)
    pen.rectangle((0, 0, SIZE[0], BAND_HEIGHT), fill=BAND)
    middle = BAND_HEIGHT / 2
    pen.text((MARGIN, middle), "Fibuca", ON_BAND, _font(64), anchor="lm", stroke_width=1)
    pen.text((SIZE[0] - MARGIN, middle), "Membership card", ON_BAND, _font(30), anchor="rm")

    top = BAND_HEIGHT + (SIZE[1] - BAND_HEIGHT - PORTRAIT[1]) // 2
    with Image.open(portrait) as photo:
        # Level with the head: what has to go, goes below.
        card.paste(
            ImageOps.fit(photo.convert("RGB"), PORTRAIT, centering=(0.5, 0.0)), (MARGIN, top)
        )
    right, bottom = MARGIN + PORTRAIT[0], top + PORTRAIT[1]
    pen.rectangle((MARGIN - 1, top - 1, right, bottom), outline=LINE, width=2)

    left, width = right + 48, SIZE[0] - right - 48 - MARGIN
    lines, font = _lines(pen, *_readable(holder.name), width)
    y = top + 6
    for line in lines:
        pen.text((left, y), line, INK, font, anchor="lt", stroke_width=1)
        y += round(font.size * 1.25)
    pen.text((left, bottom - 118), "MEMBER NO.", MUTED, _font(24), anchor="ls")
    pen.text((left, bottom - 66), f"{holder.number:06d}", INK, _font(52), anchor="ls")
    pen.text((left, bottom - 8), f"since {holder.joined_at:%B %Y}", MUTED, _font(28), anchor="ls")
    return card


def _lines(
    pen: ImageDraw.ImageDraw, name: str, face: str, width: int
) -> tuple[list[str], ImageFont.FreeTypeFont]:
    """Return *name* in as few lines as it needs, and a size in which they fit."""
    for size in (60, 52, 44, 36):
        font = _font(size, face)
        lines = [""]
        for word in name.split():
            longer = f"{lines[-1]} {word}".strip()
            if not lines[-1] or pen.textlength(longer, font) <= width:
                lines[-1] = longer
            else:
                lines.append(word)
        if len(lines) <= 3 and max(pen.textlength(line, font) for line in lines) <= width:
            return lines, font
    return [_cut(pen, line, font, width) for line in lines[:3]], font


def _cut(pen: ImageDraw.ImageDraw, line: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """Return as much of *line* as there is room for."""
    if pen.textlength(line, font) <= width:
        return line
    while pen.textlength(f"{line}...", font) > width:
        line = line[:-1]
    return f"{line}..."


def _readable(name: str) -> tuple[str, str]:
    """Return *name* and the font for it; where there is none, as much of it as ASCII has."""
    face = "" if name.isascii() else _system_font()
    if not face:
        plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
        name = plain.strip() or "?"
    return name, face


@lru_cache(maxsize=1)
def _system_font() -> str:
    """Return the first of the fonts that is there; "": none is."""
    for name in FONTS:
        try:
            ImageFont.truetype(name)
        except OSError:
            continue
        return name
    return ""


@lru_cache(maxsize=16)
def _font(size: int, face: str = "") -> ImageFont.FreeTypeFont:
    """Return a font of the system, or Pillow's own, for which no file is needed."""
    font = ImageFont.truetype(face, size) if face else ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)  # with a size, it is
    return font
