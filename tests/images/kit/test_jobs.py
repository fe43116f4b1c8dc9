"""Jobs of pictures, from threads: in turn, bounded, told to whoever asks, and ended on request."""

from __future__ import annotations

import asyncio
import math
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.images.kit.photos import Maker, photo
from tests.support.forking import fork, status_of
from tests.support.threadroom import ThreadRoom
from tests.support.waiting import await_true

from tonnage import images
from tonnage.errors import (
    ConfigError,
    ImageRefusedError,
    JobBusyError,
    JobMemoryError,
    ModelError,
    RequestRefusedError,
)
from tonnage.images.kit import PictureJobs
from tonnage.images.kit.held import HeldFile
from tonnage.images.kit.status import State, Status
from tonnage.images.picture import Picture
from tonnage.problem import Problem
from tonnage.stores.background import background

BUSY = JobBusyError(Problem(503, "jobs_busy", "no turn"))


def told(jobs: PictureJobs, id: str) -> Status:
    """Return the status of a job that is known."""
    status = jobs.status(id)
    assert status is not None
    return status


def await_state(jobs: PictureJobs, id: str, state: State) -> Status:
    """Wait until a job is there, and return its status."""
    await_true(lambda: told(jobs, id).state is state, f"{state} ({told(jobs, id)})", 10.0)
    return told(jobs, id)


def lost(jobs: PictureJobs, id: str) -> bool:
    """Return whether a job has failed since its process ended."""
    status = told(jobs, id)
    return status.problem is not None and status.problem.error == "job_lost"


def descriptors_of(path: Path) -> int:
    """Return how often this process has *path* open."""
    found = 0
    for each in Path("/proc/self/fd").iterdir():
        try:
            found += os.path.realpath(each).startswith(str(path))
        except OSError:
            continue
    return found


def test_a_job_goes_its_way(make_jobs: Callable[..., Any], maker: Maker, path: Path) -> None:
    """Who submits does not wait; the file may be gone, and is let go of in the end."""
    jobs = make_jobs()
    content = path.read_bytes()
    id = jobs.submit(path).id
    path.unlink()
    assert await_state(jobs, id, State.RUNNING).made is None
    assert jobs.content(id) is None
    # The maker has it open for a moment, too.
    await_true(lambda: descriptors_of(path) == 1, "the photo is held")

    maker.may_go_on.set()
    status = await_state(jobs, id, State.DONE)
    assert status.made is not None
    assert (status.made.size_bytes, jobs.content(id)) == (len(content), content[::-1])
    await_true(lambda: descriptors_of(path) == 0, "the photo is let go of")


def test_jobs_wait_their_turn(make_jobs: Callable[..., Any], maker: Maker, path: Path) -> None:
    """In the order in which they came, knowing their place; too many are refused."""
    jobs = make_jobs(waiting=2)
    ids = [jobs.submit(path).id for _ in range(3)]
    await_state(jobs, ids[0], State.RUNNING)
    await_true(lambda: [told(jobs, id).place for id in ids] == [0, 1, 2], "places")
    with pytest.raises(RequestRefusedError) as refused:
        jobs.submit(path)
    assert (refused.value.problem.status, refused.value.problem.extra) == (503, {"retryAfter": 10})

    maker.may_go_on.set()
    for id in ids:
        await_state(jobs, id, State.DONE)
    assert len(maker.begun) == 3
    assert jobs.submit(path).id not in ids


def test_another_worker_knows_it_too(make_jobs: Callable[..., Any], path: Path) -> None:
    """By its id alone, and can cancel it; what is beside it in the line goes on."""
    jobs, others = make_jobs(name="both"), make_jobs(name="both")
    running, waiting, last = (jobs.submit(path).id for _ in range(3))
    await_state(jobs, running, State.RUNNING)

    for id in (running, waiting):
        assert others.cancel(id)
        assert told(others, id).state is told(jobs, id).state is State.CANCELLED
        assert not others.cancel(id)
    await_state(others, last, State.RUNNING)
    assert not jobs.cancel("unknown")
    assert jobs.status("unknown") is None
    jobs.cancel(last)


