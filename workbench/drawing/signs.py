"""Signs that say what colours say, for eyes that do not tell these apart; around the origin."""

from workbench.drawing.looks import COLOURS
from workbench.drawing.marks import Area, Mark, Stroke

RIGHT, INSIDE, WRONG = COLOURS[2], COLOURS[5], COLOURS[1]
WIDTH = 1.4  # points


def tick() -> tuple[Mark, ...]:
    """What is right."""
    return (Stroke(((-2.8, 0.2), (-0.8, 2.3), (2.8, -2.5)), RIGHT, WIDTH),)


def triangle() -> tuple[Mark, ...]:
    """What is wrong, but near."""
    return (Area(((-2.9, 2.2), (0, -2.6), (2.9, 2.2)), INSIDE),)


def cross() -> tuple[Mark, ...]:
    """What is wrong."""
    return (
        Stroke(((-2.3, -2.3), (2.3, 2.3)), WRONG, WIDTH),
        Stroke(((-2.3, 2.3), (2.3, -2.3)), WRONG, WIDTH),
    )
