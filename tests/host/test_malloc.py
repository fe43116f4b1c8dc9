"""How the allocator is set before the start, and what it says of itself."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import pytest

from tonnage.host.malloc import Heap, allocator_environment, allocator_kind
from tonnage.units import MIB

needs_glibc = pytest.mark.skipif(
    not sys.platform.startswith("linux") or platform.libc_ver()[0] != "glibc",
    reason="only glibc's allocator can be set and asked",
)

BLAS = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
}


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (
            "huge",
            {
                "MALLOC_ARENA_MAX": "2",
                "MALLOC_MMAP_THRESHOLD_": "1048576",
                "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
            },
        ),
        (
            "mmap",
            {
                "MALLOC_ARENA_MAX": "2",
                "MALLOC_MMAP_THRESHOLD_": "131072",
                "MALLOC_TRIM_THRESHOLD_": "131072",
            },
        ),
        ("default", {"MALLOC_ARENA_MAX": "2"}),
    ],
)
def test_each_policy_has_its_variables(policy: str, expected: dict[str, str]) -> None:
    """And each keeps the BLAS libraries from starting a thread for every core."""
    assert allocator_environment(policy, {}) == expected | BLAS


def test_what_the_user_has_set_stays() -> None:
    """Only what is missing is added; nothing at all if all is there."""
    environ = {"MALLOC_ARENA_MAX": "8", "OMP_NUM_THREADS": "4"}

    added = allocator_environment("default", environ)

    assert set(added) == set(BLAS) - {"OMP_NUM_THREADS"}
    assert allocator_environment("default", environ | added) == {}


def test_auto_is_what_this_machine_can_do() -> None:
    """The same variables as for the kind that is named."""
    assert allocator_environment("auto", {}) == allocator_environment(allocator_kind(), {})


@needs_glibc
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("always [madvise] never\n", "huge"),
        ("[always] madvise never\n", "huge"),
        ("always madvise [never]\n", "mmap"),
        (None, "mmap"),
    ],
    ids=["madvise", "always", "never", "none"],
)
def test_huge_pages_are_used_where_there_are_any(
    tmp_path: Path, text: str | None, expected: str
) -> None:
    """As the kernel says."""
    if tuple(map(int, platform.libc_ver()[1].split(".")[:2])) < (2, 35):
        pytest.skip("glibc is older than 2.35")
    if text is not None:
        enabled = tmp_path / "sys/kernel/mm/transparent_hugepage/enabled"
        enabled.parent.mkdir(parents=True)
        enabled.write_text(text)

    assert allocator_kind(tmp_path) == expected


@needs_glibc
def test_what_was_freed_is_known_and_can_be_handed_back() -> None:
    """Small blocks below one that stays cannot be returned by themselves."""
    heap = Heap()
    # Sizes between what Python's own allocator takes and what glibc maps on its own.
    blocks = [bytearray(4000) for _ in range(4000)]
    del blocks[::2]
    kept = Heap().kept_bytes()
    assert kept > 4 * MIB

    heap.trim()

    assert heap.kept_bytes() < kept / 2
    assert len(blocks) == 2000
