"""A cut-out of what is in front in a picture: ``images.remove_background``.

    picture = await images.remove_background(upload, background="white")
    picture = images.remove_background.wait(upload, crop="passport")       # from a thread

Promises: the header is checked here, and that the model is there, before anything is begun; the
rest happens in a process of its own (:func:`tonnage.isolated`), whose memory and time are bounded,
and whose memory comes back. The model stays loaded there for the next picture until
*keep_warm* is over. No model is ever fetched: one that is missing is an error that says how to get
it, which is logged too, since a client is not told.

Bounded: one job for a slot (``--job-slots``), and those that wait (``--job-queue``).
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypedDict

from tonnage import images
from tonnage.errors import ConfigError, ModelError
from tonnage.images.background import places
from tonnage.images.background.job import cut_out
from tonnage.images.background.passing import passed
from tonnage.images.background.wanted import CutoutOptions, wanted
from tonnage.jobs import settings
from tonnage.jobs.isolated import isolated
from tonnage.jobs.wanted import JobOptions
from tonnage.units import MIB, format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Unpack

    from tonnage.images.limits import Limits
    from tonnage.images.photo import Photo
    from tonnage.images.picture import Picture
    from tonnage.images.source import Source

logger = logging.getLogger("tonnage.images")

#: How long a process that has loaded a model waits for the next picture.
KEEP_WARM_SECONDS: Final = 60.0
# What a process holds that has loaded a model: a large picture is decoded beside it.
_LOADED_BYTES: Final = 90 * MIB
# 60 MB do for a model of one operation. With less, libraries end the process while they are
# imported, or fail with errors that do not say why.
_LEAST_BYTES: Final = 64 * MIB


class Options(TypedDict, total=False):
    """How a cut-out is to be, and what its job may take; each may be left out.

    Attributes:
        model: one of rembg's names, or the path of an ONNX file; ``u2netp``.
        background: a colour such as ``white`` or ``#20c0a0``; None or ``transparent``: none.
        crop: ``passport``: cut to 35 : 45 about the person's head, on white if nothing is said.
        max_width: of the result in pixels, 800; nothing is enlarged.
        max_height: likewise.
        quality: of JPEG and WebP, from 1 to 95; 85.
        format: ``JPEG``, ``PNG`` or ``WEBP``; None: JPEG, or PNG if it is transparent.
        limits: what is taken; None: ``images.Limits()``.
        memory: what the job may allocate; None: what the model needs (``220M`` for u2netp), and
            what the picture does.
        timeout: how long it may run, in seconds or as ``30s``; None: ``--job-timeout``.
        wait: how long it may wait for its turn; None: ``--job-wait``.
        keep_warm: how long the model stays loaded after it; 60 s.
    """

    model: str
    background: str | None
    crop: str | None
    max_width: int
    max_height: int
    quality: int
    format: str | None
    limits: Limits | None
    memory: str | int | None
    timeout: str | float | None
    wait: str | float | None
    keep_warm: str | float


class RemoveBackground:
    """Calling it is for event loops, :meth:`wait` for threads."""

    async def __call__(self, source: Source | Photo, **options: Unpack[Options]) -> Picture:
        """Return what is in front in the picture of *source*, encoded.

        Args:
            source: as for ``images.open``: bytes, a path, a binary file, an upload; or a photo
                that is open.
            options: see :class:`Options`.

        Raises:
            ConfigError: an option makes no sense, or something is not installed.
            ImageRefusedError: it is no picture, is damaged or too large, or nobody is in it.
            JobBusyError: it did not get its turn in time; a request is answered with 503.
            JobError: the job has given no result.
            ModelError: the model is not there, or not what it should be.
        """
        with _errors_of_models_logged():
            asked, job = _split(options)
            given = await asyncio.to_thread(_prepare, source, asked, job)
            made: Picture = await isolated(cut_out, given, asked, **job)
        return made

    def wait(self, source: Source | Photo, **options: Unpack[Options]) -> Picture:
        """Do the same from a thread that is not the event loop's."""
        with _errors_of_models_logged():
            asked, job = _split(options)
            given = _prepare(source, asked, job)
            made: Picture = isolated.wait(cut_out, given, asked, **job)
        return made

    def check(self, **options: Unpack[Options]) -> None:
        """See that *options* make sense, before there is a picture.

        Raises:
            ConfigError: one of them does not.
            ModelError: there is no such model.
        """
        _split(options)

    def __repr__(self) -> str:
        return "<images.remove_background>"


remove_background: Final = RemoveBackground()


def _split(options: Options) -> tuple[CutoutOptions, dict[str, Any]]:
    """Return how it is to be, and what its job may take."""
    known = Options.__optional_keys__
    if unknown := sorted(options.keys() - known):
        raise TypeError(
            f"remove_background() does not know {unknown[0]!r}: it takes a source and"
            f" {', '.join(sorted(known))}"
        )
    return _meant(**options)


def _meant(
    *,
    memory: str | int | None = None,
    timeout: str | float | None = None,
    wait: str | float | None = None,
    keep_warm: str | float = KEEP_WARM_SECONDS,
    **look: Any,
) -> tuple[CutoutOptions, dict[str, Any]]:
    asked = wanted(**look)
    memory_bytes = JobOptions.of(memory, timeout, wait, keep_warm).memory_bytes
    if memory_bytes is not None and memory_bytes < _LEAST_BYTES:
        raise ConfigError(
            f"memory={memory!r} is too little for any model: leave it out, or give it"
            f" {format_bytes(_LEAST_BYTES)} at least"
        )
    job = {"memory": memory, "timeout": timeout, "wait": wait, "keep_warm": keep_warm}
    return asked, {name: value for name, value in job.items() if value is not None}


def _prepare(source: Source | Photo, asked: CutoutOptions, job: dict[str, Any]) -> bytes | str:
    """Check the picture's header, say how much memory *job* needs, and return what is passed on."""
    if isinstance(source, images.Photo):
        # The other process opens it anew, within these limits.
        source = source.source
    photo = images.open(source, limits=asked.limits)
    is_far = settings.current().jobs is not None
    if not is_far:
        places.found(asked.model)
    job.setdefault("memory", _memory_bytes(photo, asked))
    return passed(photo, is_far=is_far)


@contextmanager
def _errors_of_models_logged() -> Iterator[None]:
    try:
        yield
    except ModelError as error:
        logger.error("no background was removed: %s", error)
        raise


def _memory_bytes(photo: Photo, asked: CutoutOptions) -> int:
    of_model = asked.model.memory_bytes or settings.current().job_memory_bytes
    return max(of_model, _LOADED_BYTES + photo.memory_for(*asked.decoded_size))
