from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.web.path.uploads.forms import (
    FORM_TYPE,
    GIF,
    JPEG,
    Request,
    archive,
    field_part,
    file_part,
    form,
    part,
    pieces,
    png,
    raw,
    sent,
)

from tonnage.errors import ConfigError
from tonnage.units import KIB, MIB
from tonnage.web.path.uploads import (
    Files,
    UploadCutError,
    UploadDiskError,
    UploadedFile,
    UploadError,
    UploadMalformedError,
    UploadMissingError,
    Uploads,
    UploadTooLargeError,
    UploadTooSlowError,
    UploadTypeError,
    incoming,
)


@pytest.fixture
def uploads(tmp_path: Path) -> Uploads:
    """Images of up to 1 MB."""
    return Uploads(max_bytes="1M", types=["image/*"], directory=tmp_path)


@pytest.mark.parametrize("piece_bytes", [7, 100, 2**20])
async def test_files_and_fields_of_a_form(uploads: Uploads, piece_bytes: int) -> None:
    """However the body is cut, the files and fields are those that were sent."""
    request = sent(
        field_part("title", "Käse".encode()),
        file_part("photo", "my photo.png", png(5000)),
        field_part("title", b"again"),
        file_part("photo", "b.jpg", JPEG, "image/jpeg"),
        piece_bytes=piece_bytes,
    )
    async with uploads.receive(request) as files:
        assert files.fields == {"title": ["Käse", "again"]}
        assert files.field("title") == "Käse"
        assert [each.name for each in files] == ["my_photo.png", "b.jpg"]
        assert "photo" in files
        photo = files["photo"]
        assert (photo.type, photo.size_bytes) == ("image/png", 5000)
        assert (photo.declared_name, photo.declared_type) == ("my photo.png", "image/png")
        with photo.open() as file:
            assert file.read() == png(5000)
        assert files.all("photo")[1].path.read_bytes() == JPEG


async def test_a_file_as_the_body(uploads: Uploads) -> None:
    """A body that is no form is one file."""
    request = raw(png(70_000), piece_bytes=1000)
    request.headers.append((b"content-disposition", b'attachment; filename="../a.php"'))
    async with uploads.receive(request.scope, request.receive) as files:
        assert files.only.path.read_bytes() == png(70_000)
        assert files.only.name == "a_php.png"


async def test_another_process_can_open_it(uploads: Uploads) -> None:
    """A file has a path that a program which is started for it can read."""
    async with uploads.receive(sent(file_part("photo", "a.png", png()))) as files:
        assert await asyncio.to_thread(_cat, files["photo"].path) == png()


async def test_nothing_is_left(uploads: Uploads, tmp_path: Path) -> None:
    """A file that was not moved is gone when the block ends, and never had a name."""
    before = _descriptors()
    async with uploads.receive(sent(file_part("photo", "a.png", png()))) as files:
        assert os.listdir(tmp_path) == []
    with pytest.raises(ValueError, match="inside the block"):
        files["photo"].path  # noqa: B018  # reading it is the test
    assert _descriptors() == before


async def test_a_moved_file_stays(uploads: Uploads, tmp_path: Path) -> None:
    """``move_to`` keeps the file under its safe name, and never over another."""
    folder = tmp_path / "kept"
    folder.mkdir()
    paths = []
    for content in (png(300), png(400)):
        async with uploads.receive(sent(file_part("photo", "../a.png", content))) as files:
            paths.append(files["photo"].move_to(folder))
    assert paths[0] == folder / "a.png"
    assert paths[0].read_bytes() == png(300)
    assert paths[1].name.startswith("a-")
    assert paths[1].read_bytes() == png(400)
    assert paths[0].stat().st_mode & 0o777 == 0o644
    assert sorted(os.listdir(folder)) == sorted(path.name for path in paths)
    assert os.listdir(tmp_path) == ["kept"]


async def test_moving_to_a_name(uploads: Uploads, tmp_path: Path) -> None:
    """A name that was asked for is taken as it is: taken over only if that is said."""
    (tmp_path / "me.png").write_bytes(b"old")
    async with uploads.receive(sent(file_part("photo", "a.png", png()))) as files:
        photo = files["photo"]
        with pytest.raises(FileExistsError):
            photo.move_to(tmp_path, "me.png")
        for wrong in ("../x", "..", "", "a\0b"):
            with pytest.raises(ValueError, match="no name"):
                photo.move_to(tmp_path, wrong)
        assert photo.move_to(tmp_path, "me.png", overwrite=True).read_bytes() == png()
    assert os.listdir(tmp_path) == ["me.png"]


