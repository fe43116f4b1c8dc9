"""Tonnage keeps a Python web backend inside its memory limit.

Its face is the ``tonnage`` command (see :mod:`tonnage.cli`), for which an application needs no
change. What an application may use besides:

=====================================  ===========================================================
``tonnage.register(cache, priority)``  let a cache of your own give memory back when it is short
``tonnage.unregister(cache)``          and no longer
``tonnage.Consumer``                   what such a cache has to be (a protocol, for type checkers)
``tonnage.Registration``               what ``register`` returns; its ``close()`` ends it
=====================================  ===========================================================

Importing the package itself costs nothing and starts nothing: each name is loaded when it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tonnage.governor.consumers import Consumer, Registration, register, unregister

__all__ = ["Consumer", "Registration", "__version__", "register", "unregister"]

__version__ = "0.1.0"

_WHERE = dict.fromkeys(
    ("Consumer", "Registration", "register", "unregister"), "tonnage.governor.consumers"
)


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module 'tonnage' has no attribute {name!r}")
    from importlib import import_module

    found: object = getattr(import_module(_WHERE[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
