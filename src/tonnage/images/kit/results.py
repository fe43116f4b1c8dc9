"""What is known of jobs, and what they have made, for whichever worker is asked.

    results = Results("cutouts", keep_bytes=64 * MIB)
    results.keep_status(status, 600.0)
    results.status(id)                  # here, in other workers, and after this one was replaced

It lies on the disk, in a file that all workers share and that is *keep_bytes* at most
(:mod:`tonnage.stores.shared`); and where ``REDIS_URL`` is set in Redis too, for other instances:
what takes more than 512 KB stays on its machine. The oldest leave when there is no room, and one
picture may take a sixteenth of it all.

One worker writes a job's status, the one that has the job. Others that want it ended leave a mark
beside it, so that neither overwrites the other. Whether that came in time is decided on one machine
without a lock: the worker says that it stores the picture, and looks for the mark once more; who
has left the mark looks at the status afterwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tonnage.images.kit.status import State, Status
from tonnage.stores.beyond import levels_of
from tonnage.stores.names import name_of

if TYPE_CHECKING:
    from tonnage.stores.beyond import Beyond


class Results:
    """The results of picture jobs, under one name for all workers.

    Args:
        name: what is kept under; all workers have the same.
        keep_bytes: what the file takes at most.

    Raises:
        ConfigError: the bound makes no sense, or LMDB is not installed.
    """

    def __init__(self, name: str, keep_bytes: int | str) -> None:
        levels = levels_of(f"pictures {name}", keep_bytes, redis=None, codec=None)
        assert levels is not None  # one was asked for
        self._levels: Final[Beyond] = levels

    @property
    def may_block(self) -> bool:
        """Whether looking may take a round trip, so that it is not for an event loop."""
        return self._levels.far is not None

    def status(self, id: str) -> Status | None:
        """Return the status of the job *id* as it was last kept; None: nobody knows it."""
        fields = self._find("status", id)
        if fields is None:
            return None
        status = Status.from_fields(fields)
        if status.state is not State.CANCELLED and self.is_unwanted(id):
            return status.when_unwanted()
        return status

    def keep_status(self, status: Status, seconds: float) -> bool:
        """Keep *status* for *seconds*; return whether there was room."""
        return self._keep("status", status.id, status.as_fields(), seconds)

    def content(self, id: str) -> bytes | None:
        """Return the picture that the job *id* has made; None: it is not kept (any more)."""
        found: bytes | None = self._find("content", id)
        return found

    def keep_content(self, id: str, content: bytes, seconds: float) -> bool:
        """Keep a picture for *seconds*; return whether there was room."""
        return self._keep("content", id, content, seconds)

    def forget_content(self, id: str) -> None:
        """Have the picture that the job *id* has made kept no more."""
        self._levels.forget_key(_key("content", id))

    def is_unwanted(self, id: str) -> bool:
        """Return whether somebody wants the job *id* ended, or its picture gone."""
        return self._find("unwanted", id) is not None

    def note_unwanted(self, id: str, seconds: float) -> None:
        """Have that known for *seconds*, and forget what the job has made."""
        self._keep("unwanted", id, True, seconds)
        self.forget_content(id)

    def _find(self, what: str, id: str) -> Any:
        errand = self._levels.errand(_key(what, id))
        found = errand.look_near()
        return errand.value_of(_nothing) if found is None else found.value

    def _keep(self, what: str, id: str, value: Any, seconds: float) -> bool:
        near, far = self._levels.near, self._levels.far
        assert near is not None
        key = _key(what, id)
        if far is not None:
            far.keep(key, value, as_of=None, lasts_seconds=seconds)
        return near.keep(key, value, as_of=None, lasts_seconds=seconds)


def _key(what: str, id: str) -> str:
    name = name_of((what, id))
    assert name is not None  # texts have one
    return name


def _nothing() -> None:
    return None