async def test_a_name_that_cannot_be_taken_leaves_nothing(uploads: Uploads, tmp_path: Path) -> None:
    """A directory keeps its place, and nothing hidden is left beside it."""
    (tmp_path / "me.png").mkdir()
    async with uploads.receive(sent(file_part("photo", "a.png", png()))) as files:
        with pytest.raises(IsADirectoryError):
            files["photo"].move_to(tmp_path, "me.png", overwrite=True)
    assert os.listdir(tmp_path) == ["me.png"]


@pytest.mark.skipif(not os.path.ismount("/dev/shm"), reason="needs a second file system")
async def test_moving_to_another_file_system(tmp_path: Path, uploads: Uploads) -> None:
    """Where a link is not possible the file is copied, and appears whole or not at all."""
    elsewhere = Path("/dev/shm") / f"tonnage-{tmp_path.name}-{os.getpid()}"
    elsewhere.mkdir()
    try:
        async with uploads.receive(sent(file_part("photo", "a.png", png(5000)))) as files:
            path = files["photo"].move_to(elsewhere)
        assert path.read_bytes() == png(5000)
        assert list(elsewhere.iterdir()) == [path]
    finally:
        for left in elsewhere.iterdir():
            left.unlink()
        elsewhere.rmdir()


@pytest.mark.parametrize(
    ("request_", "expected", "status"),
    [
        (sent(file_part("a", "a.png", JPEG)), UploadTypeError, 415),
        (sent(file_part("a", "a.png", b"\n\n" + png())), UploadTypeError, 415),
        (sent(file_part("a", "a.gif", GIF + archive(), "image/gif")), UploadTypeError, 415),
        (sent(file_part("a", "a.html", b"<html>", "text/html")), UploadTypeError, 415),
        (raw(png(), "text/html"), UploadTypeError, 415),
        (raw(png(), "multipart/mixed; boundary=x"), UploadTypeError, 415),
        (sent(file_part("a", "a.png", b"")), UploadMalformedError, 400),
        (raw(png(2**20 + 1)), UploadTooLargeError, 413),
        (sent(file_part("a", "a", png(2**20 + 1))), UploadTooLargeError, 413),
        (sent(*[file_part("a", "a.png", png())] * 9), UploadTooLargeError, 413),
        (sent(field_part("a", bytes(65 * KIB))), UploadTooLargeError, 413),
        (sent(*[field_part("a", b"")] * 101), UploadTooLargeError, 413),
        (sent(*[file_part("a", "", b"")] * 109), UploadTooLargeError, 413),
        (sent(field_part("a", b"\xff")), UploadMalformedError, 400),
        (sent(file_part("a", "a.png", png()) + b"junk"), UploadMalformedError, 400),
        (sent(part(b"Content-Disposition: form-data", b"")), UploadMalformedError, 400),
        (sent(part(b"Content-Disposition: file; name=a", b"")), UploadMalformedError, 400),
        (sent(part(b"\r\n".join([b"A: b"] * 2), b"")), UploadMalformedError, 400),
        (sent(part(b"\r\n".join(b"A%d: b" % n for n in range(9)), b"")), UploadMalformedError, 400),
        (sent(part(b"A: " + bytes(5000), b"")), UploadMalformedError, 400),
        (
            sent(
                part(
                    b'Content-Disposition: form-data; name="a"; filename="a"\r\n'
                    b"Content-Transfer-Encoding: base64",
                    png(),
                )
            ),
            UploadMalformedError,
            400,
        ),
    ],
)
async def test_what_is_refused(
    uploads: Uploads, request_: Request, expected: type[UploadError], status: int
) -> None:
    """What is too large, of another type, or no form is refused with an answer, and let go."""
    before = _descriptors()
    with pytest.raises(expected) as caught:
        await _receive(uploads, request_)
    assert type(caught.value) is expected
    assert caught.value.problem.status == status
    assert caught.value.problem.detail == str(caught.value)
    assert _descriptors() == before
    assert uploads.statistics().refused == 1
    assert uploads.statistics().receiving == 0


async def test_a_long_body_is_refused_unread(uploads: Uploads) -> None:
    """A body that is too long by its own words, or wrong by its headers, is not read at all."""
    long = sent(file_part("a", "a.png", png(2 * MIB)))
    encoded = raw(png())
    encoded.headers.append((b"content-encoding", b"gzip"))
    senseless = Request([png()], [(b"content-length", b"-1")])
    twice = Request([png()], [(b"content-length", b"1"), (b"content-length", b"2")])
    boundless = Request([form()], [(b"content-type", b"multipart/form-data")])
    for request in (long, encoded, senseless, twice, boundless, raw(png(), "text/html")):
        with pytest.raises(UploadError):
            await _receive(uploads, request)
        assert request.asked == 0


