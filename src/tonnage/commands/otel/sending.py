"""Reads a server's metrics at intervals and exports them, until it is told to stop.

Where to, and with what headers and time-outs, is told by the variables that OpenTelemetry has for
it: OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_HEADERS, OTEL_METRIC_EXPORT_INTERVAL (ms) and so
on. Promises that a server or a receiver which is away for a while is told in the log, and tried
again at the next interval; nothing is queued, as what is sent is cumulative. Keeps one reading at a
time: a process of some 27 MB.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Final

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics.export import MetricExportResult
from opentelemetry.sdk.resources import SERVICE_NAME, Resource

from tonnage.commands.otel.translate import data_from
from tonnage.errors import ActionError

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("tonnage.otel")

_UNNAMED: Final = "unknown_service"


class Sending:
    """Sends what *read* returns.

    Args:
        read: returns the metrics of a server as text.
    """

    def __init__(self, read: Callable[[], str]) -> None:
        self._read = read
        self._resource = _resource()
        self._exporter = OTLPMetricExporter()
        self._is_stopped = threading.Event()

    def once(self) -> None:
        """Read and export.

        Raises:
            ActionError: the server or the receiver does not answer, or refuses.
        """
        data = data_from(self._read(), self._resource, time.time_ns())
        if self._exporter.export(data) is not MetricExportResult.SUCCESS:
            raise ActionError("the receiver has not taken the metrics; the line before says why")

    def until_stopped(self, every_seconds: float) -> None:
        """Export again and again, *every_seconds*; errors are logged."""
        while not self._is_stopped.is_set():
            try:
                self.once()
            except ActionError as error:
                if not self._is_stopped.is_set():
                    logger.warning("%s; tried again in %g s", error, every_seconds)
            self._is_stopped.wait(every_seconds)

    def stop(self) -> None:
        """Send nothing any more, and do not wait for a receiver; never in a signal's handler."""
        if not self._is_stopped.is_set():
            self._is_stopped.set()
            self._exporter.shutdown()


def _resource() -> Resource:
    """Return what the environment says that this is; without a name it is called tonnage."""
    found = Resource.create()
    if str(found.attributes.get(SERVICE_NAME, _UNNAMED)).startswith(_UNNAMED):
        return found.merge(Resource({SERVICE_NAME: "tonnage"}))
    return found
