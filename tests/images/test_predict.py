"""What a picture takes is known before: from above always, and by not much more than it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.images import corpus
from tests.images.peak import NO_MEMORY, Peaks

from tonnage import images
from tonnage.units import MIB

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def peaks() -> Iterator[Peaks]:
    """Give one process for all of them."""
    with Peaks() as found:
        yield found


# Format, mode, options; noise hardly packs, and its files are large. Those in full size too are the
# ones that take the most then.
KINDS: list[tuple[str, str, dict[str, Any]]] = [
    ("JPEG", "RGB", {}),
    ("JPEG", "L", {"progressive": True}),
    ("JPEG", "RGB", {"progressive": True}),
    ("JPEG", "noise", {"progressive": True, "subsampling": "4:4:4"}),
    ("JPEG", "CMYK", {}),
    ("JPEG", "CMYK", {"progressive": True}),
    ("PNG", "1", {"compress_level": 1}),
    ("PNG", "P", {"compress_level": 1}),
    ("PNG", "I;16", {"compress_level": 1}),
    ("PNG", "RGB", {"compress_level": 1}),
    ("PNG", "RGBA", {"compress_level": 1}),
    ("WEBP", "noise", {"method": 0}),
    ("WEBP", "noise", {"method": 0, "lossless": True, "quality": 0}),
    ("WEBP", "RGBA", {"method": 0}),
    ("WEBP", "RGB", {"method": 0, "frames": 3}),
    ("GIF", "P", {}),
]


@pytest.mark.parametrize(
    ("format", "mode", "options"),
    KINDS,
    ids=["-".join([kind, mode, *map(str, options.values())]) for kind, mode, options in KINDS],
)
def test_the_peak_is_as_predicted(
    peaks: Peaks, tmp_path: Path, format: str, mode: str, options: dict[str, Any]
) -> None:
    """Never more, and at least two thirds of it less 8 MB."""
    is_thorough = mode == "RGBA" or (format, mode) in [("JPEG", "RGB"), ("PNG", "P")]
    path = peaks.make(tmp_path / "picture", format, mode, 2000, 1400, options)
    # Divided by two and scaled; scaled alone; as it is.
    for side in (700, 1300, None) if is_thorough else (700, 1300):
        peak = peaks.of(path, side)
        assert peak.status == 200
        said = f"{side}: {peak.peak_bytes / MIB:.1f} MB of {peak.predicted_bytes / MIB:.1f}"
        assert peak.peak_bytes <= peak.predicted_bytes, said
        assert peak.predicted_bytes <= 1.5 * peak.peak_bytes + 8 * MIB, said


@pytest.mark.parametrize("mode", ["noise", "RGBA"])
def test_to_webp_takes_more_and_says_so(peaks: Peaks, tmp_path: Path, mode: str) -> None:
    """As its encoder needs more."""
    path = peaks.make(tmp_path / "picture", "PNG", mode, 1600, 1200, {"compress_level": 1})
    for side in (800, None):
        peak = peaks.of(path, side, format="WEBP")
        assert peak.peak_bytes <= peak.predicted_bytes


def test_a_grey_of_16_bits_that_is_transparent_takes_no_more(peaks: Peaks, tmp_path: Path) -> None:
    """It is looked for strip by strip."""
    path = tmp_path / "grey"
    path.write_bytes(corpus.grey_png(16, list(range(2000)), 1000, 1500))
    for side in (700, 1300, None):
        peak = peaks.of(path, side)
        assert peak.status == 200
        assert peak.peak_bytes <= peak.predicted_bytes


def test_turned_pictures_and_profiles_take_no_more(peaks: Peaks, tmp_path: Path) -> None:
    """They are turned and converted when they are small."""
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "turned"
    path.write_bytes(
        corpus.plain("JPEG", 2000, 1400, exif=exif.tobytes(), icc_profile=corpus.wide_gamut())
    )
    for side in (800, None):
        peak = peaks.of(path, side)
        assert peak.peak_bytes <= peak.predicted_bytes


@pytest.mark.parametrize(
    ("format", "options"), [("JPEG", {"progressive": True}), ("PNG", {}), ("WEBP", {})]
)
def test_what_gets_no_memory_is_not_called_damaged(
    peaks: Peaks, tmp_path: Path, format: str, options: dict[str, Any]
) -> None:
    """It is a MemoryError, as of any code; with what is predicted and some room it works."""
    path = peaks.make(tmp_path / "picture", format, "RGB", 2000, 1400, options)
    predicted_bytes = images.open(path).memory_bytes
    for share in (0.1, 0.3, 0.5):
        assert peaks.of(path, room_bytes=int(predicted_bytes * share)).status == NO_MEMORY
    # Pillow takes blocks of 16 MB.
    assert peaks.of(path, room_bytes=predicted_bytes + 20 * MIB).status == 200


def test_a_photo_of_48_megapixels_takes_no_more_than_a_small_one(
    peaks: Peaks, tmp_path: Path
) -> None:
    """It is decoded small at once."""
    path = peaks.make(tmp_path / "large", "JPEG", "RGB", 8000, 6000, {})
    peak = peaks.of(path, 800)
    # Decoded in full, it has 192 MB of pixels alone.
    assert peak.peak_bytes <= 16 * MIB
    assert peak.predicted_bytes <= 24 * MIB
    assert images.open(path).memory_bytes == peak.predicted_bytes


def test_what_is_taken_stays_within_what_the_limits_say() -> None:
    """The largest of each kind."""
    # The largest of each kind, by its header alone.
    limits = images.Limits()
    photo = images.open(corpus.with_size(corpus.plain("JPEG"), 8160, 6120))
    assert photo.memory_bytes <= 24 * MIB
    photo = images.open(corpus.with_size(corpus.plain("JPEG", progressive=True), 6000, 4000))
    assert 70 * MIB < photo.memory_bytes <= limits.memory_bytes
