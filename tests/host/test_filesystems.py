"""On which file system a directory lies, and whether that is memory."""

from __future__ import annotations

from pathlib import Path

from tonnage.host.filesystems import in_memory_as


def mounts(tmp_path: Path, *lines: tuple[str, str] | tuple[str, str, str]) -> Path:
    """Return a list of mounts: points, file systems and their options."""
    file = tmp_path / "mountinfo"
    file.write_text(
        "".join(
            f"{number} 1 8:1 / {point} rw,relatime shared:1 - {kind} source {''.join(options)}rw\n"
            for number, (point, kind, *options) in enumerate(lines)
        )
    )
    return file


def test_the_innermost_mount_counts(tmp_path: Path) -> None:
    """A directory is on the mount that is nearest above it, and on the last of two at one point."""
    table = mounts(
        tmp_path,
        ("/", "ext4"),
        ("/a", "tmpfs"),
        ("/a/b", "tmpfs"),
        ("/a/b", "xfs"),
        ("/ab", "ramfs"),
    )
    assert in_memory_as(Path("/a/x"), table) == "tmpfs"
    assert in_memory_as(Path("/a/b/c"), table) is None
    assert in_memory_as(Path("/ab/c"), table) == "ramfs"
    assert in_memory_as(Path("/abc"), table) is None


def test_names_with_spaces_are_found(tmp_path: Path) -> None:
    """The kernel writes a space as ``\\040``."""
    (tmp_path / "my disk").mkdir()
    table = mounts(tmp_path, ("/", "ext4"), (f"{tmp_path}/my\\040disk", "tmpfs"))
    assert in_memory_as(tmp_path / "my disk", table) == "tmpfs"


def test_an_overlay_lies_where_its_upper_directory_does(tmp_path: Path) -> None:
    """As far as that can be seen from here."""
    (tmp_path / "upper").mkdir()
    overlay = ("/", "overlay", f"rw,lowerdir=/low,upperdir={tmp_path}/upper,workdir=/work,")
    in_memory = mounts(tmp_path, overlay, (str(tmp_path), "tmpfs"))
    assert in_memory_as(Path("/srv"), in_memory) == "overlay on tmpfs"
    on_disk = mounts(tmp_path, overlay, (str(tmp_path), "ext4"))
    assert in_memory_as(Path("/srv"), on_disk) is None
    elsewhere = ("/", "overlay", "rw,upperdir=/not/to/be/seen/here,")
    assert in_memory_as(Path("/srv"), mounts(tmp_path, elsewhere)) is None


def test_lines_that_are_none_are_passed_over(tmp_path: Path) -> None:
    """As the last one, where the list was read while a mount came."""
    table = mounts(tmp_path, ("/", "ext4"), (str(tmp_path), "tmpfs"))
    with table.open("a") as file:
        file.write("\n99 1 8:1 / / rw,relatime shared:1\n")
    assert in_memory_as(tmp_path, table) == "tmpfs"


def test_without_proc_nothing_is_known(tmp_path: Path) -> None:
    """Where the mounts cannot be read, nothing is known."""
    assert in_memory_as(tmp_path, tmp_path / "none") is None
