"""What is asked for when a job is: which function, with how much memory, for how long.

One record for everybody on its way: the caller (:mod:`tonnage.jobs.isolated`), whoever runs it
(:mod:`tonnage.server.jobs` or a task queue), and the child (:mod:`tonnage.jobs.child`). What the
function is called with does not stand here: that goes from the caller to the child directly.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Call:
    """One job.

    Attributes:
        function: where it is, as ``module:qualified.name``; at module level, so that the child
            finds it.
        memory_bytes: what its process may allocate beyond what it begins with.
        timeout_seconds: how long it may run, from its function's start.
        wait_seconds: how long it may wait for its turn.
        keep_warm_seconds: how long its process waits for the next call of the same function; 0: it
            ends with the job.
        is_usual: nobody has said how much memory, so that its owner may allow less where the usual
            would never fit.
    """

    function: str
    memory_bytes: int
    timeout_seconds: float
    wait_seconds: float
    keep_warm_seconds: float = 0.0
    is_usual: bool = False

    def as_fields(self) -> dict[str, Any]:
        """Return it as the fields of a message."""
        return asdict(self)

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> Call:
        """Return what :meth:`as_fields` gave, of this version or another; the rest is left out."""
        return cls(**{name: fields[name] for name in cls.__slots__ if name in fields})
