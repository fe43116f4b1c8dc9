"""Which mappings can be dropped because their file has every byte of them."""

from __future__ import annotations

from pathlib import Path

from tonnage.host.pages import clean_mappings, drop_file_pages

SMAPS = b"""\
55d0c0a00000-55d0c0a10000 r--p 00000000 08:01 11 /usr/bin/python3.11
Size:                 64 kB
Rss:                  64 kB
Anonymous:             0 kB
VmFlags: rd mr mw me
55d0c0b00000-55d0c0c00000 r-xp 00010000 08:01 11 /usr/bin/python3.11
Anonymous:             0 kB
55d0c0d00000-55d0c0d10000 r--p 00110000 08:01 11 /usr/bin/python3.11
Anonymous:            12 kB
55d0c0e00000-55d0c0e10000 rw-p 00120000 08:01 11 /usr/bin/python3.11
Anonymous:             0 kB
55d0c0f00000-55d0c0f10000 r--s 00000000 08:01 12 /var/cache/shared
Anonymous:             0 kB
55d0c1000000-55d0c1010000 ---p 00000000 08:01 13 /usr/lib/libgap.so
Anonymous:             0 kB
7f0000000000-7f0000010000 r--p 00000000 08:01 14 /opt/a name with spaces.so
Anonymous:             0 kB
7f0000100000-7f0000200000 rw-p 00000000 00:00 0
Anonymous:             0 kB
7ffd00000000-7ffd00010000 r-xp 00000000 00:00 0                          [vdso]
Anonymous:             0 kB
""".splitlines()


def test_only_unchanged_private_read_only_file_pages_are_clean() -> None:
    """Not what can be written, was relocated, is shared, is guarded, or has no file."""
    assert list(clean_mappings(SMAPS)) == [
        (0x55D0C0A00000, 0x55D0C0A10000),
        (0x55D0C0B00000, 0x55D0C0C00000),
        (0x7F0000000000, 0x7F0000010000),
    ]


def test_nothing_is_clean_in_an_empty_list() -> None:
    """As of a process that is ending."""
    assert list(clean_mappings([])) == []


def test_where_mappings_are_not_shown_nothing_is_dropped(tmp_path: Path) -> None:
    """Without /proc, or where it is denied."""
    assert drop_file_pages(tmp_path) == 0


def test_this_process_goes_on_after_its_pages_were_dropped() -> None:
    """They are read back from the page cache when they are needed."""
    assert drop_file_pages() > 2**20
    assert sum(range(1000)) == 499_500
