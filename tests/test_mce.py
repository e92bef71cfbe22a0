"""Corruption errors and mCE against published tables."""

import numpy as np
import pytest

from attacks.corruptions import EXTRA, STANDARD
from benchmarks import metrics
from benchmarks.baselines import ALEXNET, BASELINES
from benchmarks.corruption_aggregates import Verdicts, corruption_aggregates
from benchmarks.corruption_axes import CorruptionAxes

NAMES = tuple(ALEXNET.errors)

# torchvision's ResNet-50: clean accuracy and mean accuracy over the severities, in percent, in the
# order of the literature. Source: bethgelab/game-of-noise, Results/clean_results.txt.
RESNET50_CLEAN = 76.13
RESNET50 = (
    *(29.29, 27.03, 23.81),
    *(38.75, 26.79, 38.67, 36.24),
    *(32.53, 38.14, 45.83, 68.02),
    *(39.06, 45.25, 44.79, 53.41),
)

# Accuracies on 5,000 images of ImageNet-C at severities 1 to 5. Source: RobustBench,
# model_info/imagenet/corruptions/unaggregated_results.csv (MIT licence), its AlexNet row included.
ROBUSTBENCH = {
    "AlexNet": """
gaussian_noise 0.3110 0.1814 0.0724 0.0214 0.0058
shot_noise 0.2944 0.1598 0.0726 0.0196 0.0120
impulse_noise 0.2234 0.1154 0.0556 0.0140 0.0054
defocus_blur 0.3404 0.2620 0.1502 0.0850 0.0522
glass_blur 0.3486 0.2412 0.1126 0.0800 0.0636
motion_blur 0.4174 0.2950 0.1794 0.1022 0.0698
zoom_blur 0.3028 0.2308 0.1936 0.1630 0.1312
snow 0.2788 0.1140 0.1320 0.0850 0.0502
frost 0.3788 0.1976 0.1052 0.0994 0.0616
fog 0.3154 0.2324 0.1570 0.1214 0.0556
brightness 0.5504 0.5140 0.4640 0.3886 0.2906
contrast 0.3496 0.2334 0.1094 0.0266 0.0094
elastic_transform 0.4710 0.3022 0.4400 0.3568 0.1898
pixelate 0.4754 0.4502 0.2670 0.1288 0.0858
jpeg_compression 0.4858 0.4522 0.4228 0.3488 0.2564
    """,
    "Standard_R50": """
gaussian_noise 0.6020 0.4878 0.3124 0.1422 0.0288
shot_noise 0.5828 0.4486 0.2856 0.1026 0.0352
impulse_noise 0.4854 0.3862 0.2904 0.1130 0.0244
defocus_blur 0.5914 0.5154 0.3808 0.2752 0.1824
glass_blur 0.5362 0.3974 0.1708 0.1306 0.1034
motion_blur 0.6360 0.5342 0.3754 0.2158 0.1452
zoom_blur 0.5258 0.4302 0.3560 0.2844 0.2194
snow 0.5468 0.3120 0.3494 0.2344 0.1650
frost 0.6106 0.4366 0.3064 0.2864 0.2258
fog 0.6092 0.5600 0.4674 0.4024 0.2360
brightness 0.7360 0.7222 0.6958 0.6496 0.5886
contrast 0.6428 0.5824 0.4660 0.2098 0.0542
elastic_transform 0.6684 0.4514 0.5456 0.4122 0.1702
pixelate 0.6380 0.6434 0.4598 0.2930 0.2088
jpeg_compression 0.6644 0.6234 0.6004 0.4786 0.3254
    """,
    "Salman2020Do_50_2_Linf": """
gaussian_noise 0.5960 0.4670 0.2666 0.1020 0.0218
shot_noise 0.5782 0.4284 0.2568 0.0930 0.0332
impulse_noise 0.3978 0.2542 0.1630 0.0558 0.0162
defocus_blur 0.4592 0.3732 0.2388 0.1560 0.1016
glass_blur 0.5556 0.4664 0.3780 0.3006 0.1876
motion_blur 0.5810 0.4854 0.3588 0.2280 0.1668
zoom_blur 0.5200 0.4548 0.3778 0.3338 0.2704
snow 0.5480 0.3856 0.3734 0.2464 0.2324
frost 0.5898 0.4248 0.2796 0.2530 0.1810
fog 0.2386 0.1006 0.0374 0.0296 0.0102
brightness 0.6784 0.6574 0.6150 0.5476 0.4508
contrast 0.3448 0.1498 0.0256 0.0054 0.0054
elastic_transform 0.5858 0.4054 0.6224 0.5854 0.4636
pixelate 0.6594 0.6526 0.6252 0.5742 0.5386
jpeg_compression 0.6634 0.6534 0.6528 0.6370 0.6158
    """,
    "Hendrycks2020AugMix": """
gaussian_noise 0.6720 0.6100 0.5022 0.3368 0.1188
shot_noise 0.6722 0.5980 0.5022 0.3160 0.1924
impulse_noise 0.6452 0.5760 0.5096 0.3270 0.1274
defocus_blur 0.6450 0.6066 0.5068 0.3854 0.2590
glass_blur 0.6048 0.4826 0.2686 0.2266 0.1740
motion_blur 0.7148 0.6734 0.5778 0.4192 0.2966
zoom_blur 0.6198 0.5524 0.5162 0.4328 0.3558
snow 0.6060 0.4100 0.4256 0.3014 0.2316
frost 0.6424 0.4870 0.3672 0.3478 0.2776
fog 0.6362 0.5834 0.4804 0.4162 0.2420
brightness 0.7470 0.7300 0.7060 0.6676 0.6086
contrast 0.7064 0.6764 0.6094 0.4174 0.1560
elastic_transform 0.6938 0.4798 0.6232 0.5190 0.2872
pixelate 0.6986 0.6836 0.5978 0.4764 0.4212
jpeg_compression 0.6790 0.6496 0.6312 0.5680 0.4844
    """,
    "Hendrycks2020Many": """
gaussian_noise 0.7208 0.6972 0.6324 0.5190 0.3698
shot_noise 0.7214 0.6836 0.6150 0.4678 0.3526
impulse_noise 0.7078 0.6722 0.6378 0.5308 0.4100
defocus_blur 0.6852 0.6442 0.5272 0.4146 0.2998
glass_blur 0.6684 0.5746 0.3142 0.2618 0.1846
motion_blur 0.7036 0.6468 0.5154 0.3316 0.2170
zoom_blur 0.5752 0.4704 0.3882 0.3180 0.2386
snow 0.6054 0.4534 0.4612 0.3528 0.2968
frost 0.6632 0.5480 0.4544 0.4280 0.3672
fog 0.6440 0.5876 0.5176 0.4806 0.3404
brightness 0.7496 0.7406 0.7200 0.6944 0.6542
contrast 0.6976 0.6548 0.5708 0.3530 0.1250
elastic_transform 0.6970 0.4692 0.6174 0.5062 0.2508
pixelate 0.7502 0.7478 0.7200 0.6342 0.4290
jpeg_compression 0.7036 0.6768 0.6610 0.5550 0.3822
    """,
}