def test_jobs_are_looked_after_again_when_there_is_memory(
    maker: Maker, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Else nobody could end one any more, and all would be taken for lost."""
    # Asking it takes a thread.
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")

    def story() -> None:
        jobs = PictureJobs(maker, name="short of memory", keep_bytes="1M", look_seconds=0.05)
        background()
        room = ThreadRoom()
        id = jobs.submit(path).id
        await_true(lambda: "no memory" in caplog.text, "a look without memory")
        room.is_there = True
        assert jobs.cancel(id)
        await_true(lambda: descriptors_of(path) == 0, "the photo is let go of")

    assert status_of(fork(story)) == 0


def test_the_job_of_a_worker_that_is_gone_has_failed(
    make_jobs: Callable[..., Any], path: Path
) -> None:
    """Some seconds after it was heard last, whichever other worker is asked."""
    jobs = make_jobs(name="silent")
    late = make_jobs(name="silent", clock=lambda: time.time() + 25.0)
    id = jobs.submit(path).id
    await_state(jobs, id, State.RUNNING)
    problem = told(late, id).problem
    assert problem is not None
    assert (problem.status, problem.error) == (503, "job_lost")
    jobs.cancel(id)


def test_a_picture_can_be_forgotten(
    make_jobs: Callable[..., Any], maker: Maker, path: Path
) -> None:
    """Its job was done all the same, and not cancelled."""
    jobs = make_jobs()
    maker.may_go_on.set()
    id = jobs.submit(path).id
    await_state(jobs, id, State.DONE)

    assert jobs.cancel(id)
    assert (told(jobs, id).state, jobs.content(id)) == (State.EXPIRED, None)
    assert not jobs.cancel(id)


def test_what_has_failed_stays_so(make_jobs: Callable[..., Any], maker: Maker, path: Path) -> None:
    """There is nothing to end, and nothing to forget."""
    jobs = make_jobs()
    maker.errors.append(RuntimeError())
    maker.may_go_on.set()
    id = jobs.submit(path).id
    await_state(jobs, id, State.FAILED)

    assert not jobs.cancel(id)
    assert told(jobs, id).state is State.FAILED


def test_what_is_being_stored_is_not_ended(
    make_jobs: Callable[..., Any], maker: Maker, path: Path
) -> None:
    """Or it would be called cancelled, and be there: so it is done, and then forgotten."""
    begun, may_end = threading.Event(), threading.Event()

    def then(picture: images.Picture, about: object) -> None:
        begun.set()
        may_end.wait(10.0)

    jobs = make_jobs(then=then, look_seconds=0.01)
    maker.may_go_on.set()
    id = jobs.submit(path).id
    assert begun.wait(10.0)
    behind = jobs.submit(path).id
    assert jobs.cancel(id)
    assert jobs.cancel(behind)
    # Whoever has ended it has looked at the first one before.
    await_true(lambda: descriptors_of(path) == 1, "the job behind it is let go of")
    assert told(jobs, id).state is State.RUNNING

    may_end.set()
    await_state(jobs, id, State.EXPIRED)
    assert jobs.content(id) is None


def test_what_was_cancelled_is_not_stored(
    make_jobs: Callable[..., Any], maker: Maker, path: Path
) -> None:
    """Although it is made before anybody looks for that."""
    stored: list[object] = []
    jobs = make_jobs(name="unwanted", then=lambda picture, about: stored.append(about))
    first = jobs.submit(path, "first").id
    await_state(jobs, first, State.RUNNING)
    assert jobs.cancel(first)
    maker.may_go_on.set()

    await_state(jobs, jobs.submit(path, "second").id, State.DONE)
    assert (stored, told(jobs, first).state) == (["second"], State.CANCELLED)


def test_who_is_cancelled_as_his_turn_comes_does_not_keep_it(path: Path) -> None:
    """A task that is cancelled before its first step never runs, not even to its end."""
    made: list[asyncio.Future[None]] = []
    looks: list[asyncio.Future[None]] = []

    async def make(path: Path) -> Picture:
        made.append(asyncio.get_running_loop().create_future())
        await made[-1]
        return Picture(b"picture", "image/jpeg", 64, 48)

    jobs = PictureJobs(make, name="at the same moment", keep_bytes="1M", look_seconds=60.0)
    first, second = (jobs.submit(path).id for _ in range(2))
    await_true(lambda: len(made) == 1, "the first is being made")
    assert jobs.cancel(second)
    queue = jobs._queue

    def end_the_first_and_look() -> None:
        made[-1].set_result(None)
        # As it does every so many seconds, in the turn of the loop in which the first ends.
        look = queue._look_at(queue._jobs[second], has_to_beat=False)
        looks.append(asyncio.ensure_future(look))

    background().call(end_the_first_and_look)
    await_state(jobs, first, State.DONE)
    third = jobs.submit(path).id
    await_true(lambda: len(made) == 2, "the third has its turn")
    background().call(lambda: made[-1].set_result(None))
    await_state(jobs, third, State.DONE)
    await_true(lambda: descriptors_of(path) == 0, "the photos are let go of")


def test_pictures_need_not_be_kept(make_jobs: Callable[..., Any], maker: Maker, path: Path) -> None:
    """Where somebody else has them; how the job went is known all the same."""
    with pytest.raises(ConfigError, match="nobody would have"):
        make_jobs(keep=None)
    stored: list[bytes] = []
    jobs = make_jobs(keep=None, then=lambda picture, about: stored.append(picture.content))
    maker.may_go_on.set()
    id = jobs.submit(path).id

    assert await_state(jobs, id, State.DONE).made is not None
    assert (jobs.content(id), stored) == (None, [path.read_bytes()[::-1]])


def test_whose_job_it_is_is_known(make_jobs: Callable[..., Any], path: Path) -> None:
    """To every worker, as long as the job; its client is not told."""
    jobs, others = make_jobs(name="whose"), make_jobs(name="whose")
    id = jobs.submit(path, 7).id
    status = await_state(others, id, State.RUNNING)
    assert status.about == 7
    assert "about" not in status.described()
    jobs.cancel(id)
    assert told(others, id).about == 7


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ImageRefusedError(Problem(422, "damaged", "it is cut")), (422, "damaged")),
        (JobMemoryError("it needed more"), (413, "picture_too_heavy")),
        (ModelError("there is none in /srv/models"), (503, "model_missing")),
        (RuntimeError("secret"), (500, "job_failed")),
    ],
)
def test_what_fails_says_why(
    make_jobs: Callable[..., Any],
    maker: Maker,
    path: Path,
    error: Exception,
    expected: tuple[int, str],
) -> None:
    """As far as it is the client's to know; the next job is made all the same."""
    jobs = make_jobs()
    maker.errors.append(error)
    maker.may_go_on.set()
    problem = await_state(jobs, jobs.submit(path).id, State.FAILED).problem
    assert problem is not None

    assert (problem.status, problem.error) == expected
    assert "secret" not in problem.detail
    assert "/srv" not in problem.detail
    await_state(jobs, jobs.submit(path).id, State.DONE)


def test_a_busy_machine_is_waited_for(
    make_jobs: Callable[..., Any], maker: Maker, path: Path
) -> None:
    """As long as the patience of the job."""
    maker.errors += [BUSY, BUSY]
    maker.may_go_on.set()
    jobs = make_jobs(look_seconds=0.01)
    await_state(jobs, jobs.submit(path).id, State.DONE)
    assert len(maker.begun) == 3

    maker.errors += [BUSY] * 1000
    impatient = make_jobs(patience=0.1, look_seconds=0.01)
    problem = await_state(impatient, impatient.submit(path).id, State.FAILED).problem
    assert problem is not None
    assert problem.error == "jobs_busy"


def test_whoever_waits_too_long_has_failed(make_jobs: Callable[..., Any], path: Path) -> None:
    """And the one that it waited for goes on."""
    jobs = make_jobs(patience=0.1)
    first, second = jobs.submit(path).id, jobs.submit(path).id
    assert await_state(jobs, second, State.FAILED).reason is not None
    assert told(jobs, first).state is State.RUNNING


def test_pictures_are_kept_for_a_while(
    make_jobs: Callable[..., Any], maker: Maker, path: Path
) -> None:
    """And known for longer, so that it can be said that they are gone."""
    now = [time.time()]
    jobs = make_jobs(keep="1m", clock=lambda: now[0])
    maker.may_go_on.set()
    id = jobs.submit(path).id
    await_state(jobs, id, State.DONE)

    now[0] += 61
    assert (told(jobs, id).state, jobs.content(id)) == (State.EXPIRED, None)


def test_pictures_have_a_bound(make_jobs: Callable[..., Any], maker: Maker, tmp_path: Path) -> None:
    """Together, and each: a sixteenth of that."""
    jobs = make_jobs(keep_bytes="1M")
    maker.may_go_on.set()
    path = tmp_path / "noise.png"
    path.write_bytes(photo(format="PNG") + os.urandom(70_000))
    problem = await_state(jobs, jobs.submit(path).id, State.FAILED).problem
    assert problem is not None
    assert (problem.status, problem.error) == (507, "picture_too_large")


def test_what_is_no_photo_is_no_job(
    make_jobs: Callable[..., Any], maker: Maker, tmp_path: Path
) -> None:
    """It is refused before it is taken."""
    path = tmp_path / "text.jpg"
    path.write_bytes(b"no photo")
    with pytest.raises(ImageRefusedError):
        make_jobs().submit(path)
    assert maker.begun == []
    assert descriptors_of(path) == 0


def test_each_picture_is_handed_on(make_jobs: Callable[..., Any], maker: Maker, path: Path) -> None:
    """With what was said of its photo, before the job is done; what goes wrong there counts."""
    kept: list[tuple[bytes, object]] = []

    def then(picture: images.Picture, about: object) -> None:
        kept.append((picture.content, about))
        if about == "nobody":
            raise LookupError

    jobs = make_jobs(then=then)
    maker.may_go_on.set()
    await_state(jobs, jobs.submit(path, 7).id, State.DONE)
    await_state(jobs, jobs.submit(path, "nobody").id, State.FAILED)
    assert kept == [(path.read_bytes()[::-1], 7), (path.read_bytes()[::-1], "nobody")]


def test_a_job_of_which_nobody_could_be_told_is_not_taken(
    make_jobs: Callable[..., Any], maker: Maker, path: Path
) -> None:
    """Where its status does not fit into what is kept, its client hears that at once."""
    jobs = make_jobs(keep_bytes="1M")
    with pytest.raises(RequestRefusedError) as refused:
        jobs.submit(path, "x" * 100_000)
    assert (refused.value.problem.status, refused.value.problem.error) == (
        507,
        "no_room_for_results",
    )
    assert (maker.begun, descriptors_of(path)) == ([], 0)


def test_a_photo_is_let_go_of_once(path: Path) -> None:
    """Any number of times, and never a file that has its number since."""
    held = HeldFile(path)
    held.close()
    with path.open("rb"):
        assert descriptors_of(path) == 1
        held.close()
        assert descriptors_of(path) == 1


def test_a_process_that_ends_finishes_what_it_has_begun(
    make_jobs: Callable[..., Any], maker: Maker, path: Path
) -> None:
    """And says of what waited still that it has failed, so that its client sends it again."""

    async def go_on() -> None:
        maker.may_go_on.set()

    def live() -> None:
        jobs = make_jobs()
        begun, waiting = jobs.submit(path).id, jobs.submit(path).id
        await_state(jobs, begun, State.RUNNING)
        background().on_close(go_on)
        background().close(10.0)
        assert told(jobs, begun).state is State.DONE
        assert jobs.content(begun) == path.read_bytes()[::-1]
        assert lost(jobs, waiting)

    assert status_of(fork(live)) == 0


def test_what_does_not_end_before_the_process_has_failed(
    make_jobs: Callable[..., Any], path: Path
) -> None:
    """That is said in time, and whoever asks another worker does not wait until it is missed."""

    def live() -> None:
        jobs = make_jobs()
        id = jobs.submit(path).id
        await_state(jobs, id, State.RUNNING)
        background().close(0.2)
        await_true(lambda: lost(jobs, id), "it has failed")

    assert status_of(fork(live)) == 0


@pytest.mark.parametrize(
    "options",
    [{"at_once": 0}, {"at_once": math.nan}, {"waiting": -1}, {"waiting": None}, {"keep_bytes": 5}],
)
def test_bounds_make_sense(make_jobs: Callable[..., Any], options: dict[str, Any]) -> None:
    """Or it is said at once."""
    with pytest.raises(ConfigError):
        make_jobs(**options)
