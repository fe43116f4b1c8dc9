"""What a header says, and what is refused for it, before anything is decoded."""

from __future__ import annotations

import io
import random
import subprocess
import sys
import warnings
from collections import Counter
from pathlib import Path

import pytest
from tests.images import corpus

from tonnage import images
from tonnage.errors import ImageRefusedError


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (corpus.plain("JPEG"), ("JPEG", "image/jpeg", 64, 48, 1, False)),
        (corpus.plain("JPEG", progressive=True), ("JPEG", "image/jpeg", 64, 48, 1, True)),
        (corpus.plain("PNG"), ("PNG", "image/png", 64, 48, 1, False)),
        (corpus.plain("PNG", mode="I;16"), ("PNG", "image/png", 64, 48, 1, False)),
        (corpus.plain("WEBP"), ("WEBP", "image/webp", 64, 48, 1, False)),
        (corpus.plain("WEBP", lossless=True), ("WEBP", "image/webp", 64, 48, 1, False)),
        (corpus.plain("WEBP", mode="RGBA"), ("WEBP", "image/webp", 64, 48, 1, False)),
        (corpus.plain("GIF", interlace=0), ("GIF", "image/gif", 64, 48, 1, False)),
        (corpus.animated("GIF"), ("GIF", "image/gif", 40, 30, 3, False)),
        (corpus.animated("WEBP"), ("WEBP", "image/webp", 40, 30, 3, False)),
        (corpus.animated("PNG"), ("PNG", "image/png", 40, 30, 3, False)),
    ],
)
def test_says_what_the_picture_is(data: bytes, said: tuple[object, ...]) -> None:
    """Format, size, frames and whether it is progressive."""
    photo = images.open(data)
    found = (
        photo.format,
        photo.media_type,
        photo.width,
        photo.height,
        photo.frames,
        photo.is_progressive if photo.format != "GIF" else False,
    )
    assert found == said
    assert photo.file_bytes == len(data)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_width_and_height_are_those_of_the_upright_picture(orientation: int, format: str) -> None:
    """However the camera was held."""
    photo = images.open(corpus.cornered(orientation, format))
    assert (photo.width, photo.height) == (96, 64)


@pytest.mark.parametrize("said", [b"", b"XX*\0\x08\0\0\0", b"II*\0\xff\xff\xff\xff", b"MM"])
def test_a_photo_whose_exif_makes_no_sense_is_taken_as_upright(said: bytes) -> None:
    """What a camera has written beside it is no reason to refuse a picture."""
    photo = images.open(corpus.plain("JPEG", exif=b"Exif\0\0" + said))
    assert (photo.width, photo.height) == (64, 48)


def test_takes_bytes_paths_files_and_wrapped_files(tmp_path: Path) -> None:
    """And nothing else; a file that was given stays open."""
    data = corpus.plain("PNG")
    path = tmp_path / "wrong-name.jpg"
    path.write_bytes(data)

    class Wrapped:
        file = io.BytesIO(data)

    for source in (data, bytearray(data), memoryview(data), path, str(path), io.BytesIO(data)):
        assert images.open(source).format == "PNG"
    assert images.open(Wrapped()).format == "PNG"  # type: ignore[arg-type]
    with path.open("rb") as file:
        file.seek(20)
        assert images.open(file).decode().size == (64, 48)
        assert not file.closed
    with pytest.raises(TypeError, match="not int"):
        images.open(5)  # type: ignore[arg-type]


def refused(data: bytes, **limits: int) -> tuple[int, str]:
    """Return status and text of what *data* is refused with."""
    with pytest.raises(ImageRefusedError) as caught:
        images.open(data, limits=images.Limits(**limits))
    problem = caught.value.problem
    return problem.status, f"{problem.error}: {problem.detail}"


def replaced(data: bytes, old: bytes, new: bytes, *, behind: bytes = b"") -> bytes:
    """Return *data* with the first *old* that is *behind* something made *new*."""
    at = data.index(old, data.index(behind))
    return data[:at] + new + data[at + len(old) :]


def without_palette() -> bytes:
    """Return a PNG that says its pixels are numbers of colours, and has none."""
    data = corpus.plain("PNG", mode="P")
    at = data.index(b"PLTE") - 4
    size_bytes = int.from_bytes(data[at : at + 4], "big")
    return data[:at] + data[at + size_bytes + 12 :]