async def test_a_body_without_length_is_counted(uploads: Uploads) -> None:
    """Without a length, or with a wrong one, no more is read than is allowed."""
    endless = Request([png(64 * KIB)] * 1000, [(b"content-type", b"image/png")])
    with pytest.raises(UploadTooLargeError):
        await _receive(uploads, endless)
    assert endless.asked <= MIB // (64 * KIB) + 1


async def test_the_type_is_judged_early(uploads: Uploads) -> None:
    """A file of the wrong type is refused once its beginning is there, not at its end."""
    request = sent(file_part("a", "a.png", bytes(MIB)), piece_bytes=64 * KIB)
    with pytest.raises(UploadTypeError):
        await _receive(uploads, request)
    assert request.asked == 1


async def test_a_client_that_goes_away(uploads: Uploads) -> None:
    """A body that is cut short is an error, whether the server says so or not."""
    whole = form(file_part("a", "a.png", png(9000)))
    gone = Request([whole[:5000]], [(b"content-type", FORM_TYPE)], ends=False)
    short = Request([whole[:5000]], [(b"content-type", FORM_TYPE)])
    lying = Request([png()], [(b"content-type", b"image/png"), (b"content-length", b"301")])
    before = _descriptors()
    for request, error in (
        (gone, UploadCutError),
        (short, UploadMalformedError),
        (lying, UploadCutError),
    ):
        with pytest.raises(error):
            await _receive(uploads, request)
    assert _descriptors() == before


async def test_without_memory_to_judge_a_file_it_is_gone(
    uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And so is its descriptor: nobody has been given the file."""

    def fails(*_: object) -> None:
        raise MemoryError

    before = _descriptors()
    monkeypatch.setattr(incoming, "disguise_at_end", fails)
    with pytest.raises(MemoryError):
        await _receive(uploads, sent(file_part("a", "a.png", png())))
    assert _descriptors() == before


async def test_a_servers_own_time_out_passes(uploads: Uploads) -> None:
    """Only a body that was too slow for us is answered with 408; the file is gone all the same."""
    before = _descriptors()

    def fail(asked: int) -> None:
        if asked == 1:
            raise TimeoutError("the server's")

    request = Request(
        pieces(png(300 * KIB), 100 * KIB), [(b"content-type", b"image/png")], before_each=fail
    )
    with pytest.raises(TimeoutError, match="the server's"):
        await _receive(uploads, request)
    assert _descriptors() == before
    assert uploads.statistics().receiving == 0


async def test_a_file_that_may_not_last_is_no_success(uploads: Uploads, tmp_path: Path) -> None:
    """The block ends with an error where what was moved cannot be seen onto the disk."""
    folder = tmp_path / "kept"
    folder.mkdir()
    before = _descriptors()

    async def keep() -> None:
        async with uploads.receive(sent(file_part("a", "a.png", png()))) as files:
            files["a"].move_to(folder)
            shutil.rmtree(folder)

    with pytest.raises(UploadDiskError) as caught:
        await keep()
    assert caught.value.problem.status == 507
    assert _descriptors() == before
    assert uploads.statistics().receiving == 0


async def test_the_applications_error_passes(uploads: Uploads) -> None:
    """After an error in the block the file is gone and the turn is free."""
    before = _descriptors()
    with pytest.raises(ZeroDivisionError):
        async with uploads.receive(sent(file_part("a", "a.png", png()))):
            raise ZeroDivisionError
    assert _descriptors() == before
    assert uploads.statistics().receiving == 0


async def test_a_cancelled_request_leaves_nothing(uploads: Uploads) -> None:
    """A request that is cancelled while its body comes in lets go of file and turn."""
    before = _descriptors()
    stalled = asyncio.Event()

    async def stall(asked: int) -> None:
        if asked == 2:
            stalled.set()
            await asyncio.Event().wait()

    request = Request(
        pieces(png(300 * KIB), 100 * KIB), [(b"content-type", b"image/png")], before_each=stall
    )
    task = asyncio.create_task(_receive(uploads, request))
    await stalled.wait()
    assert _descriptors() > before
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert _descriptors() == before
    assert uploads.statistics().receiving == 0


async def test_a_slow_body_is_cut(tmp_path: Path) -> None:
    """A body that does not come within its time is refused, and its turn is free."""
    uploads = Uploads(directory=tmp_path, within="10ms")

    async def stall(asked: int) -> None:
        await asyncio.Event().wait()

    request = Request([png()], [(b"content-type", b"image/png")], before_each=stall)
    with pytest.raises(UploadTooSlowError) as caught:
        await _receive(uploads, request)
    assert caught.value.problem.status == 408
    assert uploads.statistics().receiving == 0


async def test_the_body_is_read_as_fast_as_it_is_written(uploads: Uploads) -> None:
    """The next piece is asked for when the one before it is on its way to the disk."""
    sizes: list[int] = []
    request = raw(png(640 * KIB), piece_bytes=64 * KIB)
    request.before_each = lambda asked: sizes.append(_largest_nameless_bytes())
    async with uploads.receive(request):
        pass
    assert sizes[1:] == [64 * KIB * number for number in range(1, 10)]


async def test_missing_parts_are_answered(uploads: Uploads) -> None:
    """A file or field that the form does not have is the client's mistake: 400, not 500."""
    async with uploads.receive(sent(field_part("a", b"b"))) as files:
        for ask in (
            lambda: files["photo"],
            lambda: files.only,
            lambda: files.field("b"),
        ):
            with pytest.raises(UploadMissingError) as caught:
                ask()
            assert isinstance(caught.value, KeyError)
            assert caught.value.problem.status == 400
            assert not str(caught.value).startswith("'")
        assert files.get("photo") is None


async def test_a_file_field_that_was_left_empty(uploads: Uploads) -> None:
    """What a browser sends where nobody has chosen a file is no file."""
    chosen_none = file_part("photo", "", b"", "application/octet-stream")
    for request in (sent(chosen_none), raw(b"")):
        async with uploads.receive(request) as files:
            assert len(files) == 0


async def test_without_types_anything_is_taken(tmp_path: Path) -> None:
    """Without types the content is named as far as it is known, and nothing is refused."""
    uploads = Uploads(directory=tmp_path)
    request = sent(
        file_part("a", "a.txt", GIF + archive(), "text/plain"),
        file_part("b", "b.svg", b"<svg/>", "image/svg+xml"),
        file_part("c", "c", b"\x00\x01", None),
    )
    async with uploads.receive(request) as files:
        found = [(each.name, each.type) for each in files]
    assert found == [
        ("a_txt.gif", "image/gif"),
        ("b.svg", "image/svg+xml"),
        ("c", "application/octet-stream"),
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"concurrent": 0},
        {"max_files": 0},
        {"waiting": -1},
        {"max_fields": -1},
        {"max_bytes": "much"},
        {"wait": "soon"},
        {"types": ["image/jpgg"]},
        {"directory": "/nowhere/at/all"},
    ],
)
def test_senseless_options(wrong: Mapping[str, Any]) -> None:
    """What makes no sense is found when the program starts."""
    with pytest.raises(ConfigError, match=str(*wrong.values())):
        Uploads(**wrong)


