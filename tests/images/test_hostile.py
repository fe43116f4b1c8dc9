"""A corpus of hostile and odd pictures: each is refused or handled as documented, memory flat.

What stands in ``EXPECTED`` is the table of docs/explanation/pictures.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.images import corpus
from tests.images.peak import Peaks

from tonnage.units import MIB

pytestmark = pytest.mark.real

#: What a refusal may take, whatever the file says of itself.
REFUSED_BYTES = 2 * MIB
SMALL_BYTES = 16 * MIB

# The picture, as the docs call it; how it is made; the answer; the memory it may take.
EXPECTED: list[tuple[str, Callable[[], bytes], int, int]] = [
    ("PNG of 30,000 × 30,000 pixels, 480 KB", corpus.png_bomb, 413, REFUSED_BYTES),
    (
        "JPEG of 65,000 × 65,000",
        lambda: corpus.with_size(corpus.plain("JPEG"), 65_000, 65_000),
        413,
        REFUSED_BYTES,
    ),
    ("GIF of 10,000 frames", lambda: corpus.gif_of(10_000), 413, REFUSED_BYTES),
    ("PNG with 60 MB of packed texts", corpus.text_bomb, 413, REFUSED_BYTES),
    ("the same behind the picture", lambda: corpus.text_bomb(at_end=True), 413, REFUSED_BYTES),
    ("progressive JPEG of 20,000 scans", corpus.scan_bomb, 413, REFUSED_BYTES),
    ("PNG of 4,000 × 10", lambda: corpus.plain("PNG", 4000, 10), 422, REFUSED_BYTES),
    ("JPEG, cut off", lambda: _cut("JPEG"), 422, SMALL_BYTES),
    ("PNG, cut off", lambda: _cut("PNG"), 422, REFUSED_BYTES),
    ("WebP, cut off", lambda: _cut("WEBP"), 422, REFUSED_BYTES),
    ("HTML, SVG or a zip archive", lambda: b"<!doctype html><svg/>", 415, REFUSED_BYTES),
    ("HEIC, AVIF, TIFF or BMP", lambda: corpus.plain("TIFF", 1000, 1000), 415, REFUSED_BYTES),
    (
        "PNG with two headers",
        lambda: corpus.png_with(corpus.plain("PNG")[8:33]),
        422,
        REFUSED_BYTES,
    ),
    ("PNG that is called photo.jpg", lambda: corpus.plain("PNG"), 200, SMALL_BYTES),
    (
        "JPEG with a zip archive behind it",
        lambda: corpus.plain("JPEG") + b"PK\5\6" + b"\0" * 18,
        200,
        SMALL_BYTES,
    ),
    ("JPEG of inks (CMYK)", lambda: corpus.plain("JPEG", 2000, 1500, "CMYK"), 200, SMALL_BYTES),
    (
        "PNG of 16 bits",
        lambda: corpus.plain("PNG", 2000, 1500, "I;16", compress_level=1),
        200,
        SMALL_BYTES,
    ),
    ("JPEG that is to be turned", lambda: corpus.cornered(6), 200, SMALL_BYTES),
    ("animated WebP", lambda: corpus.animated("WEBP"), 200, SMALL_BYTES),
]


def _cut(format: str) -> bytes:
    data = corpus.encoded(corpus.noise(900, 700), format)
    return data[: len(data) // 2]


@pytest.fixture(scope="module")
def peaks() -> Iterator[Peaks]:
    """Give one process for all of them."""
    with Peaks() as found:
        yield found


@pytest.mark.parametrize(
    ("make", "status", "most_bytes"),
    [each[1:] for each in EXPECTED],
    ids=[each[0] for each in EXPECTED],
)
def test_each_is_refused_or_handled(
    peaks: Peaks, tmp_path: Path, make: Callable[[], bytes], status: int, most_bytes: int
) -> None:
    """With the memory that is stated."""
    path = tmp_path / "photo.jpg"
    path.write_bytes(make())
    peak = peaks.of(path, anything=False)
    assert (peak.status, peak.peak_bytes <= most_bytes) == (status, True), peak


def test_a_progressive_jpeg_of_48_megapixels_is_refused_at_once(
    peaks: Peaks, tmp_path: Path
) -> None:
    """It would take 144 MB and more."""
    path = tmp_path / "photo.jpg"
    path.write_bytes(corpus.with_size(corpus.plain("JPEG", progressive=True), 8000, 6000))
    peak = peaks.of(path, anything=False)
    assert (peak.status, peak.peak_bytes <= REFUSED_BYTES) == (413, True)


def test_the_documentation_has_this_table() -> None:
    """Row by row, with the answer."""
    page = Path(__file__).parents[2] / "docs/explanation/pictures.md"
    rows = [line for line in page.read_text().splitlines() if line.startswith("| ")]
    for name, _, status, _ in EXPECTED:
        [row] = [row for row in rows if row.startswith(f"| {name} |")]
        assert str(status) in row
