from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tonnage.web.path.uploads.filenames import LONGEST_BYTES, safe_name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("photo.jpg", "photo.jpg"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("C:\\Users\\me\\a.txt", "a.txt"),
        ("C:evil.exe", "C_evil.exe"),
        ("..", "upload"),
        ("", "upload"),
        (".htaccess", "upload.htaccess"),
        ("-rf", "rf"),
        ("a\x00.png", "upload.png"),
        ("a\r\nb\x1b[31m.txt", "ab_31m.txt"),
        ("NUL", "file_NUL"),
        ("com1.txt", "file_com1.txt"),
        ("my photo (1).JPG", "my_photo_1.jpg"),
        ("cafe\u0301.txt", "caf\u00e9.txt"),
        ("写真.png", "写真.png"),
        ("हिंदी.png", "हिंदी.png"),
        ("photo\u202egnp.exe", "photognp.exe"),
        ("a.b.c.txt", "a_b_c.txt"),
        ("x.thisisnoextension", "x_thisisnoextension"),
        ("\ud800.txt", "upload.txt"),
    ],
)
def test_names_are_made_safe(name: str, expected: str) -> None:
    """What could leave the folder, hide, or mean something to a shell or Windows is gone."""
    assert safe_name(name) == expected


@pytest.mark.parametrize(
    ("name", "extension", "expected"),
    [
        ("shell.php", "jpg", "shell_php.jpg"),
        ("shell.php.jpg", "jpg", "shell_php.jpg"),
        ("photo.JPEG", "jpg", "photo.jpeg"),
        ("photo", "png", "photo.png"),
        ("", "pdf", "upload.pdf"),
        (".png", "png", "upload.png"),
    ],
)
def test_the_extension_is_one_of_the_content(name: str, extension: str, expected: str) -> None:
    """A name ends in what the content is, whatever the client wrote."""
    assert safe_name(name, extension) == expected


def test_long_names_are_cut_between_characters() -> None:
    """A name has at most its bound in bytes, and keeps its extension."""
    name = safe_name("写" * 500 + ".png")
    assert len(name.encode()) <= LONGEST_BYTES
    assert name.endswith("写.png")


@given(st.text(), st.sampled_from([None, "jpg", "txt"]))
def test_every_name_is_one_plain_component(name: str, extension: str | None) -> None:
    """Whatever is sent, the result can stand in a folder."""
    safe = safe_name(name, extension)
    assert 0 < len(safe.encode()) <= LONGEST_BYTES
    assert safe[0] not in ".-"
    assert not set(safe) & set('/\\:\0<>"|?* ')
    assert safe.count(".") <= 1
    assert not any(unicodedata.category(character)[0] == "C" for character in safe)
    assert extension is None or safe.rpartition(".")[2] in (extension, "jpeg", "jpe", "jfif", "log")
