"""Where a picture is cut for a membership card."""

from __future__ import annotations

import pytest
from PIL import Image, ImageChops, ImageDraw
from tests.images.background.drawing import person

from tonnage.images.background.passport import RATIO, Frame, frame_of
from tonnage.images.background.silhouette import silhouette_of


def _frame(mask: Image.Image) -> Frame | None:
    outline = silhouette_of(mask, mask.size)
    assert outline is not None
    return frame_of(outline, mask.size)


def _with_more(mask: Image.Image, *boxes: tuple[int, int, int, int]) -> Image.Image:
    for box in boxes:
        mask.paste(255, box)
    return mask


@pytest.mark.parametrize("size", [(400, 500), (800, 1000), (200, 250)])
def test_the_head_takes_its_share_and_stands_in_the_middle(size: tuple[int, int]) -> None:
    """32 of 45 mm, 4 above it, as wide as 35."""
    scale = size[0] / 400
    mask = person(
        size,
        middle=round(170 * scale),
        crown=round(60 * scale),
        head=(round(100 * scale), round(130 * scale)),
        colour=255,
        ground=0,
    )
    outline = silhouette_of(mask, size)
    assert outline is not None
    frame = frame_of(outline, size)
    assert frame is not None
    assert frame.width / frame.height == pytest.approx(RATIO, abs=0.01)
    assert (frame.left + frame.right) / 2 == pytest.approx(170 * scale, abs=6 * scale)
    head = 130 * scale
    assert head / frame.height == pytest.approx(32 / 45, abs=0.1)
    assert (60 * scale - frame.top) / frame.height == pytest.approx(4 / 45, abs=0.03)


@pytest.mark.parametrize("height", [190, 220, 260])
def test_the_frame_ends_where_the_person_does(height: int) -> None:
    """No card shows shoulders that float above its lower edge."""
    frame = _frame(person((300, height), middle=150, crown=30, colour=255, ground=0))
    assert frame is not None
    assert frame.bottom <= height + 1


def test_a_head_that_the_picture_cuts_off_is_not_moved_down() -> None:
    """Its crown stays at the upper edge."""
    mask = person(crown=-20, colour=255, ground=0)
    frame = _frame(mask)
    assert frame is not None
    assert frame.top == 0


def test_only_the_largest_thing_counts() -> None:
    """Whatever else is in front does not move the frame."""
    mask = person(colour=255, ground=0)
    outline = silhouette_of(mask, mask.size)
    mask.paste(255, (370, 10, 390, 120))
    with_more = silhouette_of(mask, mask.size)
    assert outline is not None
    assert with_more is not None
    frame = frame_of(outline, mask.size)
    assert frame is not None
    assert frame_of(with_more, mask.size) == frame
    # 20 of 400 pixels beside it are too far away to belong to it.
    beside = with_more.beside()
    assert beside.getpixel((beside.width * 380 // 400, beside.height * 60 // 500)) == 0
    assert beside.getpixel((beside.width * 200 // 400, beside.height * 60 // 500)) == 255


@pytest.mark.parametrize("mask", [Image.new("L", (90, 90)), Image.new("L", (90, 90), 100)])
def test_nothing_in_front_has_no_outline(mask: Image.Image) -> None:
    """Nor has what is hardly there."""
    assert silhouette_of(mask, (300, 300)) is None


NO_HEADS = {
    "everything": Image.new("L", (300, 400), 255),
    "a face without shoulders": person((300, 150), middle=150, crown=30, colour=255, ground=0),
    "a wisp above a body": person(head=(14, 16), colour=255, ground=0),
    "somebody far away": person((400, 900), crown=600, head=(50, 65), colour=255, ground=0),
    "a tower": _with_more(Image.new("L", (400, 300)), (190, 80, 210, 300)),
    "a raised arm": _with_more(
        person(colour=255, ground=0), (320, 40, 350, 300), (240, 270, 350, 300)
    ),
    "two people": ImageChops.lighter(
        person((700, 500), middle=230, colour=255, ground=0),
        person((700, 500), middle=430, colour=255, ground=0),
    ),
}


@pytest.mark.parametrize("name", NO_HEADS)
def test_what_cannot_be_a_head_above_its_shoulders_is_none(name: str) -> None:
    """No card shows a piece of something."""
    assert _frame(NO_HEADS[name]) is None


@pytest.mark.parametrize("shoulders", [1.2, 2.6, 3.8])
def test_people_are_of_many_shapes(shoulders: float) -> None:
    """Also in a space suit, or with much hair."""
    mask = person(middle=250, size=(500, 500), colour=255, ground=0)
    half = round(50 * shoulders)
    assert _frame(_with_more(mask, (250 - half, 230, 250 + half, 500))) is not None


def test_hair_down_to_the_shoulders_is_allowed_for() -> None:
    """Without a neck to be seen, the head ends where it gets far wider at once."""
    mask = Image.new("L", (400, 500))
    draw = ImageDraw.Draw(mask)
    draw.ellipse((150, 60, 250, 160), fill=255)
    draw.rectangle((150, 110, 250, 210), fill=255)
    draw.rectangle((70, 195, 330, 500), fill=255)
    frame = _frame(mask)
    assert frame is not None
    assert (frame.left + frame.right) / 2 == pytest.approx(200, abs=6)
    assert 0 < frame.top < 60
    assert 195 < frame.bottom < 300


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_frame_ends_where_a_person_is_cut_off_at_the_side(side: str) -> None:
    """No card shows a shoulder that ends before its edge does."""

    def standing(middle: int) -> Image.Image:
        mask = person(middle=middle, head=(110, 140), colour=255, ground=0)
        return _with_more(mask, (max(0, middle - 120), 205, middle + 120, 500))

    whole, cut = standing(200), standing(66)
    if side == "right":
        cut = cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    frame, whole_frame = _frame(cut), _frame(whole)
    assert frame is not None
    assert whole_frame is not None
    assert frame.width < whole_frame.width
    outside = -frame.left if side == "left" else frame.right - 400
    assert outside == pytest.approx(0, abs=5)
