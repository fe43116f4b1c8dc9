"""Where operators find the live page and the metrics on the application's port.

Pure. The supervisor has the page at :data:`PAGE_PATH` whatever the options say, for its own doors.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tonnage.settings import AdmissionSettings

PAGE_PATH: Final = "/tonnage"
#: Below the page: its buttons, and below these the actions as the control socket has them.
ACT: Final = "/act/"
#: Of these there are buttons.
ACTIONS: Final = frozenset(("/reclaim", "/recycle", "/cache/clear"))

#: What the supervisor calls the metrics: for Prometheus, and as JSON.
METRICS: Final = "/metrics"
METRICS_JSON: Final = "/api/metrics"


@dataclass(frozen=True, slots=True)
class Places:
    """The paths on the application's port.

    Attributes:
        page_path: where the page is; empty: there is none.
        metrics: by path, what the supervisor calls it.
    """

    page_path: str = ""
    metrics: Mapping[str, str] = field(default_factory=dict)

    @property
    def paths(self) -> frozenset[str]:
        """The paths that are ours; besides, whatever is below the page."""
        return frozenset((self.page_path, *self.metrics)) - {""}

    @property
    def below(self) -> tuple[str, ...]:
        """What the paths below the page begin with; nothing where there is none."""
        return (f"{self.page_path}/",) if self.page_path else ()


def places_for(settings: AdmissionSettings, takes: Callable[[str], bool]) -> Places:
    """Return the places that *settings* ask for.

    Args:
        settings: where page and metrics are to be.
        takes: whether the application has a route of its own at a path: that stays its own.
    """
    page_path, metrics = settings.page_path, {}
    if settings.metrics_path and not takes(settings.metrics_path):
        metrics[settings.metrics_path] = METRICS
    if settings.api_aliases and not takes(METRICS_JSON):
        metrics[METRICS_JSON] = METRICS_JSON
    if page_path:
        metrics[f"{page_path}/metrics"] = METRICS
        metrics[f"{page_path}/metrics.json"] = METRICS_JSON
    return Places(page_path, metrics)
