"""Student's distribution for any freedom, against tables, closed forms and integration."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.student import incomplete_beta, student95, two_sided


@pytest.mark.parametrize(
    ("freedom", "t"),
    # Any table of Student's t at 0.975.
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (9, 2.262), (30, 2.042), (120, 1.980)],
)
def test_the_published_quantiles(freedom: int, t: float) -> None:
    assert student95(freedom) == pytest.approx(t, abs=6e-4)
    assert two_sided(t, freedom) == pytest.approx(0.05, abs=1e-4)


@given(st.floats(0, 1e6))
def test_with_one_degree_it_is_cauchys(t: float) -> None:
    assert two_sided(t, 1) == pytest.approx(1 - 2 / math.pi * math.atan(t), abs=1e-12)


@given(st.floats(0, 1e4))
def test_with_two_degrees_it_is_algebraic(t: float) -> None:
    assert two_sided(t, 2) == pytest.approx(1 - t / math.sqrt(2 + t * t), abs=1e-12)


@pytest.mark.parametrize("freedom", [0.7, 1.5, 2.94, 7.3, 41.9])
@pytest.mark.parametrize("t", [0.1, 1.0, 2.5])
def test_any_degrees_agree_with_integration(freedom: float, t: float) -> None:
    x = np.linspace(0, t, 20_001)
    log = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)
    density = math.exp(log) / math.sqrt(freedom * math.pi)
    inside = np.trapezoid(density * (1 + x * x / freedom) ** (-(freedom + 1) / 2), x)
    assert two_sided(t, freedom) == pytest.approx(1 - 2 * inside, abs=1e-8)


def test_nothing_is_as_far_out_as_infinity() -> None:
    assert two_sided(math.inf, 3) == 0
    assert two_sided(0, 3) == 1


@given(st.integers(1, 40), st.integers(1, 40), st.floats(0, 1))
def test_the_beta_function_is_a_binomial_tail(a: int, b: int, x: float) -> None:
    """I_x(a, b) is the probability of a or more of a + b - 1 (DLMF 8.17.5)."""
    n = a + b - 1
    tail = sum(math.comb(n, k) * x**k * (1 - x) ** (n - k) for k in range(a, n + 1))
    assert incomplete_beta(x, a, b) == pytest.approx(tail, abs=1e-10)
