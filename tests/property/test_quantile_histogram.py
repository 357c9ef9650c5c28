"""A histogram of times is tested as all of its times are, at the cost of its buckets."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ra_guard.stats.errors import OutOfOrder, OutOfRange, WrongShape
from ra_guard.stats.outcome import Alternative
from ra_guard.stats.quantile_tests import difference, equality_p_value, sample, sample_of_histogram

histograms = st.dictionaries(st.integers(0, 400).map(float), st.integers(0, 40), max_size=12)
effects = st.sampled_from([1.0, 1.5, 4.0])


@given(
    histograms,
    histograms,
    effects,
    st.sampled_from([0.5, 0.95]),
    st.sampled_from(Alternative),
    st.integers(-100, 100).map(float),
)
def test_a_histogram_is_its_values_each_as_often_as_counted(
    one: dict[float, int],
    other: dict[float, int],
    effect: float,
    quantile: float,
    alternative: Alternative,
    null: float,
) -> None:
    counted, expanded = [], []
    for histogram in (one, other):
        values = np.array(sorted(histogram), dtype=np.float64)
        counts = np.array([histogram[value] for value in sorted(histogram)], dtype=np.int64)
        counted.append(sample_of_histogram(values, counts, design_effect=effect))
        expanded.append(sample(np.repeat(values, counts), design_effect=effect))
    assert difference(*counted, quantile=quantile, requests_opt=100, alternative=alternative, null=null) == difference(
        *expanded, quantile=quantile, requests_opt=100, alternative=alternative, null=null
    )
    assert equality_p_value(*counted, quantile=quantile, requests_opt=100, shift=null) == equality_p_value(
        *expanded, quantile=quantile, requests_opt=100, shift=null
    )


def test_what_is_no_histogram_is_refused() -> None:
    with pytest.raises(OutOfOrder):
        sample_of_histogram([1.0, 1.0], [1, 1])
    with pytest.raises(OutOfRange):
        sample_of_histogram([1.0, 2.0], [1, -1])
    with pytest.raises(WrongShape):
        sample_of_histogram([1.0, 2.0], [1])
    with pytest.raises(OutOfRange):
        sample_of_histogram([1.0], [1], design_effect=0.5)
