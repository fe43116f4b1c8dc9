"""Pictures within bounds: ``from tonnage import images``.

=========================================  ======================================================
``images.open(source)``                    read the header, refuse bombs, predict the memory
``images.resize(source, ...)``             decode small, turn, to sRGB, strip, encode
``images.remove_background(source, ...)``  a cut-out, made in a process of its own
``images.Photo``                           what ``open`` returns
``images.Picture``                         an encoded picture, what the others return
``images.Limits``                          how large a picture may be, by its format
``images.cutout_app(...)``                 routes: photo in, cut-out out, with status and progress
=========================================  ======================================================

Each is loaded when it is used; Pillow is needed (``tonnage[images]``), ONNX Runtime for the
background (``tonnage[background]``).
"""

from __future__ import annotations

TYPE_CHECKING = False

if TYPE_CHECKING:
    from tonnage.images.background.remove import remove_background
    from tonnage.images.kit.routes import cutout_app
    from tonnage.images.limits import Limits
    from tonnage.images.photo import Photo
    from tonnage.images.photo import open_photo as open
    from tonnage.images.picture import Picture
    from tonnage.images.resizing import resize

__all__ = ["Limits", "Photo", "Picture", "cutout_app", "open", "remove_background", "resize"]

_WHERE = {
    "Limits": "tonnage.images.limits:Limits",
    "Photo": "tonnage.images.photo:Photo",
    "Picture": "tonnage.images.picture:Picture",
    "cutout_app": "tonnage.images.kit.routes:cutout_app",
    "open": "tonnage.images.photo:open_photo",
    "remove_background": "tonnage.images.background.remove:remove_background",
    "resize": "tonnage.images.resizing:resize",
}


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module 'tonnage.images' has no attribute {name!r}")
    from importlib import import_module

    module, _, attribute = _WHERE[name].partition(":")
    found: object = getattr(import_module(module), attribute)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
