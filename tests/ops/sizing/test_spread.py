"""Quantiles of a size over time are bounds: a little too high, never too low."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tonnage.ops.sizing.spread import Spread
from tonnage.units import MIB


@given(
    sizes=st.lists(st.integers(0, 2**44), min_size=1, max_size=200), share=st.floats(0.01, 0.999)
)
def test_a_quantile_is_at_least_the_true_one_and_hardly_more(
    sizes: list[int], share: float
) -> None:
    """For that share of the seconds the size was no more; above 1 TB it is told as the peak is."""
    spread = Spread()
    for size in sizes:
        spread.add(size, 1.0)
    told = spread.quantile_bytes(share)
    # A float of 32 bits may miss the border between two seconds.
    within = sum(size <= told for size in sizes)

    assert within >= share * len(sizes) - 0.001
    true = sorted(sizes)[min(len(sizes) - 1, int(share * len(sizes) + 0.001))]
    assert told <= max(MIB, true * 1.023) or true > 2**40
    assert told <= spread.peak_bytes == max(sizes)


def test_nothing_was_added() -> None:
    """An empty one has no size."""
    assert Spread().quantile_bytes(0.99) == 0


def test_a_second_in_a_hundred_and_more_does_not_count_for_p99() -> None:
    """One of 200 seconds at 400 MB is a peak, and no p99."""
    spread = Spread()
    spread.add(100 * MIB, 199)
    spread.add(400 * MIB, 1)
    assert 100 * MIB <= spread.quantile_bytes(0.99) <= 102.3 * MIB
    assert spread.peak_bytes == 400 * MIB
