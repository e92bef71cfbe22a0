"""Student's t distribution for any degrees of freedom, whole or not."""

import math

_SMALLEST = 1e-300  # stands for a zero denominator in the continued fraction
_CLOSE = 1e-15
_MOST_TERMS = 10_000


def two_sided(t: float, freedom: float) -> float:
    """The probability of a t at least this far from 0, to either side.

    It is the regularised incomplete beta function I_x(freedom/2, 1/2) at
    x = freedom / (freedom + t²), or 1 - I_{1-x}(1/2, freedom/2), which keeps small t apart from 0.
    Source: Abramowitz & Stegun 1964, 26.7.1 and 26.5.2.

    >>> round(two_sided(2.776, 4), 4)
    0.05
    """
    if math.isinf(t):
        return 0.0
    square = t * t
    if square < freedom:
        return 1 - incomplete_beta(square / (freedom + square), 0.5, freedom / 2)
    return incomplete_beta(freedom / (freedom + square), freedom / 2, 0.5)


def student95(freedom: float) -> float:
    """The t that the distribution stays within, to both sides, with probability 0.95.

    Solved by bisection for the angle whose tangent is t / sqrt(freedom).

    >>> round(student95(4), 3)
    2.776
    """
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        inside = 1 - two_sided(math.sqrt(freedom) * math.tan(middle), freedom)
        low, high = (middle, high) if inside < 0.95 else (low, middle)
    return math.sqrt(freedom) * math.tan(low)


def incomplete_beta(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b), for a and b above 0 and x in [0, 1].

    Source: the continued fraction DLMF 8.17.22, evaluated by the modified method of Lentz
    (Thompson & Barnett, J. Comput. Phys. 64, 1986). It converges fast below x = (a + 1) /
    (a + b + 2); above, I_x(a, b) = 1 - I_{1-x}(b, a).
    """
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - incomplete_beta(1 - x, b, a)
    value, c, d = 1.0, 1.0, 0.0
    for n in range(1, _MOST_TERMS):
        m = n // 2
        part = -(a + m) * (a + b + m) if n % 2 else m * (b - m)
        term = part * x / ((a + n - 1) * (a + n))
        d = 1 / (1 + term * d or _SMALLEST)
        c = 1 + term / c or _SMALLEST
        value *= c * d
        if abs(c * d - 1) < _CLOSE:
            break
    front = a * math.log(x) + b * math.log1p(-x) - math.log(a)
    front += math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    return math.exp(front) / value
