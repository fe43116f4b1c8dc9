"""Photos for cards: what is taken, what becomes of it, and where it stays.

Of what comes in nothing is kept but a small portrait: the person before white, in the shape of a
passport's photo, without what the camera had noted besides. Finding the person takes a model 200 MB
for a second or two, so that is done by a process beside the server, one photo at a time; who sent
it asks meanwhile how far it is.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from fibuca import members
from tonnage import Uploads, images
from tonnage.images.kit import PictureJobs

DATA = Path(os.environ.get("FIBUCA_DATA", "data"))
PORTRAITS = (DATA / "photos").resolve()
PORTRAITS.mkdir(parents=True, exist_ok=True)

uploads = Uploads(
    max_bytes="2M",
    types=["image/jpeg", "image/png"],
    concurrent=1,
    # Who waits for a turn holds one of 16 threads: half of them are for all else.
    waiting=8,
    max_files=1,
    directory=PORTRAITS,
)


def keep(portrait: images.Picture, number: int) -> None:
    """Keep the portrait of member *number*, in place of the last one."""
    path = portrait_of(number)
    # Whole or not at all: somebody may be asking for it.
    unfinished = path.with_suffix(".new")
    unfinished.write_bytes(portrait.content)
    unfinished.replace(path)
    if not members.note_photo(number, portrait.media_type, len(portrait.content)):
        forget(number)


def forget(number: int) -> None:
    """Forget the portrait of member *number*."""
    portrait_of(number).unlink(missing_ok=True)


def portrait_of(number: int) -> Path:
    """Return where the portrait of member *number* is, if there is one."""
    return PORTRAITS / f"{number}.jpg"


jobs = PictureJobs(
    partial(
        images.remove_background,
        model=os.environ.get("FIBUCA_MODEL", "u2netp"),
        background="white",
        crop="passport",
        max_width=413,  # 35 x 45 mm, at 300 dots per inch
        max_height=531,
    ),
    name="portraits",
    waiting=8,
    # Portraits are kept below PORTRAITS, and nowhere else; the rest says how jobs went.
    keep=None,
    keep_bytes="4M",
    then=keep,
)
