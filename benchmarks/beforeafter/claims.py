"""What the originals claimed, beside what was measured.

Each claim is one of the originals', as the requirements list them, made one that can be judged: a
figure of one backend (``benchmarks.beforeafter.figures``), and what it was to be. Where a claim is
not reached, or kept where nothing was wrong before, or cannot be judged like this, ``why.toml``
says why, by the claim's key: by hand.

Pure, but for the reading of that file.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import ge, le
from pathlib import Path
from typing import Final, Literal

from benchmarks.beforeafter.figures import Figures, median, written
from tonnage.units import MIB

WHY: Final = Path(__file__).with_name("why.toml")

#: Of Tonnage's requests: where more fail, no claim is reached.
MOST_FAILED_SHARE: Final = 0.01

_TO_BE_EXPLAINED: Final = ("not reached", "kept; trouble not shown", "see below")

#: The figures of each run of one backend, by way: ``naive-wide``, ``naive``, ``tonnage``.
Runs = Mapping[str, Sequence[Figures]]

Rule = Literal["lower by", "at most", "at least", "instead"]
"""``lower by``: a share less than the naive backend's. ``instead``: nothing to be judged by."""

Verdict = Literal["reached", "kept; trouble not shown", "not reached", "see below", "not measured"]
"""``kept; trouble not shown``: we are within the claim, but the naive backend had no such trouble
here, or there is no figure of it: nothing is shown of the difference."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim.

    Attributes:
        key: what ``why.toml`` calls it.
        app: the backend that it is about.
        said: the original's words.
        figure: what it is judged by, or what is told in its stead.
        rule, bound: when it is reached.
        against: whose figure is set beside it: the naive backend with all the memory that it can
            want, or in the small box.
        before: how it was before, at its mildest, where the claim is of a difference: what the
            naive backend has to show for it.
    """

    key: str
    app: str
    said: str
    figure: str
    rule: Rule
    bound: float = 0.0
    against: Literal["naive-wide", "naive"] = "naive-wide"
    before: float | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of a claim."""

    claim: Claim
    measured: str
    verdict: Verdict


# fmt: off
CLAIMS: Final = (
    Claim("peak", "fitflix", "75 % lower peak memory", "peak_bytes", "lower by", 0.75),
    Claim("faster", "fitflix", "30 % faster responses", "p50_seconds", "lower by", 0.30),
    Claim("hits", "fitflix", "95 % cache hit rate", "cache_hits_share", "at least", 0.95),
    Claim("recovery", "fitflix", "recovery in 1 to 2 minutes",
          "recovery_seconds", "at most", 120, "naive"),
    # About: up to a tenth more.
    Claim("start", "fitflix", "start at about 85 MB", "start_bytes", "at most", 1.1 * 85 * MIB),
    Claim("load", "fitflix", "150 to 200 MB under load", "mean_bytes", "at most", 200 * MIB),
    Claim("never", "fitflix", "never over 400 MB", "peak_bytes", "at most", 400 * MIB),
    Claim("uptime", "fitflix", "uptime 99.9 %", "up_share", "instead", against="naive"),
    Claim("memory", "lvlup", "60 to 75 % lower memory", "peak_bytes", "lower by", 0.60),
    Claim("loggers", "lvlup", "loggers 50-100 MB → 0", "log_queue_bytes", "at most", MIB / 2,
          before=50 * MIB),
    Claim("buffers", "lvlup", "writers' buffers at most 3 MB",
          "writer_bytes", "at most", 3 * MIB),
    Claim("heartbeats", "lvlup", "heartbeats 30-50 → 10-20 MB",
          "heartbeat_bytes", "at most", 20 * MIB, before=30 * MIB),
    Claim("dropped", "lvlup", "dropped events under 1 %", "lost_share", "at most", 0.01),
    Claim("stable", "fibuca", "server stable at 380 to 420 MB",
          "peak_bytes", "at most", 420 * MIB),
    Claim("image-time", "fibuca", "image processing 30-60 s → 5-10 s",
          "image_seconds", "at most", 10, before=30),
    Claim("image-memory", "fibuca", "image processing in 200 MB instead of 500",
          "job_bytes", "at most", 200 * MIB, before=500 * MIB),
    Claim("concurrency", "fibuca", "10 to 15 concurrent requests instead of 3 to 5",
          "clients_served", "at least", 10, "naive", before=5),
    Claim("timeouts", "fibuca", "timeouts 20-30 % → under 1 %",
          "timeout_share", "at most", 0.01, "naive", before=0.20),
    Claim("database-memory", "fibuca", "database memory −40 %",
          "database_bytes", "lower by", 0.40),
    Claim("query-time", "fibuca", "query time −30 %", "query_seconds", "lower by", 0.30),
    Claim("query-memory", "fibuca", "memory a query −50 % by selecting fields",
          "query_rows", "instead"),
    # Rare: they had not been.
    Claim("database-errors", "fibuca", "database connection errors rare",
          "database_refusals", "at most", 0, "naive", before=1),
)
# fmt: on


def judge(claim: Claim, runs: Runs) -> Judged:
    """Return what *runs* of the claim's backend say to it."""
    ours = median(runs.get("tonnage", ()), claim.figure)
    theirs = median(runs.get(claim.against, ()), claim.figure)
    if theirs is None:
        # Where it has answered nobody, there is nothing to compare with in the small box.
        theirs = median(runs.get("naive-wide", ()), claim.figure)
    if ours is None:
        return Judged(claim, "-", "not measured")
    measured = written(claim.figure, ours)
    if theirs is not None:
        measured = f"{written(claim.figure, theirs)} → {measured}"
    if claim.rule == "instead":
        return Judged(claim, measured, "see below")
    if faults := _faults(runs.get("tonnage", ())):
        return Judged(claim, f"{measured}; {faults}", "not reached")
    if claim.rule == "lower by":
        if not theirs:
            return Judged(claim, measured, "not measured")
        share = ours / theirs - 1
        measured += f" ({share:+.0%})".replace("%", " %").replace("-", "−")
        return Judged(claim, measured, "reached" if -share >= claim.bound else "not reached")
    is_within, is_trouble = (ge, le) if claim.rule == "at least" else (le, ge)
    if not is_within(ours, claim.bound):
        return Judged(claim, measured, "not reached")
    if claim.before is None or (theirs is not None and is_trouble(theirs, claim.before)):
        return Judged(claim, measured, "reached")
    return Judged(claim, measured, "kept; trouble not shown")


