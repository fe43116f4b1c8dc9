"""The whole way, with the real model: bounded, kept warm, and memory that comes back."""

from __future__ import annotations

import asyncio
import io
import os
import pickle
from pathlib import Path
from tempfile import SpooledTemporaryFile
from types import SimpleNamespace

import pytest
from PIL import Image
from tests.images.background.drawing import as_bytes, person
from tests.support.server import Running
from tests.support.waiting import await_true

from tonnage import images
from tonnage.errors import ConfigError, ImageRefusedError, JobMemoryError, ModelError
from tonnage.host.processes import descendants, read_rollup
from tonnage.images.background.passing import passed
from tonnage.units import KIB, MIB

#: What a job may hold at its peak, with u2netp and a photo of 12 megapixels.
MOST_BYTES = 180 * MIB
#: And while it waits, warm, for the next.
MOST_WARM_BYTES = 80 * MIB


@pytest.fixture(scope="module")
def photo() -> bytes:
    """Return a portrait of 12 megapixels."""
    return as_bytes(person().resize((3000, 4000), Image.Resampling.BICUBIC), "JPEG")


@pytest.fixture
def with_model(u2netp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have jobs find the model, wherever other tests have looked for theirs."""
    monkeypatch.setenv("TONNAGE_MODELS_DIR", os.fspath(u2netp.parent))


def _jobs(pid: int) -> list[int]:
    return [pid for pid in descendants(pid) if _name(pid) == "tonnage-job"]


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _peak_bytes(pid: int) -> int:
    """Return the most that *pid* has held, less the shares that others have in its pages."""
    status = Path(f"/proc/{pid}/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    now = read_rollup(pid)
    return int(peak.split()[1]) * KIB - (now.rss_bytes - now.pss_bytes)


@pytest.mark.real
def test_in_a_server_memory_is_bounded_kept_warm_and_given_back(u2netp: Path, photo: bytes) -> None:
    """Within its bounds at the peak and while it waits; then gone."""
    env = {"TONNAGE_MODELS_DIR": os.fspath(u2netp.parent)}
    arguments = ("tests.images.background.app:app", "--memory", "512M", "--workers", "1")
    with Running(*arguments, env=env) as server:
        answer = server.request("POST", "/60s", photo)
        assert answer.status == 200, answer.body
        (job,) = _jobs(server.pid)
        assert _peak_bytes(job) <= MOST_BYTES
        assert read_rollup(job).pss_bytes <= MOST_WARM_BYTES
        picture = Image.open(io.BytesIO(answer.body))
        assert (picture.format, picture.size) == ("JPEG", (600, 800))
        assert min(picture.getpixel((20, 20))) > 250  # type: ignore[arg-type]
        assert server.request("POST", "/60s", photo).status == 200
        assert _jobs(server.pid) == [job], "the model is not loaded twice"
        assert server.request("POST", "/100ms", photo).status == 200
        await_true(lambda: not _jobs(server.pid), "the end of the warm process")
        damaged = server.request("POST", "/0", photo[: len(photo) // 2])
        assert (damaged.status, damaged.json()["error"]) == (422, "picture_damaged")


@pytest.mark.real
@pytest.mark.usefixtures("with_model")
async def test_every_kind_of_source_is_taken(tmp_path: Path, photo: bytes) -> None:
    """By path, as bytes, as a file, and as a photo; one process, kept warm, works on them all."""
    path = tmp_path / "photo.jpg"
    path.write_bytes(photo)
    seen = set()
    with path.open("rb") as file:
        for source in (path, photo, file, io.BytesIO(photo), images.open(photo)):
            made = await images.remove_background(source, crop="passport", keep_warm=10)
            assert made.media_type == "image/jpeg"
            assert made.width / made.height == pytest.approx(35 / 45, abs=0.01)
            seen.update(_jobs(os.getpid()))
    assert len(seen) == 1


@pytest.mark.real
@pytest.mark.usefixtures("with_model")
async def test_from_a_thread_it_is_waited_for(photo: bytes) -> None:
    """With all that a job may allocate at 190 MB."""
    made = await asyncio.to_thread(images.remove_background.wait, photo, memory="190M", keep_warm=0)
    assert made.media_type == "image/png"


@pytest.mark.real
@pytest.mark.usefixtures("with_model")
async def test_too_little_memory_is_an_error_that_says_so(photo: bytes) -> None:
    """The process that asked goes on."""
    with pytest.raises(JobMemoryError, match="120 MB"):
        await images.remove_background(photo, memory="120M", keep_warm=0)


@pytest.mark.real
@pytest.mark.usefixtures("with_model")
async def test_a_model_that_is_not_there_is_an_error_that_says_how_to_get_it(photo: bytes) -> None:
    """Nothing is fetched."""
    with pytest.raises(ModelError, match="run tonnage models install birefnet-portrait --from"):
        await images.remove_background(photo, model="birefnet-portrait", keep_warm=0)


@pytest.mark.usefixtures("models_dir")
async def test_a_missing_model_begins_no_job_and_is_the_operators_matter(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log says which; a client that it is not its fault, and no path."""
    with pytest.raises(ModelError, match="run tonnage models install") as refused:
        await images.remove_background(as_bytes(person()))
    assert refused.value.__cause__ is None, "it was noticed here"
    with pytest.raises(ModelError, match=r"no model /nowhere/own\.onnx"):
        await asyncio.to_thread(
            images.remove_background.wait, as_bytes(person()), model="/nowhere/own.onnx"
        )
    assert "there is no model /nowhere/own.onnx" in caplog.text
    again = pickle.loads(pickle.dumps(refused.value))
    for error in (refused.value, again):
        assert str(error) == str(refused.value)
        assert (error.problem.status, error.problem.error) == (503, "model_missing")
        assert "/" not in error.problem.detail


@pytest.mark.real
def test_in_a_server_a_missing_model_is_answered_in_form(tmp_path: Path) -> None:
    """No process is started for it, and no path is told; the log has it."""
    arguments = ("tests.images.background.app:app", "--workers", "1", "--models-dir", str(tmp_path))
    with Running(*arguments) as server:
        answer = server.request("POST", "/60s", as_bytes(person()))
        assert (answer.status, answer.json()["error"]) == (503, "model_missing")
        assert str(tmp_path).encode() not in answer.body
        assert not _jobs(server.pid)
    assert f"the model u2netp is not in {tmp_path}: run tonnage models install" in server.log


@pytest.mark.parametrize("memory", ["10M", "20M", 40_000_000])
async def test_memory_that_can_never_do_is_refused_before_anything_is_begun(
    memory: str | int,
) -> None:
    """And says how much might."""
    with pytest.raises(ConfigError, match=r"is too little for any model.* 64 MB at least"):
        await images.remove_background(as_bytes(person()), memory=memory)


async def test_what_is_refused_by_its_header_begins_no_job() -> None:
    """Nor does what makes no sense."""
    with pytest.raises(ImageRefusedError):
        await images.remove_background(b"<svg></svg>")
    with pytest.raises(ConfigError, match="JPEG has no transparency"):
        images.remove_background.wait(as_bytes(person()), format="JPEG")
    with pytest.raises(TypeError, match="colour"):
        await images.remove_background(as_bytes(person()), colour="white")  # type: ignore[call-arg]


def test_a_file_is_passed_on_by_its_place_and_what_is_in_memory_as_bytes(tmp_path: Path) -> None:
    """Nothing is read that the job can open, and nothing is written to the disk for it."""
    content = as_bytes(person())
    path = tmp_path / "photo.png"
    path.write_bytes(content)
    upload = SimpleNamespace(size_bytes=len(content), path=path)
    assert passed(images.open(upload), is_far=False) == str(path)
    with SpooledTemporaryFile(max_size=2 * len(content)) as file:
        file.write(content)
        assert passed(images.open(file), is_far=False) == content  # type: ignore[arg-type]
        file.rollover()
        where = passed(images.open(file), is_far=False)  # type: ignore[arg-type]
        assert Path(str(where)).read_bytes() == content
    for source in (path, content):
        assert passed(images.open(source), is_far=True) == content
