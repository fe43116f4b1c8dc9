"""Pictures, good ones and hostile ones, never make the kernel kill, and cost what they are said to.

``python -m benchmarks images`` and ``photos`` measure the same with camera-sized photos beside
rembg.
"""

from __future__ import annotations

import asyncio

import pytest
from benchmarks.posting import Photos, post_all
from tests.images import corpus
from tests.promises.load import Kind, Load, run
from tests.promises.test_jobs import jobs_in
from tests.support.cgroup import MemoryBox, need_cgroup
from tests.support.missing import give_up
from tests.support.server import Running
from tests.support.slowness import SLOWNESS
from tests.support.waiting import await_true

from tonnage.images.background.models import DEFAULT, model_of
from tonnage.images.background.places import find
from tonnage.units import MIB

pytestmark = pytest.mark.real

HANDLED = {
    "CMYK": corpus.plain("JPEG", mode="CMYK"),
    "16 bits": corpus.plain("PNG", mode="I;16"),
    "turned": corpus.cornered(6),
    "animated WebP": corpus.animated("WEBP"),
}
REFUSED = {
    "too many frames": (413, corpus.gif_of(10_000)),
    "a lie about the size": (413, corpus.with_size(corpus.plain("JPEG"), 60_000, 60_000)),
    "cut short": (422, corpus.plain("JPEG", 640, 480)[:-2000]),
    "no picture": (415, b"<html><script>" * 1000),
}


def test_hostile_pictures_are_refused_and_memory_stays_flat() -> None:
    """In 160 MB, of which the server has some 50: each is refused or handled, none is unpacked."""
    need_cgroup()
    refused = REFUSED | {"900 megapixels": (413, corpus.png_bomb())}
    with (
        MemoryBox(160 * MIB) as box,
        Running("tests.promises.jobs_app:app", "--workers", "1", box=box) as server,
    ):
        # What the first picture loads stays.
        assert server.request("POST", "/small", corpus.plain("JPEG")).status == 200
        usage_bytes = box.usage()

        for _ in range(2):
            found = {name: server.request("POST", "/small", it) for name, it in HANDLED.items()}
            assert {answer.status for answer in found.values()} == {200}, found
            statuses = {
                name: server.request("POST", "/small", it).status
                for name, (_, it) in refused.items()
            }
            assert statuses == {name: status for name, (status, _) in refused.items()}

        assert box.peak() < usage_bytes + 24 * MIB
        assert box.kills() == 0


def test_cut_outs_with_ordinary_requests_beside() -> None:
    """More photos than can be done, in 384 MB: each is done, or refused in form."""
    need_cgroup()
    model = find(model_of(DEFAULT))
    if model is None:
        give_up(f"the model {DEFAULT}", "run tonnage models install")
    photo = corpus.plain("JPEG", 4000, 3000, quality=85)
    with (
        MemoryBox(384 * MIB) as box,
        Running(
            "benchmarks.cutouts:app",
            "--job-queue",
            "1",
            "--models-dir",
            str(model.parent),
            box=box,
        ) as server,
    ):
        processes = sorted(box.pids())
        photos, load = run(_both_loads(server.port, photo))

        tally = load.tallies["rows"]
        assert photos.done > 0
        assert photos.refused > 0
        assert (photos.failed, photos.broken) == ({}, 0)
        assert (tally.broken, tally.other, tally.refused) == (0, 0, 0)
        assert tally.ok > 30 / SLOWNESS
        assert box.kills() == 0
        await_true(lambda: not jobs_in(box), "the end of the warm child, which has no more to do")
        await_true(lambda: sorted(box.pids()) == processes, "the end of its process")


async def _both_loads(port: int, photo: bytes) -> tuple[Photos, Load]:
    load = Load(port, [Kind("rows", "/rows")], clients=20, per_second=100)
    load.start()
    posting = asyncio.create_task(
        post_all(port, "/cutout?keep_warm=0.5", photo, clients=4, seconds=1.5)
    )
    await load.keep_going(1.5)
    await load.stop()
    return await posting, load
