"""What a cut-out is to be like, checked where it is asked for, before anything is begun."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tonnage.errors import ConfigError
from tonnage.images.arguments import WHITE, Colour, colour_of, format_of, quality_of, whole
from tonnage.images.background.models import DEFAULT, Model, model_of

if TYPE_CHECKING:
    from tonnage.images.limits import Limits

TRANSPARENT: Final = "transparent"
PASSPORT: Final = "passport"
_CROPS: Final = (None, PASSPORT)
_OPAQUE: Final = "JPEG"
_LARGEST_SIDE: Final = 4096
# The head and shoulders are less than half of most pictures that passport photos are cut from.
_PASSPORT_SCALE: Final = 2
_PASSPORT_SIDE: Final = 1600


@dataclass(frozen=True, slots=True)
class CutoutOptions:
    """What one cut-out is to be.

    Attributes:
        model: which is asked what is in front.
        colour: what is put behind; None: nothing, it is transparent.
        is_passport: whether it is cut as a passport photo.
        max_width: of the result, in pixels.
        max_height: of the result, in pixels.
        quality: of JPEG and WebP, from 1 to 95.
        format: ``JPEG``, ``PNG`` or ``WEBP``.
        limits: how large a picture is taken; None: the usual ones.
    """

    model: Model
    colour: Colour | None
    is_passport: bool
    max_width: int
    max_height: int
    quality: int
    format: str
    limits: Limits | None

    @property
    def decoded_size(self) -> tuple[int, int]:
        """The most pixels, across and down, that the picture is decoded to."""
        if not self.is_passport:
            return self.max_width, self.max_height
        width, height = self.max_width * _PASSPORT_SCALE, self.max_height * _PASSPORT_SCALE
        return max(width, _PASSPORT_SIDE), max(height, _PASSPORT_SIDE)


def wanted(
    *,
    model: str = DEFAULT,
    background: str | None = None,
    crop: str | None = None,
    max_width: int = 800,
    max_height: int = 800,
    quality: int = 85,
    format: str | None = None,  # the word of everybody who handles pictures
    limits: Limits | None = None,
) -> CutoutOptions:
    """Return what the arguments of ``remove_background`` mean together.

    Raises:
        ConfigError: one of them makes no sense, or not with another.
        ModelError: there is no such model.
    """
    if crop not in _CROPS:
        raise ConfigError(f"crop={crop!r} is not known: it is None or {PASSPORT!r}")
    colour = _colour(background, is_passport=crop == PASSPORT)
    chosen = format_of(format) or ("PNG" if colour is None else _OPAQUE)
    if chosen == _OPAQUE and colour is None:
        raise ConfigError(
            "JPEG has no transparency: name a background such as 'white', or take PNG or WEBP"
        )
    return CutoutOptions(
        model_of(model),
        colour,
        crop == PASSPORT,
        whole("max_width", max_width, _LARGEST_SIDE),
        whole("max_height", max_height, _LARGEST_SIDE),
        quality_of(quality),
        chosen,
        limits,
    )


def _colour(background: str | None, *, is_passport: bool) -> Colour | None:
    if background is None:
        return WHITE if is_passport else None
    if background == TRANSPARENT:
        return None
    return colour_of(background)
