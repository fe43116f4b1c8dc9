"""The path as the server's options describe it.

Covers what is checked when the server starts, and the middleware that each worker puts in front of
its gate; there is none where no option asks for anything.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tonnage.errors import ConfigError

if TYPE_CHECKING:
    from tonnage.problem import Shape
    from tonnage.settings import PathSettings
    from tonnage.web.path.cors import Cors
    from tonnage.web.respond import ASGIApp


def prepare(settings: PathSettings) -> None:
    """Check *settings*, and make what all workers share; to be called before the first fork.

    Raises:
        ConfigError: a limit makes no sense, or what it needs is not installed.
    """
    _check_words(settings)
    if not is_needed(settings):
        return
    from tonnage.rules import RuleBook, read_rules

    book = RuleBook(read_rules(_limits(settings)), settings.routes)
    if any(rules.rate_limit for rules in book.all()):
        from tonnage.rates.table import default_table

        default_table()
    if settings.cors_origins:
        from tonnage.web.path.cors import check_origins

        check_origins(settings.cors_origins, credentials=settings.cors_credentials)


def _check_words(settings: PathSettings) -> None:
    from tonnage.checks import content_types, names

    for option in ("remove_headers", "cors_methods", "cors_headers", "cors_expose"):
        names(option, getattr(settings, option))
    content_types("compress_types", settings.compress_types)


def is_needed(settings: PathSettings) -> bool:
    """Return whether *settings* ask for anything that needs the middleware."""
    limits = _limits(settings)
    others = (
        settings.routes, settings.remove_headers, settings.request_ids, settings.cors_origins,
    )  # fmt: skip
    return any(value not in (None, False) for value in limits.values()) or any(others)


def with_path(
    app: ASGIApp, settings: PathSettings, *, may_compress: Callable[[], bool], shape: Shape | None
) -> ASGIApp:
    """Return *app* behind the limits of *settings*.

    Args:
        app: the application, behind its gate.
        settings: what to limit.
        may_compress: says no while memory is short.
        shape: what :func:`load_shape` has returned.

    Raises:
        ConfigError: as :func:`prepare`.
    """
    if not is_needed(settings):
        return app
    from tonnage.web.path.middleware import Tonnage

    return Tonnage(
        app,
        routes=settings.routes,
        remove_headers=settings.remove_headers or (),
        request_ids=settings.request_ids,
        compress_level=settings.compress_level,
        compress_min=settings.compress_min_bytes,
        compress_types=settings.compress_types or (),
        decompress_ratio=settings.decompress_ratio,
        may_compress=may_compress,
        cors_origins=settings.cors_origins or (),
        **{f"cors_{name}": value for name, value in _cors(settings).items()},
        shape=shape,
        **_limits(settings),
    )


def cors_from(settings: PathSettings) -> Cors | None:
    """Return what pages of other sites may do, for answers that never come by the path; or None.

    Raises:
        ConfigError: as :func:`prepare`.
    """
    if not settings.cors_origins:
        return None
    from tonnage.web.path.parts import make_cors

    return make_cors(settings.cors_origins, **_cors(settings))


def load_shape(settings: PathSettings) -> Shape | None:
    """Return the user's function that makes the JSON of refusals; None: there is none.

    Raises:
        ConfigError: there is no such function.
    """
    if settings.problem_shape is None:
        return None
    module, _, name = settings.problem_shape.partition(":")
    try:
        found = getattr(importlib.import_module(module), name or "shape")
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"--problem-shape {settings.problem_shape!r} leads to no function: {error}; write"
            " MODULE:ATTR, as in errors:shape"
        ) from error
    if not callable(found):
        raise ConfigError(f"--problem-shape {settings.problem_shape!r} is not a function")
    return found  # type: ignore[no-any-return]


def _cors(settings: PathSettings) -> dict[str, Any]:
    return {
        "methods": settings.cors_methods,
        "headers": settings.cors_headers or (),
        "expose": settings.cors_expose or (),
        "credentials": settings.cors_credentials,
        "max_age": settings.cors_max_age_seconds,
    }


def _limits(settings: PathSettings) -> dict[str, Any]:
    return {
        "max_body": settings.max_body_bytes,
        "max_upload": settings.max_upload_bytes,
        "max_response": settings.max_response_bytes,
        "timeout": settings.timeout_seconds,
        "rate_limit": settings.rate_limit,
        "compress": settings.compress,
        "decompress": settings.decompress,
    }
