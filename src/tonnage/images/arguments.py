"""What callers ask of a picture, checked before anything of it is read: one module for all of them.

Pure; Pillow is loaded for the names of colours, if it is not white.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from tonnage.errors import ConfigError

Colour = tuple[int, int, int]

WHITE: Final = (255, 255, 255)
#: What is written; a Photo may be of more.
FORMATS: Final = ("JPEG", "PNG", "WEBP")
_BEST_QUALITY: Final = 95


@dataclass(frozen=True, slots=True)
class Rendition:
    """What a picture is to become.

    Attributes:
        max_width: in pixels, when it is shown; None: as many as it has.
        max_height: likewise.
        quality: of JPEG and WebP, from 1 to 95.
        format: one of :data:`FORMATS`; None: what fits.
        colour: what is behind transparent pixels where the format has none.
    """

    max_width: int | None
    max_height: int | None
    quality: int
    format: str | None
    colour: Colour


def asked(
    max_width: int | None,
    max_height: int | None,
    *,
    quality: int,
    format: str | None,  # the word of everybody who handles pictures
    background: str,
) -> Rendition:
    """Return what the arguments of ``resize`` mean.

    Raises:
        ConfigError: one of them makes no sense.
    """
    check_bounds(max_width, max_height)
    return Rendition(
        max_width, max_height, quality_of(quality), format_of(format), colour_of(background)
    )


def check_bounds(max_width: int | None, max_height: int | None) -> None:
    """Raise ConfigError where one of them is neither None nor a number of pixels."""
    for name, value in (("max_width", max_width), ("max_height", max_height)):
        if value is not None:
            whole(name, value)


def whole(name: str, value: Any, most: int | None = None) -> int:
    """Return *value*, of the argument *name*, if it is a whole number from 1 to *most*.

    Raises:
        ConfigError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= (most or value):
        bounds = "from 1" if most is None else f"from 1 to {most}"
        raise ConfigError(f"{name}={value!r} is not a whole number {bounds}")
    return value


def quality_of(quality: Any) -> int:
    """Return how well JPEG and WebP are to be written; raises ConfigError."""
    return whole("quality", quality, _BEST_QUALITY)


def format_of(format: Any) -> str | None:
    """Return one of :data:`FORMATS`, whichever letters it is written in; None stays None.

    Raises:
        ConfigError: it is none of them.
    """
    if format is None:
        return None
    name = str(format).upper()
    name = {"JPG": "JPEG"}.get(name, name)
    if name not in FORMATS:
        raise ConfigError(f"format={format!r} is not known: it is one of {', '.join(FORMATS)}")
    return name


def colour_of(background: Any) -> Colour:
    """Return the colour of that name, as ``white``, or number, as ``#20c0a0``.

    Raises:
        ConfigError: there is no such colour, or it can be seen through.
    """
    if background == "white":
        return WHITE
    from PIL import ImageColor

    try:
        red, green, blue, *alpha = ImageColor.getrgb(background)
    except (ValueError, AttributeError, TypeError):
        raise ConfigError(
            f"background={background!r} is no colour: write for example 'white' or '#20c0a0'"
        ) from None
    if alpha not in ([], [255]):
        raise ConfigError(
            f"background={background!r} is a colour that can be seen through: leave its alpha out"
        )
    return red, green, blue
