"""What comes out of a picture: its pixels, upright, in sRGB, and nothing else."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable

import pytest
from PIL import Image, ImageCms
from tests.images import corpus

from tonnage import images
from tonnage.errors import ConfigError, ImageRefusedError


def reopened(picture: images.Picture) -> Image.Image:
    """Return what a browser would see of *picture*."""
    image = Image.open(io.BytesIO(picture.content))
    image.load()
    return image


def is_near(found: object, wanted: tuple[int, ...], by: int = 12) -> bool:
    """Return whether a pixel is of nearly the colour that is wanted."""
    assert isinstance(found, tuple)
    return len(found) == len(wanted) and all(
        abs(each - other) <= by for each, other in zip(found, wanted, strict=True)
    )


def red(pixel: object) -> int:
    """Return the first value of *pixel*."""
    assert isinstance(pixel, tuple)
    return int(pixel[0])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_pictures_are_turned_as_their_camera_says(orientation: int, format: str) -> None:
    """Upright, all eight ways, in every format that can say so."""
    photo = images.open(corpus.cornered(orientation, format))
    image = photo.decode(48, 48)
    assert image.size == (48, 32)
    assert is_near(image.getpixel((2, 2)), (255, 0, 0), 60)
    assert is_near(image.getpixel((45, 2)), (0, 0, 255), 60)
    assert is_near(image.getpixel((45, 29)), (0, 128, 0), 60)
    assert is_near(image.getpixel((2, 29)), (255, 255, 255), 60)
    assert photo.resized(48, 48).width == 48


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("size", [None, 250, 20])
def test_every_kind_of_png_becomes_rgb(mode: str, size: int | None) -> None:
    """With its brightness, in full, scaled, and reduced strip by strip."""
    image = images.open(corpus.plain("PNG", 300, 240, mode)).decode(size, size)
    assert image.mode == ("RGBA" if mode in ("LA", "RGBA") else "RGB")
    assert image.width == (size or 300)
    rows = 1, image.height // 2, image.height - 2
    above, middle, below = (red(image.getpixel((image.width // 2, row))) for row in rows)
    assert above <= 40
    assert below >= 200
    # Of two colours, whichever the grey in the middle has become.
    assert 90 <= middle <= 165 or (mode == "1" and size is None)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("size", [None, 30])
def test_every_kind_of_jpeg_becomes_rgb(mode: str, size: int | None) -> None:
    """Grey, colours and inks."""
    image = images.open(corpus.plain("JPEG", 300, 240, mode)).decode(size, size)
    assert image.mode == "RGB"
    above, below = image.getpixel((5, 1)), image.getpixel((5, image.height - 2))
    if mode == "CMYK":  # more ink
        above, below = below, above
    assert is_near(above, (0, 0, 0), 30)
    assert is_near(below, (255, 255, 255), 30)


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_is_taken(format: str) -> None:
    """In its own size."""
    photo = images.open(corpus.animated(format))
    image = photo.decode()
    assert is_near(image.convert("RGB").getpixel((3, 3)), (255, 0, 0))
    assert image.size == (photo.width, photo.height)


def test_a_palette_may_have_a_transparent_colour() -> None:
    """It stays transparent when the picture becomes smaller."""
    image = Image.new("P", (60, 40), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.paste(1, (0, 0, 30, 40))
    for format in ("PNG", "GIF"):
        data = corpus.encoded(image, format, transparency=0)
        small = images.open(data).decode(30, 30)
        assert small.mode == "RGBA"
        assert is_near(small.getpixel((3, 3)), (0, 0, 255, 255))
        assert is_near(small.getpixel((27, 3)), (0, 0, 0, 0), 0)


@pytest.mark.parametrize(
    ("bits", "colour", "values"),
    [
        (1, 1, (0, 1)),
        (2, 2, (0, 1, 2, 3)),
        (4, 9, (0, 8, 9, 10)),
        (8, 200, (0, 199, 200, 201)),
        (16, 0x8000, (0, 0x7FFF, 0x8000, 0x8001, 0x80FF, 0xFFFF)),
        (16, 0x0080, (0, 0x0080, 0x8000, 0x8080)),
    ],
)
@pytest.mark.parametrize("enlarged", [1, 4])
def test_a_grey_that_is_transparent_is_the_only_one(
    bits: int, colour: int, values: tuple[int, ...], enlarged: int
) -> None:
    """With any number of bits; in full, and reduced strip by strip."""
    wide = [value for value in values for _ in range(enlarged)]
    image = images.open(corpus.grey_png(bits, wide, colour, enlarged)).decode(len(values), None)
    assert image.size == (len(values), 1)
    seen = [image.getpixel((x, 0)) for x in range(len(values))]
    opaque = [pixel[3] == 255 for pixel in seen]  # type: ignore[index]
    assert opaque == [value != colour for value in values]
    for pixel, value in zip(seen, values, strict=True):
        if value != colour:
            assert red(pixel) == pytest.approx(value * 255 / (2**bits - 1), abs=1)


def test_a_colour_of_16_bits_that_is_transparent_is_found() -> None:
    """By its upper eight bits, which are all that is decoded."""
    pixels = [(0x8000, 0, 0), (0, 0x8000, 0), (0, 0, 0)]
    image = images.open(corpus.colour_png(pixels, (0, 0x8000, 0))).decode()
    assert [image.getpixel((x, 0))[3] for x in range(3)] == [255, 0, 255]  # type: ignore[index]


def test_nothing_is_said_of_exif_that_makes_no_sense(
    recwarn: pytest.WarningsRecorder,
) -> None:
    """It is not the decoder's to read: the header has been."""
    hostile = [corpus.senseless_exif(number) for number in range(3)]
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        for data in hostile:
            assert images.open(data).resized().width == 64
    assert [str(each.message) for each in recwarn.list] == []