def accuracies(model: str) -> np.ndarray:
    """(15, 5) in the order of the literature."""
    table = [line.split() for line in ROBUSTBENCH[model].strip().splitlines()]
    assert tuple(name for name, *_ in table) == NAMES
    return np.array([values for _, *values in table], np.float64)


def mean_errors(model: str) -> np.ndarray:
    """Errors averaged over the severities, (15,)."""
    return 1 - accuracies(model).mean(axis=1)


def verdicts(model: str) -> Verdicts:
    """5,000 images of which as many are right in each cell as the table says."""
    right = np.rint(5000 * accuracies(model))[:, :, None] > np.arange(5000)
    return Verdicts(np.ones(5000, np.uint8), right.astype(np.uint8))


def test_resnet50_has_its_published_mce():
    errors = 1 - np.array(RESNET50) / 100
    base = ALEXNET.mean_errors(NAMES, range(1, 6))
    assert 100 * metrics.mce(errors, base) == pytest.approx(76.70, abs=0.005)
    relative = metrics.relative_mce(errors, 1 - RESNET50_CLEAN / 100, base, ALEXNET.clean)
    assert 100 * relative == pytest.approx(104.95, abs=0.005)
    assert 100 * errors.mean() == pytest.approx(60.83, abs=0.005)


@pytest.mark.parametrize(
    ("model", "published"),
    [
        ("Standard_R50", 76.38),
        ("Hendrycks2020AugMix", 64.17),
        ("Hendrycks2020Many", 60.04),
        ("Salman2020Do_50_2_Linf", 80.00),
    ],
)
def test_robustbench_models_have_their_mce(model, published):
    found = 100 * metrics.mce(mean_errors(model), mean_errors("AlexNet"))
    assert found == pytest.approx(published, abs=0.005)


