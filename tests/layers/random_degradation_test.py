import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
import tensorflow as tf

from keras_distill.layers import RandomDegradation

NONE = {"blur": 0, "noise": 0, "occlusion": 0, "darkness": 0, "crop": 0}
FAULTS = ["crop", "occlusion", "darkness", "blur", "noise"]
SCENE = np.random.default_rng(0).uniform(0, 255, (4, 9, 12, 2)).astype(np.float32)


def only(fault, largest, **options):
    """A layer of one fault, which every image gets."""
    return RandomDegradation(**{**NONE, fault: largest, "share": 1, **options})


def uniform(count, seed=0):
    numbers = np.random.default_rng(seed).uniform(-1, 1, (count, 20))
    return np.minimum(numbers.astype(np.float32), np.float32(1 - 2**-23))


def draws(count, strength, seed=0):
    """Draws that make every fault so strong, as a part of its largest value."""
    numbers = uniform(count, seed)
    numbers[:, 7:12] = 2 * np.float32(strength) - 1
    return numbers


def spoil(layer, images, numbers):
    return np.array(layer(images, training=True, draws=numbers))


# What each fault does.


@pytest.mark.parametrize("strength", [0.1, 0.5, 0.9])
def test_blur_is_the_gaussian_filter(strength):
    sigma = strength * 0.3 * 9  # of the shorter side
    got = spoil(only("blur", 0.3), SCENE, draws(4, strength))
    expected = scipy.ndimage.gaussian_filter(
        SCENE.astype(np.float64), sigma, mode="nearest", axes=(1, 2)
    )
    np.testing.assert_allclose(got, expected, atol=1e-3)


def test_each_image_is_blurred_by_its_own_width():
    numbers = draws(4, 0.5)
    numbers[:, 10] = [-1, -0.9, 0, 0.99]
    got = spoil(only("blur", 0.2), SCENE, numbers)
    np.testing.assert_array_equal(got[0], SCENE[0])
    for image, spoilt, part in zip(SCENE, got, [0, 0.05, 0.5, 0.995], strict=True):
        expected = scipy.ndimage.gaussian_filter(
            image.astype(np.float64), part * 0.2 * 9, mode="nearest", axes=(0, 1)
        )
        np.testing.assert_allclose(spoilt, expected, atol=1e-3)


