"""The table and the two pictures, of figures that are made up."""

import numpy as np
import pytest

from tests.train.grouping.synthetic import folds
from train.grouping.curve import curve
from train.grouping.picture import picture
from train.grouping.poolings import ABOUT
from train.grouping.summary import Summary
from train.grouping.table import table

HEAD = {"title": "Faces", "command": "python -m train.groups", "size": 5, "fixed": None}
HEAD |= {"notes": ["Beware."], "scorer": 300, "embedder": 6000}


def page(count, **changes):
    return table(Summary(folds(count)), {**HEAD, **changes}, {"data": "faces"})


def rows(text, first):
    """The cells of the rows of a table whose first cell is one of `first`."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines()]
    return {cells[0]: cells for cells in lines if cells[0] in first}


def test_the_table_has_every_pooling_and_its_difference_to_the_mean():
    some = folds(4)
    found = rows(table(Summary(some), HEAD, {}).partition("## k of")[0], ABOUT)
    assert list(found) == list(ABOUT)
    ours = [one["figures"]["DDL"]["tar_at_far_0.01"] for one in some]
    mean = [one["figures"]["mean"]["tar_at_far_0.01"] for one in some]
    assert found["DDL"][1].startswith(f"{100 * np.mean(ours):.2f} ± ")
    gain = 100 * np.mean(np.subtract(ours, mean))
    assert found["DDL"][2].startswith(f"**+{gain:.2f} ± ")
    assert found["mean"][2] == "" and found["DDL"][-1].endswith(" %")


def test_the_table_says_what_calls_and_multiply_adds_are_saved():
    lines = rows(page(3).partition("## k of")[2], set("12345"))
    assert [cells[1] for cells in lines.values()] == [
        f"{20 * k} %" for k in range(1, 6)
    ]
    assert lines["2"][2] == "45.0 %"  # 2/5 and a scorer of 5 % of the embedder
    assert "multiply-adds |" not in page(3, embedder=None)


@pytest.mark.parametrize(
    "count, changes, said",
    [
        (1, {}, "Of one fold nothing can be said about spread."),
        (2, {}, "not independent. Of so few folds a t-interval is wide."),
        (2, {"fixed": "scorer"}, "seed of scorer"),
        (6, {}, "not independent. Nothing was chosen"),
    ],
)
def test_the_table_says_what_its_intervals_are_worth(count, changes, said):
    assert said in page(count, **changes)
    assert "* Beware." in page(count, **changes)


def group(size, channels=1, name="Greek/alpha"):
    rng = np.random.default_rng(size)
    images = np.zeros((size, 4, 4, channels), np.uint8)
    images += np.arange(size, dtype=np.uint8)[:, None, None, None]
    numbers = {"truth": rng.random(size), "weights": rng.dirichlet(np.ones(size))}
    return {"name": name, "images": images, "scores": rng.random(size), **numbers}


def drawn(figure):
    """Which members were drawn, row by row from the left."""
    places = [
        (im.get_extent()[3], im.get_extent()[0], im) for im in figure.axes[0].images
    ]
    ordered = sorted(places, key=lambda place: place[:2])
    return [int(np.max(im.get_array())) for _, _, im in ordered]


def test_the_picture_goes_from_the_best_to_the_worst(tmp_path):
    groups = [group(5), group(5, channels=3)]
    figure = picture(groups)
    order = list(np.argsort(-groups[0]["scores"]))
    assert drawn(figure) == order * 2
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert f"{groups[0]['scores'].max():.2f}" in texts and "Greek/\nalpha" in texts
    figure.savefig(tmp_path / "groups.png")


def test_the_picture_of_large_groups_shows_both_ends():
    groups = [group(30)]
    order = list(np.argsort(-groups[0]["scores"]))
    assert drawn(picture(groups)) == order[:5] + order[-5:]


@pytest.mark.parametrize("count", [1, 3])
def test_the_curve_shows_both_ways_of_keeping_and_the_mean(count, tmp_path):
    some = folds(count)
    figure = curve(Summary(some), 5)
    panel = figure.axes[1]  # rank-1
    handles, labels = panel.get_legend_handles_labels()
    shown = dict(zip(labels, handles, strict=True))
    ours = [f["kept"]["best"] for f in some]
    means = [100 * np.mean([f[str(k)]["rank_1"] for f in ours]) for k in range(1, 6)]
    line, _, bars = shown["k best by score, DDL"].lines
    np.testing.assert_allclose(np.asarray(line.get_ydata(), float), means)
    assert len(bars) == (count > 1)  # intervals
    mean = 100 * np.mean([f["figures"]["mean"]["rank_1"] for f in some])
    np.testing.assert_allclose(shown["mean of all 5"].get_ydata(), mean)
    assert "k by lot, mean" in shown
    figure.savefig(tmp_path / "curve.png")
