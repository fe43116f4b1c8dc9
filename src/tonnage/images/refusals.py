"""Why a picture is refused: one function for each answer that a client gets.

====  ========================  ================================================================
413   ``picture_too_large``     more pixels, frames, bytes or memory than are taken
415   ``unsupported_picture``   no picture, or of a format that is not taken
422   ``picture_damaged``       cut off, or not as its format has it
422   ``picture_too_small``     fewer pixels than wanted in one direction
422   ``picture_too_thin``      one side is many times the other
====  ========================  ================================================================

Each returns an :class:`~tonnage.errors.ImageRefusedError`; a request that lets it out is answered.
"""

from __future__ import annotations

from typing import Any

from tonnage.errors import ImageRefusedError
from tonnage.problem import Problem


def too_large(detail: str, **numbers: Any) -> ImageRefusedError:
    """Return the refusal of a picture that would become too large; *numbers* say by how much."""
    return ImageRefusedError(Problem(413, "picture_too_large", detail, numbers))


def not_taken(detail: str) -> ImageRefusedError:
    """Return the refusal of what is no picture, or none that is taken."""
    return ImageRefusedError(Problem(415, "unsupported_picture", detail))


def damaged(detail: str) -> ImageRefusedError:
    """Return the refusal of a picture that cannot be read to its end."""
    return ImageRefusedError(Problem(422, "picture_damaged", detail))


def too_small(detail: str, **numbers: Any) -> ImageRefusedError:
    """Return the refusal of a picture with too few pixels in one direction."""
    return ImageRefusedError(Problem(422, "picture_too_small", detail, numbers))


def too_thin(detail: str, **numbers: Any) -> ImageRefusedError:
    """Return the refusal of a picture that is long and thin, or high and narrow."""
    return ImageRefusedError(Problem(422, "picture_too_thin", detail, numbers))