def test_transparent_pixels_do_not_colour_their_neighbours() -> None:
    """Green that nobody sees is not seen at the edge either."""
    image = Image.new("RGBA", (100, 100), (0, 255, 0, 0))
    image.paste((255, 0, 0, 255), (0, 0, 51, 100))
    small = images.open(corpus.encoded(image, "PNG")).decode(30, 30)
    edge = next(small.getpixel((x, 9)) for x in range(30) if small.getpixel((x, 9))[3] < 250)  # type: ignore[index]
    assert isinstance(edge, tuple)
    assert edge[3] > 0
    assert edge[0] > 240
    assert edge[1] < 15


def test_colours_are_converted_by_the_profile() -> None:
    """And stay as they are where there is none."""
    profile = corpus.wide_gamut()
    red = Image.new("RGB", (40, 40), (255, 0, 0))
    for format in ("JPEG", "PNG", "WEBP"):
        data = corpus.encoded(red, format, icc_profile=profile)
        assert is_near(images.open(data).decode().getpixel((5, 5)), (0, 255, 0), 20)
        data = corpus.encoded(red.convert("RGBA") if format != "JPEG" else red, format)
        assert is_near(images.open(data).decode().convert("RGB").getpixel((5, 5)), (255, 0, 0), 20)


def test_a_profile_that_does_not_fit_is_left_out() -> None:
    """The picture is shown as if there were none."""
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for profile in (lab, b"nothing of the kind"):
        data = corpus.plain("JPEG", icc_profile=profile)
        assert images.open(data).decode().getpixel((5, 5)) == images.open(
            corpus.plain("JPEG")
        ).decode().getpixel((5, 5))


def test_grey_with_a_profile_of_colours_stays_grey() -> None:
    """As there is nothing to convert."""
    data = corpus.plain("JPEG", mode="L", icc_profile=corpus.wide_gamut())
    pixel = images.open(data).decode().getpixel((5, 30))
    assert isinstance(pixel, tuple)
    assert max(pixel) == min(pixel)


@pytest.mark.parametrize("max_side", [None, 800, 20])
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_nothing_of_the_metadata_is_left(max_side: int | None, format: str) -> None:
    """Neither in what is decoded nor in what is written."""
    photo = images.open(corpus.located())
    assert b"Secret Cameras" in corpus.located()
    image = photo.decode(max_side, max_side)
    assert not image.info
    assert not dict(image.getexif())
    written = photo.resized(max_side, max_side, format=format)
    for secret in (b"Secret Cameras", b"taken in secret", b"Exif", b"ICC_PROFILE", b"acsp"):
        assert secret not in written.content
    assert set(reopened(written).info) <= {
        "jfif", "jfif_version", "jfif_unit", "jfif_density", "loop", "background", "timestamp",
        "duration",
    }  # fmt: skip


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF"])
def test_what_is_cut_off_is_refused_and_not_half_grey(format: str) -> None:
    """Wherever it was cut."""
    data = corpus.encoded(corpus.noise(600, 400), format)
    for kept in (0.95, 0.5, 0.2):
        with pytest.raises(ImageRefusedError) as caught:
            images.open(data[: int(len(data) * kept)]).decode()
        assert caught.value.problem.status == 422


