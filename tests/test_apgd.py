"""APGD against a second implementation, written image by image from the paper's algorithm 1."""

import math

import pytest
import torch
from attack_case import predicted, random_images, small_net
from torch.nn import functional as F

from attacks import Ended, apgd, engine, pgd
from attacks.apgd import checkpoints
from attacks.gradients import frozen


def test_checkpoints_of_the_paper():
    # Section 3.2: p1 = 0.22, then each period is 0.03 shorter than the one before, at least 0.06.
    assert checkpoints(100) == [0, 22, 41, 57, 70, 80, 87, 93, 99]
    assert checkpoints(1) == [0, 1]
    assert checkpoints(5)[:3] == [0, 2, 3]


def reference(model, image, label, eps, steps, norm):
    """Maximise the cross-entropy for one image, ignoring success; returns the best point."""

    def project(x):
        shift = x - image
        if norm == "linf":
            return (image + shift.clamp(-eps, eps)).clamp(0, 1)
        return (image + shift * min(1.0, eps / max(float(shift.norm()), 1e-12))).clamp(0, 1)

    def value_and_direction(x):
        x = x.clone().requires_grad_()
        value = F.cross_entropy(model(x), label)
        (g,) = torch.autograd.grad(value, x)
        return value.item(), g.sign() if norm == "linf" else g / g.norm()

    wanted = checkpoints(steps)
    step = 2 * eps
    previous, x = image, image
    value, direction = value_and_direction(x)
    best, best_value, best_direction = x, value, direction
    x = project(previous + step * direction)
    rises, kept, best_at_checkpoint, last = 0, False, -math.inf, value
    for k in range(1, steps):
        value, direction = value_and_direction(x)
        rises += value > last
        last = value
        if value > best_value:
            best, best_value, best_direction = x, value, direction
        if k in wanted:
            period = k - wanted[wanted.index(k) - 1]
            if rises < 0.75 * period or (kept and best_value <= best_at_checkpoint):
                step /= 2
                kept, x, direction = False, best, best_direction
            else:
                kept = True
            best_at_checkpoint, rises = best_value, 0
        ahead = project(x + step * direction)
        x, previous = project(x + 0.75 * (ahead - x) + 0.25 * (x - previous)), x
    value, _ = value_and_direction(x)
    return best if value <= best_value else x


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.03), ("l2", 0.4)])
def test_apgd_follows_the_algorithm(norm, eps, monkeypatch):
    model, images = small_net(), random_images(6)
    labels = predicted(model, images)
    # With a goal that is never met, all images take all steps.
    monkeypatch.setattr(
        "attacks.objectives.Goal.met", lambda goal, logits, labels: torch.zeros_like(labels).bool()
    )
    monkeypatch.setattr("attacks.active_set.fast_path", lambda *_: None)
    with engine(batch_size=8):
        attacked = apgd(model, images, labels, eps=eps, steps=30, norm=norm, loss="ce")
    with frozen(model):
        for row in range(len(images)):
            one = reference(model, images[row : row + 1], labels[row : row + 1], eps, 30, norm)
            with torch.no_grad():
                ours = F.cross_entropy(model(attacked.images[row : row + 1]), labels[row : row + 1])
                theirs = F.cross_entropy(model(one), labels[row : row + 1])
            assert float(ours) == pytest.approx(float(theirs), rel=2e-2)


def test_apgd_reaches_at_least_what_plain_steps_reach():
    model, images = small_net(), random_images(40)
    labels = predicted(model, images)
    strong = apgd(model, images, labels, eps=4 / 255, steps=40, loss="ce")
    plain = pgd(model, images, labels, eps=4 / 255, steps=40)
    assert (strong.ended == int(Ended.REACHED)).sum() >= (plain.ended == int(Ended.REACHED)).sum()
