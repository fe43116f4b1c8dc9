"""From Prometheus's text to the records that OpenTelemetry's SDK exports. Pure.

Counters become monotonic sums, histograms and gauges what they are called; all are cumulative
since the start of the server. Names stay as they are, and Prometheus, where it receives these,
makes no others of them: so one dashboard serves both ways. Text is parsed by prometheus_client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client.parser import text_string_to_metric_families

from tonnage import __version__
from tonnage.errors import ActionError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.resources import Resource
    from prometheus_client import Metric as Family

_CUMULATIVE: Final = AggregationTemporality.CUMULATIVE
_STARTED: Final = "process_start_time_seconds"
_MOST_SHOWN_CHARS: Final = 60
_UNITS: Final = {"seconds": "s", "bytes": "By", "ratio": "1"}


def data_from(text: str, resource: Resource, now_nanoseconds: int) -> MetricsData:
    """Return the metrics in *text*.

    Args:
        text: as a server writes it.
        resource: says which server it is.
        now_nanoseconds: unix time.

    Raises:
        ActionError: it is no such text.
    """
    try:
        families = list(text_string_to_metric_families(text))
    except (ValueError, KeyError, IndexError) as error:
        # What the parser says of it may be half of the text.
        raise ActionError(
            f"what was read are no metrics; it begins with {text[:_MOST_SHOWN_CHARS]!r}"
        ) from error
    started = next((each.samples[0].value for each in families if each.name == _STARTED), None)
    if started is None:
        raise ActionError("what was read are no metrics of a Tonnage server")
    times = round(started * 1e9), now_nanoseconds
    metrics = [_metric(family, *times) for family in families]
    scope = ScopeMetrics(InstrumentationScope("tonnage", __version__), metrics, "")
    return MetricsData([ResourceMetrics(resource, [scope], "")])


def _metric(family: Family, started: int, now: int) -> Metric:
    name, unit = family.name, _UNITS.get(family.name.rpartition("_")[2], "1")
    data: Gauge | Sum | Histogram
    if family.type == "histogram":
        data = Histogram(list(_histograms(family, started, now)), _CUMULATIVE)
    else:
        points = [NumberDataPoint(each.labels, started, now, each.value) for each in family.samples]
        data = Gauge(points)
        if family.type == "counter":
            # Which the parser has taken from the name.
            name += "_total"
            data = Sum(points, _CUMULATIVE, is_monotonic=True)
    return Metric(name, family.documentation, unit, data)


def _histograms(family: Family, started: int, now: int) -> Iterator[HistogramDataPoint]:
    """Yield the histogram of each set of labels; Prometheus's buckets have the smaller ones too."""
    found: dict[tuple[tuple[str, str], ...], dict[str, float]] = {}
    for sample in family.samples:
        labels = {name: value for name, value in sample.labels.items() if name != "le"}
        key = sample.labels.get("le") or sample.name.rpartition("_")[2]
        found.setdefault(tuple(labels.items()), {})[key] = sample.value
    # Nobody knows the least and the longest.
    unknown: Any = None
    for pairs, values in found.items():
        total, count = values.pop("sum"), int(values.pop("count"))
        ends = [end for end in values if end != "+Inf"]
        upto = [int(each) for each in values.values()]
        counts = [each - before for before, each in zip([0, *upto], upto, strict=False)]
        yield HistogramDataPoint(
            attributes=dict(pairs),
            start_time_unix_nano=started,
            time_unix_nano=now,
            count=count,
            sum=total,
            bucket_counts=counts,
            explicit_bounds=[float(end) for end in ends],
            min=unknown,
            max=unknown,
        )