def test_a_file_that_decoders_read_differently_is_refused() -> None:
    """What was judged is what is decoded."""
    # Some take the first image header of a PNG, some the last; GIFs have a screen and a frame.
    photo = images.open(corpus.plain("PNG"))
    photo.source = corpus.plain("PNG", 65, 48)
    with pytest.raises(ImageRefusedError, match="not as it was when its header was read"):
        photo.decode()


@pytest.mark.parametrize("tail", [b"PK\5\6" + b"\0" * 18, b"<?php system($_GET[0]); ?>"])
def test_nothing_of_what_is_hidden_behind_a_picture_is_left(tail: bytes) -> None:
    """It is encoded anew."""
    for format in ("JPEG", "PNG", "GIF"):
        picture = images.open(corpus.plain(format) + tail).resized()
        assert tail not in picture.content


def test_formats_follow_from_what_is_transparent() -> None:
    """PNG where something is; JPEG gets a colour behind it."""
    opaque = images.open(corpus.encoded(Image.new("RGBA", (30, 20), (9, 9, 9, 255)), "PNG"))
    seen = images.open(corpus.encoded(Image.new("RGBA", (30, 20), (255, 0, 0, 128)), "PNG"))
    assert opaque.resized().media_type == "image/jpeg"
    assert seen.resized().media_type == "image/png"
    assert is_near(reopened(seen.resized()).getpixel((3, 3)), (255, 0, 0, 128), 3)
    webp = seen.resized(format="webp", quality=90)
    assert (webp.media_type, reopened(webp).mode) == ("image/webp", "RGBA")
    assert is_near(reopened(seen.resized(format="jpg")).getpixel((3, 3)), (255, 127, 127), 5)
    blue = seen.resized(format="JPEG", background="#0000ff")
    assert is_near(reopened(blue).getpixel((3, 3)), (128, 0, 127), 5)


def test_a_picture_says_what_it_is() -> None:
    """Its size, its type, and that quality has a price."""
    picture = images.open(corpus.plain("JPEG", 640, 480)).resized(320, 320)
    assert (picture.width, picture.height, picture.media_type) == (320, 240, "image/jpeg")
    assert reopened(picture).size == (320, 240)
    assert picture.size_bytes == len(picture.content)
    assert "content" not in repr(picture)
    assert images.open(corpus.plain("JPEG")).resized(10, None).height == 8
    assert images.open(corpus.plain("JPEG")).resized(5000, 5000).width == 64
    small = images.open(corpus.encoded(corpus.noise(300, 300), "JPEG", quality=95))
    assert small.resized(quality=30).size_bytes < small.resized(quality=85).size_bytes
    assert small.resized().content == small.resized(quality=85).content


@pytest.mark.parametrize(
    ("work", "words"),
    [
        (lambda photo: photo.resized(format="bmp"), "format='bmp' is not known"),
        (lambda photo: photo.resized(quality=0), "quality=0 is not a whole number from 1 to 95"),
        (
            lambda photo: photo.resized(format="JPEG", background="greyish"),
            "'greyish' is no colour",
        ),
    ],
)
def test_what_makes_no_sense_is_said(work: Callable[[images.Photo], object], words: str) -> None:
    """As an error of configuration."""
    photo = images.open(corpus.plain("PNG", mode="RGBA"))
    with pytest.raises(ConfigError, match=words):
        work(photo)


def test_sizes_have_a_pixel_at_least() -> None:
    """However thin a picture is."""
    photo = images.open(corpus.plain("PNG", 300, 20))
    assert photo.decode(3, 3).size == (3, 1)
    for bad in ((0, 5), (5, -1)):
        with pytest.raises(ConfigError, match="is not a whole number from 1"):
            photo.decode(*bad)
