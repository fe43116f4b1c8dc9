from __future__ import annotations

import os
import tempfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.web.path.uploads.forms import GIF, JPEG, PDF, archive, png

from tonnage.errors import ConfigError
from tonnage.web.path.uploads.disguises import disguise_at_end, disguise_at_start
from tonnage.web.path.uploads.filetypes import (
    AllowedTypes,
    ContentType,
    canonical,
    content_type,
    looks_like_text,
)

IMAGES = AllowedTypes(["image/jpeg", "image/png"])


@pytest.mark.parametrize(
    ("head", "declared", "expected"),
    [
        (JPEG, "image/jpeg", "image/jpeg"),
        (JPEG, "image/jpg", "image/jpeg"),
        (JPEG, None, "image/jpeg"),
        (JPEG, "application/octet-stream", "image/jpeg"),
        (png(), "image/png; charset=binary", "image/png"),
    ],
)
def test_what_is_taken(head: bytes, declared: str | None, expected: str) -> None:
    """A file of a type that is taken passes, under any name of that type or none."""
    found = IMAGES.find(head, declared)
    assert isinstance(found, ContentType)
    assert found.name == expected


@pytest.mark.parametrize(
    ("head", "declared", "why"),
    [
        (png(), "image/jpeg", "sent as image/jpeg"),
        (GIF, "image/gif", "its content is image/gif"),
        (PDF, "image/png", "its content is application/pdf"),
        (b"hello", "image/png", "no type that is taken"),
        (b"<html>", "image/png", "no type that is taken"),
        (b"\x89PNG", "image/png", "no type that is taken"),
        (b"", None, "its content is text/plain"),
    ],
)
def test_what_is_refused(head: bytes, declared: str | None, why: str) -> None:
    """A file is refused for its content, and for being other than it says."""
    found = IMAGES.find(head, declared)
    assert isinstance(found, str)
    assert why in found


def test_a_family_of_types() -> None:
    """``image/*`` takes any image."""
    images = AllowedTypes(["image/*"])
    assert isinstance(images.find(GIF, "image/gif"), ContentType)
    assert isinstance(images.find(PDF, "application/pdf"), str)


@pytest.mark.parametrize("wrong", ["image/svg+xml", "text/html", "image/jpgg", "imge/*", "*/*", ""])
def test_types_that_cannot_be_checked(wrong: str) -> None:
    """A type that no content shows is a mistake in the program, found at its start."""
    with pytest.raises(ConfigError, match="check it yourself"):
        AllowedTypes([wrong])


def test_text_is_believed_if_it_looks_like_text() -> None:
    """CSV has no magic number, so what was declared is taken; markup and control characters not."""
    types = AllowedTypes(["text/csv"])
    assert types.find(b"a,b\n1,2\n", "text/csv") == ContentType("text/csv", "csv")
    assert isinstance(types.find(b"a,b\n1,2\n", "application/json"), str)
    assert isinstance(types.find(b"a,\x00b\n", "text/csv"), str)
    assert isinstance(types.find(b" \n<!DOCTYPE html>", "text/csv"), str)
    assert isinstance(types.find(b"\xff\xfea", "text/csv"), str)
    assert looks_like_text("é".encode()[:1])


def test_names_of_types_are_folded() -> None:
    """One type has one name, and none where nothing was declared."""
    assert canonical("Image/JPG; q=1") == "image/jpeg"
    assert canonical("application/octet-stream") is None
    assert canonical(None) is None


@given(st.binary(max_size=600))
def test_any_content_is_looked_at_without_an_error(head: bytes) -> None:
    """Nothing that a client sends makes the look fail."""
    content_type(head)
    looks_like_text(head)


@given(
    st.sampled_from([JPEG, GIF, PDF, archive(), b"RIFF", b"\0\0\0\x18ftyp", b"PK\x03\x04"]),
    st.data(),
)
def test_broken_files_are_looked_at_without_an_error(whole: bytes, data: st.DataObject) -> None:
    """Nor does a file that is cut off, or broken behind its magic number."""
    cut = data.draw(st.integers(0, len(whole)))
    content_type(whole[:cut] + data.draw(st.binary(max_size=100)))


@pytest.mark.parametrize(
    ("head", "name", "other"),
    [
        (GIF[:6] + b"/*" + GIF[8:], "image/gif", "a script"),
        (JPEG[:4] + b"/*" + JPEG[6:], "image/jpeg", "a script"),
        (JPEG + b"%PDF-1.7", "image/jpeg", "a PDF"),
        (JPEG + b"<ScRiPt>alert(1)", "image/jpeg", "HTML or PHP"),
        (JPEG + b"<?php system($_GET[0]);", "image/jpeg", "HTML or PHP"),
        (png() + b"<svg onload=x>", "image/png", "HTML or PHP"),
        (png(), "image/png", None),
        (JPEG + b"<?xpacket begin='' ?><x:xmpmeta>", "image/jpeg", None),
        (PDF + b"<html>", "application/pdf", None),
    ],
)
def test_disguises_at_the_start(head: bytes, name: str, other: str | None) -> None:
    """An image that is a page, a script or a PDF as well is found; metadata is no reason."""
    assert disguise_at_start(head, name) == other


def test_a_zip_behind_an_image_is_found(tmp_path: Path) -> None:
    """Readers of archives begin at the end, so that is where it is looked for."""
    hidden = tmp_path / "both.gif"
    hidden.write_bytes(GIF + bytes(100_000) + archive() + b"behind")
    assert zipfile.is_zipfile(hidden)
    assert _at_end(hidden.read_bytes(), "image/gif") == "a zip archive"
    assert _at_end(archive(), "application/zip") is None


def test_four_bytes_that_happen_are_no_zip() -> None:
    """The mark of an archive's end alone, as chance makes it, is no archive."""
    assert _at_end(GIF + b"PK\x05\x06" + bytes(18), "image/gif") is None
    assert _at_end(GIF + b"PK\x05\x06" + b"\xff" * 18, "image/gif") is None
    assert _at_end(GIF + b"PK\x05\x06", "image/gif") is None


def _at_end(content: bytes, name: str) -> str | None:
    with tempfile.TemporaryFile() as file:
        os.write(file.fileno(), content)
        return disguise_at_end(file.fileno(), len(content), name)