def _faults(runs: Sequence[Figures]) -> str:
    """Return why nothing that these runs show counts: refusing and being killed are no feats."""
    killed = sum(run.get("kernel_kills", 0.0) for run in runs)
    failed = median(runs, "error_share") or 0.0
    return ", ".join(
        [f"killed {killed:.0f} times"] * (killed > 0)
        + [f"{failed:.1%} of requests failed"] * (failed > MOST_FAILED_SHARE)
    )


def reasons(path: Path = WHY) -> dict[str, str]:
    """Return what was written by hand, by the key of the claim.

    Raises:
        ValueError: a key is no claim's, or what stands there is no text.
    """
    found = tomllib.loads(path.read_text())
    keys = {claim.key for claim in CLAIMS}
    for key, text in found.items():
        if key not in keys:
            raise ValueError(f"{path}: {key}: no such claim: use one of {', '.join(sorted(keys))}")
        if not isinstance(text, str):
            raise ValueError(f"{path}: {key}: a text is needed: put it in quotes")
    return found


def row(judged: Judged) -> list[str]:
    """Return the row of the table."""
    return [judged.claim.said, judged.claim.app, judged.measured, judged.verdict]


def notes(judged: Sequence[Judged], why: Mapping[str, str]) -> list[str]:
    """Return, for each claim that is not simply reached, the reason that is given for it."""
    return [
        f"{each.claim.said}: {why[each.claim.key]}"
        for each in judged
        if each.verdict in _TO_BE_EXPLAINED and each.claim.key in why
    ]


def unexplained(judged: Sequence[Judged], why: Mapping[str, str]) -> list[str]:
    """Return the keys of those claims for which nobody has written a reason yet."""
    return [
        each.claim.key
        for each in judged
        if each.verdict in _TO_BE_EXPLAINED and each.claim.key not in why
    ]
