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
``tonnage.BatchWriter``                records that are stored many at a time, within a bound
``tonnage.Heartbeats``                 sessions that have ended once they are silent
``tonnage.Cache``                      a cache with a bound in bytes that gives its memory back
``tonnage.SecurityMonitor``            failed log-ins and suspicious activity, kept and answered
``tonnage.SecurityRule``               how many of them are too many, and what follows
``tonnage.isolated``                   a function in a process of its own: memory, time, gone after
``tonnage.redis_client()``             redis-py's client for the application's own use, with bounds
``tonnage.register(cache, priority)``  let a cache of your own give memory back when it is short
``tonnage.Consumer``                   what such a cache has to be (a protocol, for type checkers)
``tonnage.Registration``               what ``register`` returns; its ``close()`` ends it
``tonnage.setup_logging()``            a log that no request waits for: JSON, or text and files
``tonnage.get_logger(name)``           a structlog logger that writes to it
``tonnage.log_statistics()``           how many of its lines were written and dropped
``tonnage.request_id()``               the id of the request that is being served
=====================================  ===========================================================

Importing the package itself costs nothing and starts nothing: each name is loaded when it is used.
"""

from __future__ import annotations

# As type checkers know it; that of ``typing`` would cost an import of 0.9 MB here.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from tonnage.errors import RequestRefusedError
    from tonnage.governor.consumers import Consumer, Registration, register
    from tonnage.jobs.isolated import isolated
    from tonnage.logs.application import get_logger, log_statistics, setup_logging
    from tonnage.logs.context import request_id
    from tonnage.problem import Problem
    from tonnage.rates.limits import Limit as RateLimit
    from tonnage.stores.cache import Cache
    from tonnage.stores.heartbeats.heartbeats import Heartbeats
    from tonnage.stores.redis.connecting import redis_client
    from tonnage.stores.security.monitor import SecurityMonitor
    from tonnage.stores.security.rules import Rule as SecurityRule
    from tonnage.stores.writer.batchwriter import BatchWriter
    from tonnage.web.path.middleware import Tonnage
    from tonnage.web.path.uploads import UploadError, Uploads
    from tonnage.web.path.wsgi import TonnageWSGI

__all__ = [
    "BatchWriter",
    "Cache",
    "Consumer",
    "Heartbeats",
    "Problem",
    "RateLimit",
    "Registration",
    "RequestRefusedError",
    "SecurityMonitor",
    "SecurityRule",
    "Tonnage",
    "TonnageWSGI",
    "UploadError",
    "Uploads",
    "__version__",
    "get_logger",
    "isolated",
    "log_statistics",
    "redis_client",
    "register",
    "request_id",
    "setup_logging",
]

__version__ = "0.1.0"

_WHERE = {
    "BatchWriter": "tonnage.stores.writer.batchwriter:BatchWriter",
    "Cache": "tonnage.stores.cache:Cache",
    "Consumer": "tonnage.governor.consumers:Consumer",
    "Heartbeats": "tonnage.stores.heartbeats.heartbeats:Heartbeats",
    "Problem": "tonnage.problem:Problem",
    "RateLimit": "tonnage.rates.limits:Limit",
    "Registration": "tonnage.governor.consumers:Registration",
    "RequestRefusedError": "tonnage.errors:RequestRefusedError",
    "SecurityMonitor": "tonnage.stores.security.monitor:SecurityMonitor",
    "SecurityRule": "tonnage.stores.security.rules:Rule",
    "Tonnage": "tonnage.web.path.middleware:Tonnage",
    "TonnageWSGI": "tonnage.web.path.wsgi:TonnageWSGI",
    "UploadError": "tonnage.web.path.uploads:UploadError",
    "Uploads": "tonnage.web.path.uploads:Uploads",
    "get_logger": "tonnage.logs.application:get_logger",
    "isolated": "tonnage.jobs.isolated:isolated",
    "log_statistics": "tonnage.logs.application:log_statistics",
    "redis_client": "tonnage.stores.redis.connecting:redis_client",
    "register": "tonnage.governor.consumers:register",
    "request_id": "tonnage.logs.context:request_id",
    "setup_logging": "tonnage.logs.application:setup_logging",
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