@pytest.mark.parametrize(
    ("data", "status", "words"),
    [
        (b"", 415, "empty"),
        (b"<!doctype html><html>", 415, "no picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "no picture"),
        (b"PK\3\4" + b"\0" * 60, 415, "no picture"),
        (b"%PDF-1.7 ", 415, "PDF is not taken"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", 415, "HEIC is not taken"),
        (b"\0\0\0\x1cftypavif\0\0\0\0", 415, "AVIF is not taken"),
        (corpus.plain("BMP"), 415, "BMP is not taken"),
        (corpus.plain("TIFF"), 415, "TIFF is not taken"),
        (corpus.png_bomb(), 413, "30000 x 30000 pixels, and a PNG may have 24 million"),
        (corpus.with_size(corpus.plain("JPEG"), 9000, 6000), 413, "50 million"),
        (
            corpus.with_size(corpus.plain("JPEG", progressive=True), 6100, 4000),
            413,
            "a progressive JPEG may have 24 million",
        ),
        (corpus.with_size(corpus.plain("JPEG"), 0, 6000), 422, "no pixels"),
        (corpus.plain("PNG", 400, 10), 422, "one side may be 30 times the other"),
        (corpus.gif_of(10_000), 413, "more than 300 frames"),
        (corpus.text_bomb(), 413, "of metadata"),
        (corpus.text_bomb(at_end=True), 413, "of metadata"),
        (corpus.scan_bomb(), 413, "more than 100 scans"),
        (corpus.plain("JPEG")[:100], 422, "cut off"),
        (corpus.plain("PNG")[:-20], 422, "cut off"),
        (corpus.plain("WEBP")[:-20], 422, "cut off"),
        (corpus.plain("GIF")[:-20], 422, "cut off"),
        (b"\xff\xd8\xff\xd9", 422, "no picture in it"),
        (corpus.png_with(corpus.plain("PNG")[8:33]), 422, "two headers"),
        (b"GIF89a\1\0\1\0\0\0\0\x3b", 422, "no picture in it"),
        (without_palette(), 422, "its colours are not in it"),
        (replaced(corpus.plain("WEBP"), b"\x9d\x01\x2a", b"\0\0\0"), 422, "do not begin as they"),
        (
            replaced(corpus.plain("WEBP", lossless=True), b"\x2f", b"\0", behind=b"VP8L"),
            422,
            "do not begin as they",
        ),
    ],
)
def test_refuses_what_would_harm(data: bytes, status: int, words: str) -> None:
    """With the right status, and words that help."""
    found, text = refused(data)
    assert (found, words in text) == (status, True), text


def test_what_is_too_thin_is_not_called_too_small() -> None:
    """Programs tell them apart by one word."""
    for data, limits, error in (
        (corpus.plain("PNG", 400, 10), images.Limits(), "picture_too_thin"),
        (corpus.plain("PNG"), images.Limits(least_side=49), "picture_too_small"),
    ):
        with pytest.raises(ImageRefusedError) as caught:
            images.open(data, limits=limits)
        assert caught.value.problem.error == error


def test_limits_can_be_others() -> None:
    """Each of them."""
    data = corpus.plain("PNG")
    assert refused(data, file_bytes=100)[0] == 413
    assert "100 B are taken" in refused(data, file_bytes=100)[1]
    assert refused(data, png_pixels=64 * 48 - 1)[0] == 413
    assert "each side needs 49" in refused(data, least_side=49)[1]
    assert "would take" in refused(data, memory_bytes=1000)[1]
    assert refused(corpus.animated("GIF"), frames=2)[0] == 413
    assert refused(corpus.animated("WEBP"), frames=2)[0] == 413
    assert refused(corpus.animated("PNG"), frames=2)[0] == 413
    assert images.open(data, limits=images.Limits(png_pixels=64 * 48)).width == 64
    large = images.Limits(png_pixels=10**9, memory_bytes=2**40)
    assert images.open(corpus.png_bomb(), limits=large).width == 30_000


def test_an_animation_is_walked_through_no_further_than_needed() -> None:
    """Of 10,000 frames, 301 are looked at."""

    class Counting(io.BytesIO):
        reads = 0

        def read(self, size: int | None = -1) -> bytes:
            self.reads += 1
            return super().read(size)

    file = Counting(corpus.gif_of(10_000))
    with pytest.raises(ImageRefusedError):
        images.open(file)
    assert file.reads < 301 * 6


def test_components_one_after_the_other_are_held_whole_as_progressive_ones() -> None:
    """Since decoders hold them so."""
    size = 4000, 3000
    together = images.open(corpus.with_size(corpus.plain("JPEG"), *size))
    separate = images.open(corpus.with_size(corpus.in_separate_scans(), *size))
    progressive = images.open(corpus.with_size(corpus.plain("JPEG", progressive=True), *size))
    assert separate.memory_bytes == progressive.memory_bytes
    # Three bytes a pixel, in whole blocks.
    assert separate.memory_bytes - together.memory_bytes > 4000 * 3000 * 2.5
    assert refused(corpus.in_separate_scans(), progressive_pixels=1000)[0] == 413


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF"])
def test_whatever_is_changed_in_a_file_it_is_refused_or_read(format: str) -> None:
    """No other error comes out."""
    good = corpus.animated(format) if format in ("GIF", "WEBP") else corpus.plain(format)
    dice = random.Random(20)
    outcomes: Counter[int] = Counter()
    for _ in range(1000):
        bad = bytearray(good)
        for _ in range(dice.randint(1, 3)):
            # Headers are at the beginning.
            bad[min(int(dice.expovariate(4 / len(bad))), len(bad) - 1)] = dice.randrange(256)
        if dice.random() < 0.3:
            del bad[dice.randrange(len(bad)) :]
        if format == "PNG":
            bad = bytearray(corpus.with_checksums(bytes(bad)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                images.open(bytes(bad)).resized(16, 16)
                outcomes[200] += 1
            except ImageRefusedError as error:
                outcomes[error.problem.status] += 1
    assert min(outcomes[200], outcomes[422]) > 20, outcomes
    assert set(outcomes) <= {200, 413, 415, 422}


def test_opening_needs_no_imaging_library() -> None:
    """So that a worker that only refuses stays small."""
    script = (
        "import sys; from tonnage import images; images.open(sys.argv[1]);"
        "sys.exit(any(name.startswith('PIL') for name in sys.modules))"
    )
    path = Path(__file__).parent.parent.parent / "docs/images/overload.png"
    subprocess.run(
        [sys.executable, "-c", script, str(path)],
        check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )


def changed(offset: int, value: int) -> bytes:
    """Return a JPEG with another byte so far behind the beginning of its frame."""
    data = bytearray(corpus.plain("JPEG"))
    data[data.index(b"\xff\xc0") + offset] = value
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "status", "words"),
    [
        (changed(1, 0xC9), 415, "of a rare kind"),
        (changed(4, 12), 415, "12 bits"),
        (changed(9, 2), 415, "2 components"),
        (changed(9, 4), 422, "too short"),
        (changed(11, 0), 422, "make no sense"),
    ],
)
def test_kinds_of_jpeg_that_nobody_reads_are_not_taken(
    data: bytes, status: int, words: str
) -> None:
    """And those that make no sense are damaged."""
    found, text = refused(data)
    assert (found, words in text) == (status, True), text


def test_fillers_between_the_parts_of_a_jpeg_are_left_out() -> None:
    """As the format allows them; two frames it does not."""
    good = corpus.plain("JPEG")
    at = good.index(b"\xff\xc0")
    assert images.open(good[:at] + b"\xff\xff" + good[at:]).width == 64
    frame = good[at : at + 19]
    assert "two frames" in refused(good[:at] + frame + good[at:])[1]


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("cut_bytes", [1, 2, 1000, 70_000])
def test_a_jpeg_that_is_cut_off_within_its_picture_is_refused(
    cut_bytes: int, progressive: bool
) -> None:
    """Although its header is whole, and the thumbnail in that has an end of its own."""
    good = corpus.encoded(
        corpus.noise(600, 400), "JPEG", progressive=progressive, comment=corpus.plain("JPEG")
    )
    assert images.open(good).width == 600
    status, text = refused(good[:-cut_bytes])
    assert (status, "cut off" in text) == (422, True), text


@pytest.mark.parametrize("more_bytes", [1, 65_534, 65_535, 65_536, 65_537, 200_000])
def test_what_is_behind_the_end_of_a_jpeg_does_not_matter(more_bytes: int) -> None:
    """Cameras put previews there."""
    assert images.open(corpus.plain("JPEG") + bytes(more_bytes)).width == 64


def test_a_file_of_very_many_parts_is_refused() -> None:
    """Each takes a microsecond or two."""
    good = corpus.plain("PNG")
    many = corpus.png_chunk(b"teSt", b"") * 200_001
    assert "200000 parts" in refused(good[:33] + many + good[33:])[1]
