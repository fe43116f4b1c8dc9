"""What a check finds: one line, and what to do about it. Plain data, made by pure checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Outcome = Literal["pass", "fail", "skip"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    Attributes:
        name: of the check; always the same, for scripts.
        outcome: whether it passed, failed, or could not be judged.
        told: what was found.
        advice: what to do about it; empty unless it failed.
    """

    name: str
    outcome: Outcome
    told: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Checked:
    """All that was found about one subject.

    Attributes:
        subject: the target or the URL.
        stage: whether it was looked at before or after deploying.
        findings: in the order of the checks.
    """

    subject: str
    stage: Literal["before deploying", "after deploying"]
    findings: Sequence[Finding]

    def count(self, outcome: Outcome) -> int:
        """Return how many checks had this *outcome*."""
        return sum(each.outcome == outcome for each in self.findings)


def passed(name: str, told: str) -> Finding:
    """Return the result of a check that found nothing to do."""
    return Finding(name, "pass", told)


def failed(name: str, told: str, advice: str) -> Finding:
    """Return the result of a check that found a fault, with what to do about it."""
    return Finding(name, "fail", told, advice)


def skipped(name: str, told: str) -> Finding:
    """Return the result of a check that could not be judged, with the reason."""
    return Finding(name, "skip", told)
