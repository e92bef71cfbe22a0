"""CKA against its definition, and what it must and must not see."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from benchmarks.cka import Similarity, cka

SEEDS = st.integers(0, 2**32 - 1)


class Maps(nn.Module):
    """Layers that are known functions of flat images; the logits are the last of them."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, images: Tensor) -> Tensor:
        outputs = [layer(images.flatten(1)) for layer in self.layers]
        return outputs[-1]


class Plus(nn.Module):
    """The images with a value added."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, rows: Tensor) -> Tensor:
        return rows + self.value


class Fixed(nn.Module):
    """Activations given in advance: the first value of an image is its row."""

    def __init__(self, rows: Tensor) -> None:
        super().__init__()
        self.rows = rows

    def forward(self, images: Tensor) -> Tensor:
        return self.rows[images[:, 0].long()]


def names(model: Maps) -> list[str]:
    return [str(place) for place in range(len(model.layers))]


def compared(first: Maps, second: Maps, batches: Sequence[Tensor]) -> Similarity:
    return cka(first, second, batches, names(first), names(second))


def of_rows(first: Tensor, second: Tensor, *sizes: int) -> Similarity:
    """CKA of two given matrices of activations, in batches of these sizes."""
    places = torch.arange(len(first)).float()[:, None, None, None]
    return compared(
        Maps(Fixed(first)), Maps(Fixed(second)), places.split(list(sizes) or len(first))
    )


def linear(matrix: Tensor) -> nn.Linear:
    layer = nn.Linear(matrix.shape[1], matrix.shape[0], bias=False)
    layer.weight.data = matrix
    return layer


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def unbiased_hsic(one: Tensor, other: Tensor) -> float:
    """Song et al. 2012: the mean of k(i,j) l(i,j) + k(i,j) l(q,r) - 2 k(i,j) l(i,q) over tuples of
    different images, each sum written out."""
    first, second = ((rows.double() @ rows.double().T).tolist() for rows in (one, other))
    count = len(first)
    pairs = triples = quads = 0.0
    everyone = range(count)
    for i in everyone:
        for j in everyone:
            if i == j:
                continue
            pairs += first[i][j] * second[i][j]
            for q in everyone:
                if q in (i, j):
                    continue
                triples += first[i][j] * second[i][q]
                for r in everyone:
                    if r not in (i, j, q):
                        quads += first[i][j] * second[q][r]
    n2, n3 = count * (count - 1), count * (count - 1) * (count - 2)
    return pairs / n2 - 2 * triples / n3 + quads / (n3 * (count - 3))


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, count=st.integers(4, 7), shift=st.sampled_from([0.0, 3.0]))
def test_one_batch_is_the_definition_written_out(seed: int, count: int, shift: float) -> None:
    one, other = normal(count, 3, seed=seed) + shift, normal(count, 5, seed=seed + 1)
    expected = unbiased_hsic(one, other) / np.sqrt(
        unbiased_hsic(one, one) * unbiased_hsic(other, other)
    )
    assert of_rows(one, other).values[0, 0] == pytest.approx(expected, rel=1e-6, abs=1e-9)


@settings(max_examples=8, deadline=None)
@given(seed=SEEDS)
def test_batches_are_equations_4_and_5(seed: int) -> None:
    """Nguyen, Raghu & Kornblith: means of HSIC over batches first, then the ratio."""
    one, other = normal(15, 3, seed=seed), normal(15, 5, seed=seed + 1)
    parts = [slice(0, 5), slice(5, 10), slice(10, 15)]
    both, first, second = (
        np.mean([unbiased_hsic(a[part], b[part]) for part in parts])
        for a, b in ((one, other), (one, one), (other, other))
    )
    found = of_rows(one, other, 5, 5, 5)
    assert found.values[0, 0] == pytest.approx(both / np.sqrt(first * second), abs=1e-8)
    # Without a batch, it is as if it had never been there.
    again = of_rows(one[:10], other[:10], 5, 5)
    assert found.without[2, 0, 0] == pytest.approx(again.values[0, 0], abs=1e-12)


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, scale=st.floats(1e-3, 1e3), shift=st.floats(-50, 50))
def test_rotation_scale_and_shift_change_nothing(seed: int, scale: float, shift: float) -> None:
    rows, other = normal(12, 6, seed=seed), normal(12, 4, seed=seed + 1)
    turned = torch.linalg.qr(normal(6, 6, seed=seed + 2).double())[0].float()
    changed = of_rows(scale * rows @ turned + shift * scale, other, 6, 6)
    plain = of_rows(rows, other, 6, 6)
    np.testing.assert_allclose(changed.values[0, 0], plain.values[0, 0], atol=2e-5)
    assert of_rows(rows, rows @ turned, 6, 6).values[0, 0] == pytest.approx(1, abs=1e-5)


@settings(max_examples=10, deadline=None)
@given(seed=SEEDS)
def test_a_model_with_itself_is_symmetric_with_ones(seed: int) -> None:
    model = Maps(*(linear(normal(5, 6, seed=seed + part)) for part in range(3)))
    batches = normal(16, 1, 2, 3, seed=seed).split(8)
    itself = compared(model, model, batches)
    np.testing.assert_allclose(np.diag(itself.values), 1, atol=1e-12)
    np.testing.assert_allclose(itself.values, itself.values.T, atol=1e-12)
    np.testing.assert_allclose(itself.intervals()[0, 0], 1, atol=1e-10)
    other = Maps(linear(normal(4, 6, seed=seed + 9)))
    one_way, back = compared(model, other, batches), compared(other, model, batches)
    np.testing.assert_allclose(one_way.values, back.values.T, atol=1e-12)


def test_a_model_with_itself_runs_once() -> None:
    class Counted(Maps):
        runs = 0

        def forward(self, images: Tensor) -> Tensor:
            self.runs += 1
            return super().forward(images)

    model = Counted(nn.Identity(), nn.Identity())
    compared(model, model, normal(12, 1, 2, 2, seed=0).split(4))
    assert model.runs == 3


def test_what_has_nothing_in_common_is_near_zero_where_the_biased_estimate_is_not() -> None:
    """Means over 150 pairs of independent matrices of 8 images x 20 features."""
    found, biased = [], []
    for seed in range(150):
        one, other = normal(8, 20, seed=2 * seed), normal(8, 20, seed=2 * seed + 1)
        found.append(of_rows(one, other).values[0, 0])
        a, b = (rows - rows.mean(dim=0) for rows in (one, other))
        cross, own = (a.T @ b).norm() ** 2, (a.T @ a).norm() * (b.T @ b).norm()
        biased.append(float(cross / own))
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found)) < 4 * error  # misses once in 16,000
    assert error < 0.02
    assert np.mean(biased) > 0.6


def test_more_images_leave_the_value_where_it_was_whatever_the_batches() -> None:
    """The closed form: for normal rows and a linear map, CKA of the population is known."""
    mixed = normal(6, 6, seed=5)
    covariance = mixed.T.double() @ mixed.double()  # of x W' with x standard normal
    expected = float(torch.trace(covariance) / (6**0.5 * covariance.norm()))
    rows = normal(2000, 6, seed=6)
    for size in (10, 200):
        found = of_rows(rows, rows @ mixed.T, *[size] * (2000 // size))
        low, high = found.intervals()[0, 0]
        assert low < expected < high
        assert high - low < 0.08


def test_intervals_hold_the_value_of_the_population_about_as_often_as_they_say() -> None:
    mixed = normal(6, 6, seed=5)
    covariance = mixed.T.double() @ mixed.double()
    expected = float(torch.trace(covariance) / (6**0.5 * covariance.norm()))
    held = 0
    for seed in range(60):
        rows = normal(240, 6, seed=seed)
        low, high = of_rows(rows, rows @ mixed.T, *[30] * 8).intervals()[0, 0]
        held += low < expected < high
    assert held >= 50  # of 60; binomial with 0.95: fewer in 1 of 1,000


def test_a_difference_is_told_better_than_its_two_sides() -> None:
    rows = normal(400, 6, seed=1)
    near, nearer = (rows + scale * normal(400, 6, seed=2) for scale in (0.52, 0.5))
    places = torch.arange(400).float()[:, None, None, None]
    first, second = Maps(Fixed(rows)), Maps(Fixed(near), Fixed(nearer))
    found = compared(first, second, places.split(40))
    value, (low, high) = found.difference((0, 1), (0, 0))
    assert value == pytest.approx(found.values[0, 1] - found.values[0, 0])
    assert 0 < low < value < high
    ends = found.intervals()[0]
    assert ends[1, 0] < ends[0, 1]  # seen alone, their intervals overlap


def test_layers_that_tell_no_images_apart_have_none_and_say_why() -> None:
    class Constant(nn.Module):
        def forward(self, rows: Tensor) -> Tensor:
            return torch.full((len(rows), 3), 0.1) + 1e-9 * rows[:, :1]  # float32 rounds it off

    class OnlyTheFirst(nn.Module):
        def forward(self, rows: Tensor) -> Tensor:
            return torch.zeros(len(rows), 2).index_fill(0, torch.tensor(0), 1.0)

    class Broken(nn.Module):
        def forward(self, rows: Tensor) -> Tensor:
            return rows * float("inf")

    odd = Maps(Constant(), OnlyTheFirst(), Broken(), nn.Identity())
    found = compared(odd, Maps(nn.Identity()), normal(24, 1, 2, 2, seed=3).split(8))
    assert np.isnan(found.values[:3]).all()
    assert np.isnan(found.intervals()[:3]).all()
    assert found.values[3, 0] == pytest.approx(1)
    reasons = found.undefined[0]
    assert list(reasons) == ["0", "1", "2"]
    assert "constant" in reasons["0"]
    assert "finite" in reasons["2"]
    assert found.undefined[1] == {}


def test_large_means_take_no_digits() -> None:
    """Values that differ by 1 around 2^19: products in float32 would lose the differences."""
    rows, other = normal(32, 8, seed=1).mul(64).round(), normal(32, 8, seed=2)
    shifted = rows + 2.0**19  # exact in float32
    plain = of_rows(rows, other).values[0, 0]
    assert of_rows(shifted, other).values[0, 0] == pytest.approx(plain, abs=1e-9)


def test_a_small_last_batch_counts_by_its_images_or_is_left_out() -> None:
    one, other = normal(23, 3, seed=1), normal(23, 3, seed=2)
    found = of_rows(one, other, 10, 10, 3)
    assert (found.images, found.left_out, found.batch_size) == (20, 3, 10)
    assert found.values[0, 0] == of_rows(one[:20], other[:20], 10, 10).values[0, 0]
    assert of_rows(one, other, 10, 9, 4).images == 23
    alone = of_rows(one, other)
    assert np.isnan(alone.intervals()).all()
    assert alone.without.shape == (0, 1, 1)
    with pytest.raises(ValueError, match="4 images"):
        of_rows(one, other, *[3] * 7, 2)


def test_a_layer_that_is_called_twice_counts_with_both_outputs() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shared, self.joined = Plus(0), nn.Identity()

        def forward(self, images: Tensor) -> Tensor:
            rows = images.flatten(1)
            outputs = torch.cat([self.shared(rows), self.shared(rows**2)], dim=1)
            joined: Tensor = self.joined(outputs)
            return joined

    model = Twice()
    found = cka(model, model, [normal(16, 1, 2, 3, seed=0)], ["shared"], ["joined"])
    assert found.values[0, 0] == pytest.approx(1)


def test_many_values_are_seen_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, other = normal(12, 50, seed=1), normal(12, 7, seed=2)
    whole = of_rows(rows, other).values
    monkeypatch.setattr("benchmarks.cka._VALUES", 30)
    np.testing.assert_allclose(of_rows(rows, other).values, whole, atol=1e-13)


@pytest.mark.parametrize(
    ("layers", "text"),
    [(["layer"], "no layer is called"), ([], "no layers"), (["inner"], "no row an image")],
)
def test_layers_that_cannot_be_compared_are_named(layers: list[str], text: str) -> None:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.unused = nn.Identity(), nn.Identity()

        def forward(self, images: Tensor) -> Tensor:
            inner: Tensor = self.inner(images.flatten(1).T)
            return inner.T

    model = Network()
    with pytest.raises(ValueError, match=text):
        cka(model, model, [torch.rand(5, 1, 2, 2)], layers, layers)
    with pytest.raises(ValueError, match="does not run"):
        cka(model, model, [torch.rand(5, 1, 2, 2)], ["unused"], ["unused"])


def test_a_model_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(inplace=True), nn.Linear(3, 2))
    model.train()
    model[1].weight.requires_grad_(True)
    cka(model, model, [torch.rand(5, 1, 2, 2)], ["1", "2"], ["3"])
    assert model.training
    assert model[1].weight.requires_grad
    assert not any(module._forward_hooks for module in model.modules())
