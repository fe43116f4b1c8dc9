"""Pictures to cut something out of: drawn, so that tests know where everything is."""

from __future__ import annotations

import io

from PIL import Image, ImageDraw

BEHIND, PERSON = (20, 30, 60), (250, 240, 230)


def person(
    size: tuple[int, int] = (400, 500),
    *,
    middle: int = 200,
    crown: int = 60,
    head: tuple[int, int] = (100, 130),
    colour: tuple[int, int, int] | int = PERSON,
    ground: tuple[int, int, int] | int = BEHIND,
) -> Image.Image:
    """Return somebody bright before something dark: head, neck, shoulders down to the edge."""
    picture = Image.new("L" if isinstance(ground, int) else "RGB", size, ground)
    draw = ImageDraw.Draw(picture)
    width, height = head
    chin = crown + height
    draw.ellipse((middle - width // 2, crown, middle + width // 2, chin), fill=colour)
    neck = width // 4
    draw.rectangle((middle - neck, chin - 15, middle + neck, chin + 40), fill=colour)
    shoulders = (middle - width * 1.3, chin + 15, middle + width * 1.3, size[1] * 2)
    draw.ellipse(shoulders, fill=colour)
    return picture


def as_bytes(picture: Image.Image, format: str = "PNG") -> bytes:
    """Return *picture* as a file."""
    made = io.BytesIO()
    picture.save(made, format, quality=92)
    return made.getvalue()