def test_noise_is_normal_with_the_deviation_of_its_image():
    grey = np.full((5, 64, 64, 3), 127.5, np.float32)
    numbers = uniform(5)
    deviations = (numbers[:, 11] + 1) / 2 * 30
    noise = spoil(only("noise", 30.0), grey, numbers) - 127.5
    values = noise.reshape(5, -1) / deviations[:, None]
    count = values.shape[1]
    # Five standard errors of 12288 numbers each.
    np.testing.assert_allclose(values.mean(1), 0, atol=5 / np.sqrt(count))
    np.testing.assert_allclose(values.std(1), 1, atol=5 / np.sqrt(2 * count))
    quantiles = scipy.stats.norm.ppf([0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
    found = np.quantile(values, scipy.stats.norm.cdf(quantiles))
    np.testing.assert_allclose(found, quantiles, atol=0.06)


def test_noise_of_neighbours_channels_and_images_is_independent():
    grey = np.full((6, 48, 48, 3), 127.5, np.float32)
    noise = spoil(only("noise", 20.0), grey, draws(6, 0.9)) - 127.5
    planes = noise.transpose(0, 3, 1, 2).reshape(18, -1)
    correlations = np.corrcoef(planes) - np.eye(18)
    assert np.abs(correlations).max() < 5 / np.sqrt(48 * 48)
    for axis in (1, 2, 3):
        for step in (1, 2):
            shifted = np.roll(noise, step, axis)
            related = np.corrcoef(noise.ravel(), shifted.ravel())[0, 1]
            assert abs(related) < 5 / np.sqrt(noise.size)


def test_noise_depends_on_both_numbers_of_its_key():
    grey = np.full((3, 16, 16, 1), 127.5, np.float32)
    numbers = np.repeat(draws(1, 0.9), 3, axis=0)
    numbers[1, 18] += 2**-22
    numbers[2, 19] += 2**-22
    noise = (spoil(only("noise", 20.0), grey, numbers) - 127.5).reshape(3, -1)
    assert np.abs(np.corrcoef(noise) - np.eye(3)).max() < 5 / 16


@pytest.mark.parametrize("size", [(9, 12), (31, 17), (1, 1), (1, 40)])
def test_occlusion_covers_the_stated_area_inside_the_image(size):
    numbers = uniform(64)
    shares = (numbers[:, 8] + 1) / 2 * 0.8
    layer = only("occlusion", 0.8, fill_value=255)
    covered = spoil(layer, np.zeros((64, *size, 1)), numbers)[..., 0] / 255
    np.testing.assert_allclose(covered.mean((1, 2)), shares, atol=1e-5)


def test_occlusion_is_a_rectangle_that_reaches_the_corners():
    numbers = draws(200, 0.5)
    layer = only("occlusion", 0.3, fill_value=255)
    covered = spoil(layer, np.zeros((200, 20, 30, 1)), numbers)[..., 0] / 255
    rows, columns = covered.max(2), covered.max(1)
    full = rows[:, :, None] * columns[:, None, :]
    peak = covered.max((1, 2))
    assert (peak > 0.999).all()
    np.testing.assert_allclose(covered, full, atol=1e-4)
    heights, widths = rows.sum(1) / 20, columns.sum(1) / 30
    ratios = np.log2(heights / widths)
    np.testing.assert_allclose(ratios, numbers[:, 14], atol=1e-3)
    numbers[:2, 15:17] = [[-1, -1], [1, 1]]
    corners = spoil(layer, np.zeros((2, 20, 30, 1)), numbers[:2])[..., 0]
    np.testing.assert_allclose([corners[0, 0, 0], corners[1, -1, -1]], 255, atol=0.01)


def test_a_rectangle_of_the_whole_image_fits_whatever_its_ratio():
    layer = only("occlusion", 1.0, fill_value=255)
    covered = spoil(layer, np.zeros((8, 10, 14, 1)), draws(8, 0.98))
    np.testing.assert_allclose(covered.mean((1, 2, 3)) / 255, 0.98, atol=1e-5)


def test_the_rectangle_has_one_level_by_chance_or_the_given_one():
    # Every rectangle of 30 % that is at most twice as wide as tall holds the middle
    # when it lies in the middle.
    numbers = draws(300, 0.999)
    numbers[:, 15:17] = 0
    grey = np.full((300, 10, 10, 3), 90.0, np.float32)
    by_chance = spoil(only("occlusion", 0.3), grey, numbers)[:, 5, 5]
    np.testing.assert_array_equal(by_chance[:, 0], by_chance[:, 2])
    np.testing.assert_allclose(by_chance[:, 0], (numbers[:, 17] + 1) * 127.5, atol=0.01)
    given = spoil(only("occlusion", 0.3, fill_value=12), grey, numbers)[:, 5, 5]
    np.testing.assert_allclose(given, 12, atol=1e-4)


def test_darkness_takes_light_and_contrast():
    numbers = draws(4, 0.5)
    got = spoil(only("darkness", 0.8, shot_noise=0), SCENE, numbers)
    mean = SCENE.mean((1, 2, 3), dtype=np.float64, keepdims=True)
    expected = 0.6 * (mean + 0.8 * (SCENE - mean))  # d = 0.4
    np.testing.assert_allclose(got, expected, atol=1e-3)
    black = spoil(only("darkness", 1.0, shot_noise=9), SCENE, draws(4, 1 - 2**-24))
    assert black.max() < 0.1


def test_the_dark_is_noisy_as_photons_are():
    levels = np.array([0, 60, 240], np.float32)
    grey = np.broadcast_to(levels[:, None, None, None], (3, 128, 128, 1))
    got = spoil(only("darkness", 0.5, shot_noise=6), grey, draws(3, 0.5))
    left = 0.75 * levels  # of a uniform image the contrast is none
    np.testing.assert_allclose(got.mean((1, 2, 3)), left, atol=0.2)
    deviations = 6 * np.sqrt(0.25 * left / 255)
    np.testing.assert_allclose(got.std((1, 2, 3)), deviations, rtol=0.03)


def window(image, cut, across, down):
    """Bilinear samples of a window, in float64, pixel by pixel."""
    height, width, _ = image.shape
    result = np.zeros_like(image, np.float64)
    for row, column in np.ndindex(height, width):
        y = (down + 1) / 2 * cut * height + (1 - cut) * (row + 0.5) - 0.5
        x = (across + 1) / 2 * cut * width + (1 - cut) * (column + 0.5) - 0.5
        y, x = np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)
        for j, i in np.ndindex(2, 2):
            yj, xi = int(y) + j, int(x) + i
            part = (1 - abs(y - yj)) * (1 - abs(x - xi))
            if part > 0:
                result[row, column] += part * image[yj, xi]
    return result


def test_crop_enlarges_a_window():
    numbers = uniform(4)
    got = spoil(only("crop", 0.7), SCENE, numbers)
    for image, spoilt, own in zip(SCENE, got, numbers, strict=True):
        expected = window(image, (own[7] + 1) / 2 * 0.7, *own[12:14])
        np.testing.assert_allclose(spoilt, expected, atol=0.01)


def test_a_window_in_the_corner_shows_the_corner():
    halves = np.zeros((1, 8, 8, 1), np.float32)
    halves[0, :4, 4:] = 200
    numbers = draws(1, 1 - 2**-23)
    numbers[0, 12:14] = [1, -1]
    np.testing.assert_allclose(
        spoil(only("crop", 0.5), halves, numbers)[0, :7, 1:], 200, atol=1e-2
    )


# All images with all faults.


@pytest.mark.parametrize(
    "shape", [(5, 7, 1), (5, 7, 3), (1, 1, 1), (1, 9, 3), (9, 1, 1)]
)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_any_size_and_kind_stays_in_range(shape, dtype):
    images = np.random.default_rng(1).integers(0, 256, (40, *shape)).astype(dtype)
    layer = RandomDegradation(share=1, more=1, seed=0)
    got = layer(images, training=True)
    assert got.shape == images.shape and got.dtype == tf.float32
    got = np.array(got)
    assert np.isfinite(got).all() and got.min() >= 0 and got.max() <= 255
    assert (got != images).any((1, 2, 3)).mean() > 0.9


def test_an_empty_batch_stays_empty():
    got = RandomDegradation(share=1)(np.zeros((0, 6, 5, 3)), training=True)
    assert got.shape == (0, 6, 5, 3)


@pytest.mark.parametrize(
    "options, training",
    [({}, False), ({}, None), ({"share": 0}, True), ({**NONE, "share": 1}, True)],
)
def test_otherwise_images_pass_bit_for_bit(options, training):
    layer = RandomDegradation(**{"share": 1, **options})
    np.testing.assert_array_equal(layer(SCENE, training=training), SCENE)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_no_strength_changes_nothing(fault):
    numbers = uniform(4)
    numbers[:, 7:12] = -1
    np.testing.assert_array_equal(spoil(only(fault, 0.5), SCENE, numbers), SCENE)


def test_the_share_is_spoilt_and_the_rest_passes_bit_for_bit():
    images = np.random.default_rng(2).integers(0, 256, (2000, 8, 8, 1), np.uint8)
    numbers = uniform(2000)
    layer = RandomDegradation(share=0.3, blur=0.5)
    spoilt = (spoil(layer, images, numbers) != images).any((1, 2, 3))
    assert abs(spoilt.mean() - 0.3) < 0.04  # four standard errors
    chosen = (np.array(layer.strengths(numbers)) > 0).any(1)
    assert not spoilt[~chosen].any() and spoilt[chosen].mean() > 0.97


def test_strengths_say_which_faults_there_are():
    layer = RandomDegradation(share=0.5, more=0.25)
    strengths = np.array(layer.strengths(uniform(20_000)))
    present = strengths > 0
    chosen = present.any(1)
    assert strengths.shape == (20_000, 5) and abs(chosen.mean() - 0.5) < 0.015
    # One of five, and each of the other four with probability 1/4.
    np.testing.assert_allclose(present[chosen].mean(0), 0.2 + 0.8 * 0.25, atol=0.02)
    assert abs(present[chosen].sum(1).mean() - 2) < 0.04
    largest = [getattr(layer, fault) for fault in FAULTS]
    for column, limit in zip(strengths.T, largest, strict=True):
        own = column[column > 0] / limit
        assert own.max() <= 1
        np.testing.assert_allclose(np.histogram(own, 5)[0] / len(own), 0.2, atol=0.03)


def test_faults_that_are_taken_out_never_come():
    layer = RandomDegradation(share=1, more=0, blur=0, crop=0)
    present = np.array(layer.strengths(uniform(3000))) > 0
    assert (present.sum(1) == 1).all()
    np.testing.assert_allclose(present.mean(0), [0, 1 / 3, 1 / 3, 0, 1 / 3], atol=0.04)
