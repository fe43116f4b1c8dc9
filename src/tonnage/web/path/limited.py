"""The options of the limits around an application, read once for ASGI and for WSGI.

What is done with them is in :mod:`tonnage.web.path.middleware` and :mod:`tonnage.web.path.wsgi`,
and what each means stands with :class:`~tonnage.web.path.middleware.Tonnage`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from tonnage.checks import whole
from tonnage.web.path.lane import Lanes
from tonnage.web.path.options import PathOptions
from tonnage.web.path.swallowed import listen

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from tonnage.problem import Shape
    from tonnage.rates.limits import LimitsLike
    from tonnage.rates.table import Store

Application = TypeVar("Application")


class Limited(Generic[Application]):
    """An application with limits around it."""

    def __init__(
        self,
        app: Application,
        *,
        max_body: str | int | None = None,
        max_upload: str | int | None = None,
        max_response: str | int | None = None,
        timeout: str | float | None = None,
        rate_limit: LimitsLike | None = None,
        compress: bool = False,
        decompress: bool = False,
        decompress_ratio: float | None = 20,
        routes: Mapping[str, Mapping[str, Any]] | None = None,
        remove_headers: Collection[str] = (),
        request_ids: bool = False,
        compress_level: int = 6,
        compress_min: str | int = "1K",
        compress_types: Collection[str] = (),
        may_compress: Callable[[], bool] = lambda: True,
        cors_origins: Collection[str] = (),
        cors_methods: Collection[str] | None = None,
        cors_headers: Collection[str] = (),
        cors_expose: Collection[str] = (),
        cors_credentials: bool = False,
        cors_max_age: str | float | None = None,
        proxy_hops: int = 0,
        shape: Shape | None = None,
        rate_store: Store | None = None,
    ) -> None:
        # Each by its name; the record takes these and no others.
        given = {**locals()}
        del given["self"], given["app"]
        self._app = app
        self._lanes = Lanes(PathOptions(**given))
        self._hops = whole("proxy_hops", proxy_hops, 0)
        if request_ids:
            from tonnage.web.path.requestid import identify

            self._identify = identify
        self._prepare()
        listen()

    def _prepare(self) -> None:
        """Make what only this kind of application needs.

        Raises:
            ConfigError: one of the limits cannot be kept for it.
        """