def test_verdicts_on_images_come_to_the_same_mce():
    axes = CorruptionAxes(NAMES, (1, 2, 3, 4, 5))
    own, base = verdicts("Hendrycks2020AugMix"), verdicts("AlexNet")
    numbers = corruption_aggregates(axes, own, base, 0)
    assert 100 * numbers["mce"] == pytest.approx(64.17, abs=0.005)
    assert numbers["mce_images"] == 5000
    # Its mean error is 50.67 by RobustBench's own leaderboard.
    assert 100 * numbers["mean_corruption_error"] == pytest.approx(50.67, abs=0.005)
    np.testing.assert_allclose(numbers["cell_error"], 1 - accuracies("Hendrycks2020AugMix"))
    expected = mean_errors("Hendrycks2020AugMix") / mean_errors("AlexNet")
    np.testing.assert_allclose(numbers["ce"], expected)
    families = slice(0, 3), slice(3, 7), slice(7, 11), slice(11, 15)
    ratios = [
        mean_errors("Hendrycks2020AugMix")[own].mean() / mean_errors("AlexNet")[own].mean()
        for own in families
    ]
    np.testing.assert_allclose(numbers["family_ratio"], ratios)
    low, high = numbers["mce_interval"]
    assert low < numbers["mce"] < high


def test_alexnet_has_the_published_means():
    # hendrycks/robustness, issue 10: the means that the table of the paper rounds, in percent.
    published = [88.6428, 89.4468, 92.2640, 81.9880, 82.6268, 78.5948, 79.8360, 86.6816, 82.6572]
    published += [81.9324, 56.4592, 85.3204, 64.6056, 71.7840, 60.6500]
    found = 100 * ALEXNET.mean_errors(NAMES, (1, 2, 3, 4, 5))
    np.testing.assert_allclose(found, published, rtol=1e-12)
    assert found.mean() == pytest.approx(78.8993, abs=5e-5)
    assert tuple(ALEXNET.errors) == STANDARD
    assert tuple(ALEXNET.means) == EXTRA
    assert BASELINES == {"alexnet": ALEXNET}


def test_a_baseline_at_some_severities_is_the_mean_over_those():
    assert ALEXNET.mean_errors(["frost"], [1, 3]) == pytest.approx((0.61390 + 0.88790) / 2)
    extra = ALEXNET.mean_errors(["spatter", "spatter_of_ours"], range(1, 6))
    assert extra[0] == 0.717512
    assert np.isnan(extra[1])
    # Of the extra four the severities were not published.
    assert np.isnan(ALEXNET.mean_errors(["spatter"], [1, 3])).all()


def test_a_corruptions_severities_are_averaged_before_dividing():
    """The pitfall: the mean of five ratios is another number."""
    errors, base = np.array([[0.1, 0.9]]), np.array([[0.2, 0.9]])
    assert metrics.mce(errors.mean(axis=1), base.mean(axis=1)) == pytest.approx(1.0 / 1.1)
    assert metrics.mce([0.2, 0.9], [0.4, 0.9]) == pytest.approx(0.75)  # not 1.1 / 1.3


def test_leading_axes_are_kept():
    generator = np.random.default_rng(0)
    errors, clean = generator.random((7, 2, 3)), generator.random((7, 2))
    base, base_clean = generator.random(3), 0.1
    together = metrics.relative_mce(errors, clean, base, base_clean)
    assert together.shape == (7, 2)
    alone = metrics.relative_mce(errors[4, 1], clean[4, 1], base, base_clean)
    assert together[4, 1] == pytest.approx(float(alone))


def test_a_corruption_that_spares_the_baseline_has_no_relative_error():
    relative = metrics.relative_corruption_errors([0.3, 0.3, 0.3], 0.2, [0.8, 0.4, 0.3], 0.4)
    assert relative.tolist() == pytest.approx([0.25, np.nan, np.nan], nan_ok=True)
    assert np.isnan(metrics.relative_mce([0.3, 0.3], 0.2, [0.8, 0.3], 0.4))
