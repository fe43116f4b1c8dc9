"""The tables: one for each backend, and that of the claims. Pure, but for the reasons' file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from benchmarks.beforeafter import claims, figures
from benchmarks.beforeafter.crowd import OK
from benchmarks.beforeafter.scenario import Scenario, Step
from benchmarks.record import Result, machine

NAME: Final = "beforeafter"
"""Of the table of claims; those of the backends are called after it."""

_MOST_FAILURES: Final = 4

#: What was found of a backend, by way: its ``title``, and its ``runs`` as they are kept.
Ways = Mapping[str, Mapping[str, Any]]


def of_backend(
    scenario: Scenario,
    ways: Ways,
    seconds: float,
    limit_bytes: int,
    before: dict[str, Any],
) -> Result:
    """Return the table of one backend."""
    known = [
        name
        for name in figures.TITLES
        if any(name in each for way in ways.values() for each in _figures_of(way))
    ]
    count = max(len(way["runs"]) for way in ways.values())
    return Result(
        name=f"{NAME}-{scenario.app}",
        title=f"{scenario.app}: {scenario.load.clients} clients for {seconds:g} s, {count} runs of"
        f" each; the scenario is examples/{scenario.app}/load.toml",
        columns=["", *(way["title"] for way in ways.values())],
        rows=[
            [figures.TITLES[name], *(figures.cell(_figures_of(way), name) for way in ways.values())]
            for name in known
        ],
        notes=[
            "The median of the runs, and in parentheses from where to where they went. -: it cannot"
            " be told.",
            "memory: what the kernel charges, less the file cache it can take back. At start: two"
            " seconds after the first answer. Peak: from the start of the backend on, of samples,"
            " ten a second. Of the highest charge the kernel itself keeps a mark, but with the file"
            " cache in it: the true peak lies between the two.",
            "killed: the cgroup's own counter. started again: what ended as a whole, a second"
            " later.",
            f"served: probes, four times a second, with {_shown(scenario.probe)}; one that has no"
            " good answer in two seconds is time without. health: `GET /health`, as often. well"
            " again: both, and the level is OK.",
            f"clients served at once: of {scenario.load.clients}, those who for"
            f" {figures.WINDOW_SECONDS:g} s get good answers only, each within"
            f" {figures.IN_TIME_SECONDS:g} s, but to a file; the median of all such times.",
            "p50, p99: of good answers. failed: no answer, or a status that the scenario does not"
            f" take for good; a client gives up after {scenario.load.timeout_seconds:g} s.",
            "Clients, backend and database share the machine's processors.",
            *scenario.notes,
            *_records(ways),
            *_failures(ways),
        ],
        machine=before,
        details={"limit_bytes": limit_bytes, "seconds": seconds, "ways": ways},
    )


def of_claims(saved: Mapping[str, Result]) -> Result:
    """Return the table of claims; *saved* has the tables of the backends by their names."""
    runs = {
        app: {name: _figures_of(way) for name, way in each.details["ways"].items()}
        for app, each in saved.items()
    }
    found = [claims.judge(claim, runs.get(claim.app, {})) for claim in claims.CLAIMS]
    why = claims.reasons()
    return Result(
        name=NAME,
        title="what the originals claimed, and what their likes show here",
        columns=["claim", "backend", "measured", "verdict"],
        rows=[claims.row(each) for each in found],
        notes=[
            "measured: the backend as it was → on Tonnage in the limit; as it was: with all the"
            " memory that it can want, and for times, failures and concurrency in the limit, if it"
            " answered anybody there. What figures of a backend depend on stands below its table.",
            "kept; trouble not shown: ours is within the claim, but the backend as it was has no"
            " such trouble here, or there is no figure of it. That says nothing of a difference.",
            *claims.notes(found, why),
        ],
        machine=max((each.machine for each in saved.values()), key=_date, default=machine()),
        # What measured, not what judged.
        command=" && ".join(dict.fromkeys(each.command for each in saved.values())),
        pictures=["before-after-peaks.svg"] if saved else [],
        details={
            "claims": {each.claim.key: [each.measured, each.verdict] for each in found},
            "unexplained": claims.unexplained(found, why),
        },
    )


def _figures_of(way: Mapping[str, Any]) -> list[figures.Figures]:
    return [each["figures"] for each in way["runs"]]


def _shown(step: Step) -> str:
    return f"`{step.method} {step.path}`"


def _records(ways: Ways) -> list[str]:
    """Return, for each way, what was acknowledged and what of it is lost, of all its runs."""
    notes = []
    for way in ways.values():
        acknowledged: Counter[str] = Counter()
        lost: Counter[str] = Counter()
        for each in way["runs"]:
            for kind, found in each.get("records", {}).items():
                acknowledged[kind] += found["acknowledged"]
                lost[kind] += found["lost"]
        if acknowledged:
            told = ", ".join(
                f"{count:,} {kind}, {lost[kind]:,} lost"
                for kind, count in sorted(acknowledged.items())
            )
            notes.append(f"acknowledged, {way['title']}: {told}.")
    return notes


def _failures(ways: Ways) -> list[str]:
    """Return, for each way, what failed most, of all its runs together."""
    notes = []
    for way in ways.values():
        counts: Counter[str] = Counter()
        for each in way["runs"]:
            for visit, outcomes in each["outcomes"].items():
                counts.update({f"{outcome} in {visit!r}": n for outcome, n in outcomes.items()})
        failed = [(what, n) for what, n in counts.most_common() if not what.startswith(f"{OK} ")]
        if failed:
            told = ", ".join(f"{n}x {what}" for what, n in failed[:_MOST_FAILURES])
            notes.append(f"failed, {way['title']}: {told}.")
    return notes


def _date(state: Mapping[str, Any]) -> str:
    return str(state["date"])
