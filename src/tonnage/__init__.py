"""Tonnage keeps a Python web backend inside its memory limit.

Its face is the ``tonnage`` command (see :mod:`tonnage.cli`), for which an application needs no
change. What an application may use besides:

=====================================  ===========================================================
``tonnage.Tonnage``                    limits around an ASGI application, under any server
``tonnage.TonnageWSGI``                limits around a WSGI application, under any server
``tonnage.RateLimit``                  a rate limit with a key or a burst of its own
``tonnage.Uploads``                    files that clients send, straight to the disk
``tonnage.UploadError``                why an upload was refused; a RequestRefusedError
``tonnage.RequestRefusedError``        raise it to have a request answered with a ``Problem``
``tonnage.Problem``                    what a client is told (RFC 9457)
``tonnage.Cache``                      a cache with a bound in bytes that gives its memory back
``tonnage.register(cache, priority)``  let a cache of your own give memory back when it is short
``tonnage.unregister(cache)``          and no longer
``tonnage.Consumer``                   what such a cache has to be (a protocol, for type checkers)
``tonnage.Registration``               what ``register`` returns; its ``close()`` ends it
=====================================  ===========================================================

Importing the package itself costs nothing and starts nothing: each name is loaded when it is used.
"""

from __future__ import annotations

# As type checkers know it; that of ``typing`` would cost an import of 0.9 MB here.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from tonnage.errors import RequestRefusedError
    from tonnage.governor.consumers import Consumer, Registration, register, unregister
    from tonnage.stores.cache import Cache
    from tonnage.web.path.middleware import Tonnage
    from tonnage.web.path.problem import Problem
    from tonnage.web.path.rates import Limit as RateLimit
    from tonnage.web.path.uploads import UploadError, Uploads
    from tonnage.web.path.wsgi import TonnageWSGI

__all__ = [
    "Cache",
    "Consumer",
    "Problem",
    "RateLimit",
    "Registration",
    "RequestRefusedError",
    "Tonnage",
    "TonnageWSGI",
    "UploadError",
    "Uploads",
    "__version__",
    "register",
    "unregister",
]

__version__ = "0.1.0"

_WHERE = {
    "Cache": "tonnage.stores.cache:Cache",
    "Consumer": "tonnage.governor.consumers:Consumer",
    "Problem": "tonnage.web.path.problem:Problem",
    "RateLimit": "tonnage.web.path.rates:Limit",
    "Registration": "tonnage.governor.consumers:Registration",
    "RequestRefusedError": "tonnage.errors:RequestRefusedError",
    "Tonnage": "tonnage.web.path.middleware:Tonnage",
    "TonnageWSGI": "tonnage.web.path.wsgi:TonnageWSGI",
    "UploadError": "tonnage.web.path.uploads:UploadError",
    "Uploads": "tonnage.web.path.uploads:Uploads",
    "register": "tonnage.governor.consumers:register",
    "unregister": "tonnage.governor.consumers:unregister",
}


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module 'tonnage' has no attribute {name!r}")
    from importlib import import_module

    module, _, attribute = _WHERE[name].partition(":")
    found: object = getattr(import_module(module), attribute)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