@pytest.mark.skipif(not os.path.ismount("/dev/shm"), reason="needs a file system in memory")
def test_uploads_in_memory_are_told_with_what_they_may_take(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Who has said that it is meant learns what it costs each worker."""
    Uploads(directory="/dev/shm", in_memory=True, max_bytes="2M", concurrent=3)
    assert caplog.messages == [
        "uploads are kept in memory, in /dev/shm: up to 6 MB for each worker"
    ]


async def test_what_is_no_request() -> None:
    """Something without scope and receive is the programmer's mistake."""
    with pytest.raises(TypeError, match=r"uploads\.receive\(scope, receive\)"):
        async with Uploads().receive({"type": "http"}):
            pass


def test_counts(tmp_path: Path) -> None:
    """``statistics`` says what came in."""
    uploads = Uploads(directory=tmp_path)
    asyncio.run(_receive(uploads, raw(png(1000))))
    found = uploads.statistics()
    assert (found.received_files, found.received_bytes, found.refused) == (1, 1000, 0)
    assert (found.receiving, found.waiting) == (0, 0)


async def _receive(uploads: Uploads, request: Request) -> Sequence[UploadedFile]:
    files: Files
    async with uploads.receive(request) as files:
        return list(files)


def _cat(path: Path) -> bytes:
    return subprocess.run(["cat", path], capture_output=True, check=True).stdout


def _descriptors() -> int:
    """Return how many nameless files this process has open."""
    return len(_nameless())


def _largest_nameless_bytes() -> int:
    return max((os.stat(path).st_size for path in _nameless()), default=0)


def _nameless() -> list[str]:
    own = f"/proc/{os.getpid()}/fd"
    found = []
    for number in os.listdir(own):
        path = f"{own}/{number}"
        try:
            if os.readlink(path).endswith("(deleted)") and "/pytest-" in os.readlink(path):
                found.append(path)
        except FileNotFoundError:
            continue  # the listing's own
    return found
