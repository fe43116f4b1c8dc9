"""A cut-out with rembg as its manual has it; as a program, of the photo on its standard input."""

from __future__ import annotations

import functools
import io
import sys
from typing import Any

MODEL = "u2netp"


def cut_with_rembg(photo: bytes) -> bytes:
    """Return what *photo* shows, on white, as a JPEG of at most 800 x 800."""
    from PIL import Image
    from rembg import remove

    with Image.open(io.BytesIO(photo)) as opened:
        cut = remove(opened, session=_session())
    cut.thumbnail((800, 800))
    flat = Image.new("RGB", cut.size, "white")
    flat.paste(cut, mask=cut.getchannel("A"))
    made = io.BytesIO()
    flat.save(made, "JPEG", quality=85)
    return made.getvalue()


@functools.cache
def _session() -> Any:
    from rembg import new_session

    return new_session(MODEL)


if __name__ == "__main__":
    sys.stdout.buffer.write(cut_with_rembg(sys.stdin.buffer.read()))
