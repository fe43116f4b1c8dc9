"""The models that are known, by rembg's names: what each is given, and how much memory it takes.

Sums and input shapes are those that rembg 2.0.86 pins; its releases have the files. A model of
one's own is named by its file's path: its input size is read from the file, its values are
normalised as for ImageNet, and the first channel of its first output is the mask.

Holds no file and knows no directory (:mod:`tonnage.images.background.places`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tonnage.errors import ModelError
from tonnage.units import MIB

Three = tuple[float, float, float]

IMAGENET_MEAN: Final[Three] = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION: Final[Three] = (0.229, 0.224, 0.225)
_HALF: Final[Three] = (0.5, 0.5, 0.5)
_ONE: Final[Three] = (1.0, 1.0, 1.0)

SUFFIX: Final = ".onnx"


@dataclass(frozen=True, slots=True)
class Model:
    """One model.

    Attributes:
        name: rembg's, or the path of a file.
        sum: what its file's bytes give: ``sha256:...`` or, where no more is known, ``md5:...``;
            None: not checked, since it is one's own.
        side: width and height of its input in pixels; 0: read from its file.
        mean: what is taken off red, green and blue, each from 0 to 1.
        deviation: what they are divided by then.
        is_logit: whether its output is to go through a sigmoid.
        memory_bytes: what a job with it may allocate; None: not measured, ``--job-memory`` applies.
        note: what it is good for.
    """

    name: str
    sum: str | None
    side: int
    mean: Three = IMAGENET_MEAN
    deviation: Three = IMAGENET_DEVIATION
    is_logit: bool = False
    memory_bytes: int | None = None
    note: str = ""

    @property
    def is_file(self) -> bool:
        """Whether it is named by its file's path."""
        return self.name.endswith(SUFFIX)

    @property
    def file_name(self) -> str:
        """What its file is called in a models directory."""
        return f"{self.name}{SUFFIX}"


# Memory: u2netp's jobs pass with 175 to 180 MB and end with an error at 170; 190 are enough for a
# passport photo too. u2net peaks at 336 MB, and u2net_human_seg is a file of the same network.
_ALL: Final = (
    Model(
        "u2netp",
        "sha256:309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8",
        320,
        memory_bytes=220 * MIB,
        note="anything in front; small",
    ),
    Model(
        "u2net",
        "sha256:8d10d2f3bb75ae3b6d527c77944fc5e7dcd94b29809d47a739a7a728a912b491",
        320,
        memory_bytes=400 * MIB,
        note="anything in front",
    ),
    Model(
        "u2net_human_seg",
        "md5:c09ddc2e0104f800e3e1bb4652583d1f",
        320,
        memory_bytes=400 * MIB,
        note="people",
    ),
    Model("silueta", "md5:55e59e0d8062d2f5d013f4725ee84782", 320, note="u2net, made smaller"),
    Model(
        "isnet-general-use",
        "md5:fc16ebd8b0c10d971d3513d564d01e29",
        1024,
        _HALF,
        _ONE,
        note="anything in front, finer",
    ),
    Model(
        "isnet-anime",
        "md5:6f184e756bb3bd901c8849220a83e38e",
        1024,
        IMAGENET_MEAN,
        _ONE,
        note="drawn figures",
    ),
    Model(
        "birefnet-general",
        "md5:7a35a0141cbbc80de11d9c9a28f52697",
        1024,
        is_logit=True,
        note="anything in front, finest; very large",
    ),
    Model(
        "birefnet-general-lite",
        "md5:4fab47adc4ff364be1713e97b7e66334",
        1024,
        is_logit=True,
        note="anything in front, finer; large",
    ),
    Model(
        "birefnet-portrait",
        "md5:c3a64a6abf20250d090cd055f12a3b67",
        1024,
        is_logit=True,
        note="people; very large",
    ),
)
MODELS: Final = {model.name: model for model in _ALL}
DEFAULT: Final = "u2netp"


def model_of(name: str) -> Model:
    """Return the model that *name* means: one of rembg's, or the path of an ONNX file.

    Raises:
        ModelError: there is none of that name.
    """
    if name in MODELS:
        return MODELS[name]
    if name.endswith(SUFFIX):
        return Model(name, None, 0)
    raise ModelError(
        f"{name!r} is no model: it is one of {', '.join(MODELS)}, or the path of an {SUFFIX} file"
    )
