"""What happens in the process of its own: decode, ask the model, cut, encode.

Promises: the picture is decoded before the model is loaded, and every step works on what is at most
as large as the result; so the peak is the model's. The model stays loaded for the next picture,
and everything else is given back.

Bounded: by what the job may allocate, and by the limits of :mod:`tonnage.images`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tonnage import images
from tonnage.errors import ImageRefusedError
from tonnage.images.background import places
from tonnage.images.background.passport import frame_of
from tonnage.images.background.session import session_of, spare_memory
from tonnage.images.background.silhouette import silhouette_of
from tonnage.problem import Problem

if TYPE_CHECKING:
    from PIL.Image import Image

    from tonnage.images.background.passport import Frame
    from tonnage.images.background.wanted import CutoutOptions
    from tonnage.images.picture import Picture


def cut_out(source: bytes | str, wanted: CutoutOptions) -> Picture:
    """Return what is in front in the picture of *source*, as *wanted*.

    Args:
        source: bytes, or the path of a file.
        wanted: what it is to be like.

    Raises:
        ConfigError: ONNX Runtime is not installed.
        ImageRefusedError: the picture is damaged; or nobody is in it, for a passport photo.
        ModelError: the model is not there, or is not what it should be.
        MemoryError: there is not enough memory.
    """
    spare_memory()
    decoded = images.open(source, limits=wanted.limits).decode(*wanted.decoded_size)
    session = session_of(wanted.model, places.checked(wanted.model))
    # NumPy is not there before the model is.
    from tonnage.images.background import edges
    from tonnage.images.background.masks import mask_of

    layers = Layers(
        decoded if decoded.mode == "RGB" else decoded.convert("RGB"),
        mask_of(decoded, session),
        decoded.getchannel("A") if decoded.mode == "RGBA" else None,
        max(decoded.size) / session.side,
    )
    if wanted.is_passport:
        layers = _as_passport(layers, wanted)
    mask = edges.fitted(layers.mask, layers.picture, layers.grain)
    picture = edges.without_behind(layers.picture, mask)
    return _finished(picture, _both(mask, layers.opacity), wanted)


@dataclass(frozen=True, slots=True)
class Layers:
    """A picture on its way.

    Attributes:
        picture: RGB.
        mask: L, of any size: what is in front.
        opacity: L: what it had of its own; None: all of it can be seen.
        grain: how many of the picture's pixels one of the model's is wide.
    """

    picture: Image
    mask: Image
    opacity: Image | None
    grain: float


def _both(mask: Image, opacity: Image | None) -> Image:
    """Return what is in front and was not transparent before."""
    if opacity is None:
        return mask
    from PIL import ImageChops

    return ImageChops.multiply(mask, opacity)


def _as_passport(layers: Layers, wanted: CutoutOptions) -> Layers:
    """Return them cut to the frame of a passport photo, with the one person alone in the mask."""
    outline = silhouette_of(layers.mask, layers.picture.size)
    if outline is None:
        raise ImageRefusedError(
            Problem(422, "nobody_found", "nobody is seen in the picture: send a portrait")
        )
    from PIL import Image as Images
    from PIL import ImageChops

    frame = frame_of(outline, layers.picture.size)
    if frame is None:
        raise ImageRefusedError(
            Problem(
                422,
                "no_portrait",
                "one head above its shoulders is not seen clearly: send a portrait of one person,"
                " from the front, with the whole head and the shoulders in it",
            )
        )
    beside = outline.beside().resize(layers.mask.size, Images.Resampling.BILINEAR)
    # Enlarged first, so that what is cut out of it is as exact as the picture.
    mask = ImageChops.multiply(layers.mask, beside)
    mask = mask.resize(layers.picture.size, Images.Resampling.BICUBIC)
    size = _size_within(frame, wanted)
    return Layers(
        _cut(layers.picture, frame, size),
        _cut(mask, frame, size),
        _cut(layers.opacity, frame, size) if layers.opacity is not None else None,
        layers.grain * size[1] / frame.height,
    )


def _size_within(frame: Frame, wanted: CutoutOptions) -> tuple[int, int]:
    shrunk = min(1.0, wanted.max_width / frame.width, wanted.max_height / frame.height)
    return max(1, round(frame.width * shrunk)), max(1, round(frame.height * shrunk))


def _cut(picture: Image, frame: Frame, size: tuple[int, int]) -> Image:
    """Return *frame* of *picture* in that size; what it sticks out by is black, or not in front."""
    from PIL import Image as Images

    box = (frame.left, frame.top, frame.right, frame.bottom)
    return picture.crop(box).resize(size, Images.Resampling.LANCZOS)


def _finished(picture: Image, mask: Image, wanted: CutoutOptions) -> Picture:
    from PIL import Image as Images

    from tonnage.images.encode import encode

    if wanted.colour is None:
        picture.putalpha(mask)
    else:
        picture = Images.composite(picture, Images.new("RGB", picture.size, wanted.colour), mask)
    return encode(picture, format=wanted.format, quality=wanted.quality)
