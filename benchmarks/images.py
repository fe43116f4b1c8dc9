"""A portrait of 12 megapixels is posted, its cut-out comes back: four ways, in time and memory.

rembg in the worker that serves, rembg in a process of its own for each photo, and Tonnage with a
warm child and with a new one for each; all with the same model on the same machine, each server in
a memory cgroup of its own. Beside them the model alone, with the options and threads of ours.
Needs rembg (in the group ``bench``) and the model u2netp: ``tonnage models install``.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from benchmarks import options
from benchmarks.box import MemoryBox
from benchmarks.peers import PEERS
from benchmarks.portrait import SIZE, portrait
from benchmarks.record import Result, machine
from benchmarks.server import REST_SECONDS, Server
from benchmarks.weighing import await_no_job, pss_kilobytes, weighing
from tonnage.errors import ModelError
from tonnage.units import format_bytes

SUMMARY = "background of a 12-megapixel portrait removed: rembg in two ways, ours warm and cold"

APP = "benchmarks.cutouts:app"
WAYS = {
    "rembg": ("uvicorn", "rembg in the web worker"),
    "subprocess": ("uvicorn", "rembg in a process for each photo"),
    "warm": ("tonnage-workers", "Tonnage, warm child"),
    "cold": ("tonnage-workers", "Tonnage, new child for each"),
}
PHOTO_SECONDS = 60.0
"""How long one photo may take."""
SETTLED_SECONDS = 5.0
"""After the last photo, and after the idle time of a warm child, the memory is looked at again."""
WEIGHED = 3
"""Photos while memory is sampled."""


@dataclass(frozen=True, slots=True)
class Found:
    """What one way has shown; times in seconds, memory in KB."""

    way: str
    seconds: list[float]
    before_pss: int
    peak_cgroup: int
    peak_pss: int
    server_pss: int
    job_pss: int
    job_rss: int
    after_pss: int
    gone_seconds: float | None

    def row(self) -> list[str]:
        """Return the row of the table, but for what compares it with the model alone."""
        memory = (
            self.before_pss, self.peak_cgroup, self.peak_pss, self.server_pss,
            self.job_pss, self.job_rss, self.after_pss,
        )  # fmt: skip
        gone = "-" if self.gone_seconds is None else f"{self.gone_seconds:.2f} s"
        return [
            WAYS[self.way][1],
            f"{statistics.median(self.seconds):.2f} s",
            *(f"{kilobytes / 1024:.0f}" if kilobytes else "-" for kilobytes in memory),
            gone,
        ]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this benchmark."""
    options.add_limit(parser, "4G")
    parser.add_argument("--ways", default=",".join(WAYS), help="with commas")
    parser.add_argument("--photos", type=int, default=7, help="that are timed, one after another")
    parser.add_argument("--keep-warm", type=float, default=5.0, help="seconds, of the warm child")


def run(chosen: argparse.Namespace) -> Result:
    """Measure each way."""
    ways = chosen.ways.split(",")
    home = model_home()
    if {"rembg", "subprocess"} & set(ways):
        import_rembg()
    before = machine()
    photo, found = portrait(), []
    alone = [inference(home, chosen.photos)]
    for way in ways:
        found.append(_measure(way, photo, home, chosen))
        print(" | ".join(found[-1].row()), flush=True)
        alone.append(inference(home, chosen.photos))
        time.sleep(REST_SECONDS)
    return result(found, alone, photo, chosen, before)


