"""What a model answers to an image: rank, loss and Brier score, against other ways to them."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import columns
from benchmarks.answers import answers


@given(st.integers(0, 10**6), st.integers(1, 30), st.integers(1, 12))
def test_answers_agree_with_their_definitions(seed, count, classes):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randint(-4, 5, (count, classes), generator=generator).float()  # with ties
    labels = torch.randint(0, classes, (count,), generator=generator)
    found = answers(logits, labels)
    assert set(found) == set(columns.ANSWER)
    ranked = np.argsort(-logits.numpy(), axis=1, kind="stable")
    expected = [row.tolist().index(label) for row, label in zip(ranked, labels, strict=True)]
    assert found["rank"].tolist() == expected
    assert ((found["rank"] == 0) == (found["prediction"] == labels)).all()
    np.testing.assert_allclose(
        found["loss"],
        torch.nn.functional.cross_entropy(logits, labels, reduction="none"),
        1e-4,
        1e-6,
    )
    certain = torch.nn.functional.one_hot(labels, classes)
    distance = (torch.softmax(logits, 1) - certain).square().sum(1)
    np.testing.assert_allclose(found["brier"], distance, rtol=1e-4, atol=1e-6)
    assert (found["brier"] >= 0).all()
    assert (found["brier"] <= 2).all()


def test_hopeless_logits_have_a_finite_loss():
    found = answers(torch.tensor([[0.0, 3e38]]), torch.tensor([0]))
    assert found["loss"].isfinite().all()
    assert found["brier"].tolist() == [2.0]
