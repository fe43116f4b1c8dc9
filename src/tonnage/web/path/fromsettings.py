"""The path as the server's options describe it.

Covers what is checked when the server starts, and the middleware that each worker puts in front of
its gate; there is none where no option asks for anything.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tonnage.errors import ConfigError
from tonnage.options.requests import OPTIONS

if TYPE_CHECKING:
    from tonnage.problem import Shape
    from tonnage.settings import PathSettings, Settings
    from tonnage.web.path.cors import Cors
    from tonnage.web.respond import ASGIApp


def prepare(everything: Settings) -> None:
    """Check the path's settings, and make what all workers share; called before the first fork.

    Raises:
        ConfigError: a limit makes no sense, or what it needs is not installed.
    """
    settings = everything.path
    _check_words(everything)
    if not is_needed(settings):
        return
    from tonnage.web.path.options import PathOptions

    if any(rules.rate_limit for rules in PathOptions(**_given(settings)).book().all()):
        from tonnage.rates.table import default_table

        default_table()
    if settings.cors_origins:
        from tonnage.web.path.cors import check_origins

        try:
            check_origins(settings.cors_origins, credentials=settings.cors_credentials)
        except ConfigError as error:
            raise ConfigError(f"{everything.origin('cors_origins')}: {error}") from error


def _check_words(everything: Settings) -> None:
    from tonnage.checks import content_types, names

    settings = everything.path
    for option in ("remove_headers", "cors_methods", "cors_headers", "cors_expose"):
        names(everything.origin(option), getattr(settings, option))
    content_types(everything.origin("compress_types"), settings.compress_types)


def is_needed(settings: PathSettings) -> bool:
    """Return whether *settings* ask for anything that needs the middleware."""
    return any(
        (
            settings.max_body_bytes, settings.max_upload_bytes, settings.max_response_bytes,
            settings.timeout_seconds, settings.rate_limit, settings.compress, settings.decompress,
            settings.routes, settings.remove_headers, settings.request_ids, settings.cors_origins,
        )
    )  # fmt: skip


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

    return Tonnage(app, **_given(settings), may_compress=may_compress, shape=shape)


def cors_from(settings: PathSettings) -> Cors | None:
    """Return what pages of other sites may do, for answers that never come by the path; or None.

    Raises:
        ConfigError: as :func:`prepare`.
    """
    if not settings.cors_origins:
        return None
    from tonnage.web.path.options import PathOptions
    from tonnage.web.path.parts import make_cors

    return make_cors(PathOptions(**_given(settings)))


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


def _given(settings: PathSettings) -> dict[str, Any]:
    """Return *settings* by the names of the options, which are those of the arguments too."""
    given = {option.name: getattr(settings, option.field_name) for option in OPTIONS}
    del given["problem_shape"]
    return given