def result(
    found: Sequence[Found],
    alone: Sequence[Sequence[float]],
    photo: bytes,
    chosen: argparse.Namespace,
    before: dict[str, Any],
) -> Result:
    """Return the table of what was *found*."""
    model_seconds = statistics.median(second for seconds in alone for second in seconds)
    ratios = [statistics.median(each.seconds) / model_seconds for each in found]
    rows = [[*each.row(), f"{ratio:.2f}"] for each, ratio in zip(found, ratios, strict=True)]
    return Result(
        name="images",
        title=f"a JPEG of {SIZE[0]} x {SIZE[1]} ({format_bytes(len(photo))}) to its cut-out on"
        f" white, 800 x 800 at most, with u2netp; median of {chosen.photos}",
        columns=["way", "time", "PSS before", "cgroup peak", "PSS peak", "server's PSS",
                 "job's PSS", "job's resident peak", "PSS after", "job gone after",
                 "time by the model's"],
        rows=[
            *rows,
            ["the model alone", f"{model_seconds:.2f} s", *["-"] * 8, "1.00"],
        ],
        notes=[
            "In MB. time: of the cut-out in the server, photo received. The first two photos of"
            " each way are not timed. The model alone: with the options and threads that Tonnage"
            " uses, at a job's priority, a process before and after each way.",
            "cgroup peak: the kernel's own counter, page cache and shared libraries included. PSS:"
            " of all processes of the server, sampled while other photos are done than are timed;"
            " server's: without the job's process, job's: of that alone.",
            f"PSS after: {SETTLED_SECONDS:g} s after the last photo, with a warm child"
            f" {SETTLED_SECONDS:g} s after its {chosen.keep_warm:g} s. gone after: from the end of"
            " those until its process had ended.",
        ],
        machine=before,
        details={"found": [asdict(each) for each in found], "model_seconds": list(alone)},
    )  # fmt: skip


def model_home() -> str:
    """Return the directory of the model, which all ways are given."""
    from tonnage.images.background.models import DEFAULT, model_of
    from tonnage.images.background.places import checked

    try:
        return str(checked(model_of(DEFAULT)).parent)
    except ModelError as error:
        sys.exit(str(error))


def import_rembg() -> None:
    """See that rembg can be imported; once, since numba compiles then."""
    print("rembg is imported once, since numba compiles then ...", flush=True)
    done = subprocess.run(
        [sys.executable, "-c", "import rembg"], stderr=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        why = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
        sys.exit(
            f"rembg cannot be imported ({why}): run make install-bench, or leave it out:"
            " --ways warm,cold"
        )


def inference(home: str, runs: int) -> list[float]:
    """Return how many seconds each of *runs* of the model alone took."""
    command = [sys.executable, "-m", "benchmarks.inference", str(runs)]
    environment = os.environ | {"U2NET_HOME": home}
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, text=True, check=True, timeout=600
    )
    seconds: list[float] = json.loads(done.stdout)
    return seconds


def post(port: int, photo: bytes, keep_warm_seconds: float) -> float:
    """Post *photo*; return the seconds that the server says it took.

    Raises:
        RuntimeError: the answer is no picture.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PHOTO_SECONDS)
    try:
        connection.request("POST", f"/cutout?keep_warm={keep_warm_seconds:g}", photo)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != 200 or not content.startswith(b"\xff\xd8"):
            raise RuntimeError(f"status {answer.status}: {content[:500]!r}")
        return float(answer.headers["X-Seconds"])
    finally:
        connection.close()


def _measure(way: str, photo: bytes, home: str, chosen: argparse.Namespace) -> Found:
    peer = PEERS[WAYS[way][0]]
    environment = peer.environment | {
        "U2NET_HOME": home,
        "WAY": "tonnage" if way in ("warm", "cold") else way,
    }
    keep_warm_seconds = 0.0 if way == "cold" else chosen.keep_warm
    with (
        MemoryBox(chosen.limit) as box,
        Server(replace(peer, environment=environment), box, app=APP, workers=1) as server,
    ):
        before_pss = pss_kilobytes(box)
        for _ in range(2):
            post(server.port, photo, keep_warm_seconds)
        seconds = [post(server.port, photo, keep_warm_seconds) for _ in range(chosen.photos)]
        with weighing(box) as weight:
            for _ in range(WEIGHED):
                post(server.port, photo, keep_warm_seconds)
        ended = time.monotonic()
        gone_seconds = None
        if way == "warm":
            await_no_job(box, chosen.keep_warm + 4 * SETTLED_SECONDS)
            gone_seconds = time.monotonic() - ended - chosen.keep_warm
            ended += chosen.keep_warm
        time.sleep(max(0.0, ended + SETTLED_SECONDS - time.monotonic()))
        return Found(
            way=way,
            seconds=seconds,
            before_pss=before_pss,
            peak_cgroup=box.peak_bytes // 1024,
            peak_pss=weight.tree_pss,
            server_pss=weight.server_pss,
            job_pss=weight.job_pss,
            job_rss=weight.job_rss,
            after_pss=pss_kilobytes(box),
            gone_seconds=gone_seconds,
        )
