"""How the allocator is set before the start, and what it says of itself."""

from __future__ import annotations

import platform
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tonnage.host import malloc
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


class Counter:
    """glibc's count of free bytes, which takes a while, on a clock of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_seconds = 100.0
        self.cost_seconds = 0.0001
        self.counted_seconds = 0.0
        self.fordblks = 0
        clock = SimpleNamespace(perf_counter=lambda: self.now_seconds)
        monkeypatch.setattr(malloc, "time", clock)
        self.heap = Heap()
        self.heap._info = self.count

    def count(self) -> Counter:
        """Count."""
        self.now_seconds += self.cost_seconds
        self.counted_seconds += self.cost_seconds
        return self


def test_after_each_step_that_lasts_what_is_free_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where the heap has many holes, and though one count was held up by other processes."""
    counter = Counter(monkeypatch)
    for step in range(100):
        counter.now_seconds += 0.02
        counter.fordblks = step
        counter.cost_seconds = 0.008 if step == 50 else 0.0001
        assert counter.heap.free_bytes() == step


def test_counting_takes_little_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it is asked, and whatever one count takes."""
    for cost_seconds in (0.000001, 0.0001, 0.0015, 0.1):
        counter = Counter(monkeypatch)
        counter.cost_seconds = cost_seconds
        begun = counter.now_seconds
        for _ in range(200_000):
            counter.now_seconds += 0.00005
            counter.heap.free_bytes()
        seconds = counter.now_seconds - begun
        assert counter.counted_seconds <= 0.0201 * seconds + 0.002 + 2 * cost_seconds


def test_where_much_is_freed_the_next_answers_are_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Although counting has just taken long."""
    counter = Counter(monkeypatch)
    counter.cost_seconds = 0.1
    counter.fordblks = 5
    assert counter.heap.free_bytes() == 5
    counter.fordblks = 7
    assert counter.heap.free_bytes() == 5
    counter.heap.distrust()
    assert counter.heap.free_bytes() == 7


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
    assert heap.free_bytes() >= kept / 2
    assert len(blocks) == 2000
