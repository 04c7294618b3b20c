import io
import re

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from tests.train.tiny_comparison import classifiers, done, tiny
from train.comparison import plan, recipe
from train.comparison.picture import BETTER, OPEN, WORSE, picture
from train.comparison.record import DIVERGED, Record, fingerprint
from train.comparison.table import table

IMAGES = {
    "name": "bars",
    "image_shape": [16, 16, 1],
    "steps_per_epoch": 4,
    "parts": ["training", "evaluation"],
    "training": {"classes": 8, "images": 48, "fingerprint": "a"},
    "evaluation": {"classes": 2, "images": 12, "fingerprint": "b"},
}
NONE, DSD = (0.80, 0.82, 0.84), (0.83, 0.84, 0.88)


def results(tmp_path, figures, **changes):
    """A recipe, and a record with a run for each figure; `None` for a lost one."""
    made = recipe.parse(tiny("pictures", **changes))
    return made, recorded(tmp_path, made, IMAGES, figures)


def recorded(tmp_path, made, images, figures):
    record = Record(tmp_path / "runs.json")
    record.head = {"name": made.name, "command": "the command", "data": images}
    for name, values in figures.items():
        settings = (
            plan.teacher_settings(made, images)
            if name == plan.TEACHER
            else plan.settings(made, name, images)
        )
        record.adopt(name, settings)
        for seed, value in enumerate(values):
            outcome = {"status": DIVERGED, "reason": "loss nan in epoch 1"}
            if isinstance(value, dict):
                outcome = done(0.0) | {"figures": value}
            elif value is not None:
                outcome = done(value)
            if name == plan.TEACHER:
                outcome |= {"parameters": 8000, "weights": "w"}
            record.add(plan.Job(name, name, seed, settings, {}), outcome)
    return Record(tmp_path / "runs.json")


def test_a_row_has_means_intervals_and_paired_differences(tmp_path):
    text = table(*results(tmp_path, {"none": NONE, "DSD": DSD}))
    row = next(line for line in text.splitlines() if line.startswith("| DSD | 3"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    low, high = stats.ttest_1samp(DSD, 0).confidence_interval(0.95)
    assert cells[2] == f"85.00 ± {100 * (high - low) / 2:.2f}"
    low, high = stats.ttest_rel(DSD, NONE).confidence_interval(0.95)
    assert low > 0, "an example that is decided"
    assert cells[3] == f"**+3.00 ± {100 * (high - low) / 2:.2f}**"
    assert cells[4].startswith("42.50 ±"), "MAP@R is half of it in these"
    assert cells[6] == "10 s"
    base = next(line for line in text.splitlines() if line.startswith("| none | 3"))
    assert base.split("|")[4].strip() == ""


def test_an_undecided_difference_is_not_bold(tmp_path):
    text = table(*results(tmp_path, {"none": NONE, "DSD": (0.79, 0.84, 0.83)}))
    assert "| +0.00 ±" in text and "**+" not in text


def test_the_conditions_are_said(tmp_path):
    text = table(*results(tmp_path, {"none": NONE, "DSD": DSD}, about="Why."))
    for said in (
        "# tiny\n\nWhy.\n\n```sh\nthe command\n```",
        "`pictures`, 16x16x1",
        "8 classes, 48 images",
        "2 classes, 12 images (`bars/7*`, `bars/8*`)",
        "conv4, 4 numbers, 1,000 parameters",
        "8 steps (2 epochs) of 4 classes x 3 images",
        "AdamW, rate 0.01, weight decay 0",
        "`multi_similarity(alpha=2.0",
        "`RandomAffine(shift=0.1, rotation=10.0",
        "keras 3, tensorflow 2, numpy 2, python 3; a machine, one thread a run",
        "| none | the loss alone |",
        "| DSD | `S2SD(dims=[16], weight=50.0",
    ):
        assert said in text, said
    assert "null" not in text and "None" not in text
    assert "teacher" not in text


def test_the_page_names_every_layer_that_varies_images(tmp_path):
    layers = [{"shift": 0.2}, {"class": "RandomDegradation", "share": 0.3}]
    text = table(*results(tmp_path, {"none": NONE}, augment=layers))
    assert re.search(
        r"\| augmentation \| `RandomAffine\(shift=0.2,.*`, then "
        r"`RandomDegradation\(.*share=0.3,.*` \|\n",
        text,
    )


def test_runs_of_other_code_are_told_apart_and_old_ones_have_none(tmp_path):
    made, record = results(tmp_path, {"none": NONE})
    for run, code in zip(record.runs, ("0a", "0b", None), strict=True):
        run["machine"] = {**run["machine"], **({"code": code} if code else {})}
    text = table(made, record)
    assert text.count("| made with |") == 3
    for said in ("python 3, code 0a; a", "python 3, code 0b; a", "python 3; a machine"):
        assert said in text


def test_what_a_method_has_of_its_own_is_said(tmp_path):
    longer = {"methods": [], "steps": 40, "loss": "contrastive"}
    methods = {"none": {"methods": []}, "longer": longer}
    text = table(*results(tmp_path, {"none": NONE, "longer": DSD}, methods=methods))
    assert "| longer | 3 | 40 |" in text and "| none | 3 | 8 |" in text
    assert "the loss alone; loss `contrastive(" in text and "steps `40`" in text


def test_missing_and_failed_runs_are_said(tmp_path):
    text = table(*results(tmp_path, {"none": (0.8, None), "DSD": (0.83,)}))
    assert "| none | 1 + 1 failed | 80.00 |" in text
    assert "| DSD | 1 | 83.00 | +3.00 |" in text, "one pair has no interval"
    assert "* none, seed 1: diverged, loss nan in epoch 1" in text
    assert "* none, seed 2: not run yet" in text
    assert "* DSD, seeds 1, 2: not run yet" in text


def test_a_difference_says_over_how_many_seeds_it_is_where_some_lack(tmp_path):
    text = table(*results(tmp_path, {"none": (0.8, None, 0.84), "DSD": DSD}))
    assert "(2 seeds)" in text


def test_a_method_whose_runs_all_failed_keeps_its_row(tmp_path):
    made = results(tmp_path, {"none": NONE, "DSD": (None, None)})
    assert "| DSD | 0 + 2 failed |  |" in table(*made)
    assert picture(*made) is None


def test_without_the_baseline_there_are_no_differences(tmp_path):
    made = results(tmp_path, {"DSD": DSD})
    assert "| DSD | 3 | 85.00 ±" in table(*made) and picture(*made) is None


def test_no_run_is_no_table(tmp_path):
    made = recipe.parse(tiny("pictures"))
    record = Record(tmp_path / "runs.json")
    assert "No run has ended yet." in table(made, record)
    assert picture(made, record) is None


def test_the_teacher_has_a_row_and_the_students_their_share(tmp_path):
    methods = {"none": {"methods": []}, "L2": {"methods": [{"class": "FeatureL2"}]}}
    teacher = {"backbone": "conv4", "dim": 12, "steps": 40}
    made = results(
        tmp_path,
        {"teacher": (0.90,), "none": NONE, "L2": DSD},
        methods=methods,
        teacher=teacher,
    )
    text = table(*made)
    rows = [line.split(" | ")[0] for line in text.splitlines()]
    assert rows.index("| teacher") < rows.index("| none") < rows.index("| L2")
    assert f"| {100 * 0.82 / 0.9:.1f} % |" in text
    assert f"| {100 * 0.85 / 0.9:.1f} % |" in text
    assert "conv4, 12 numbers, 8,000 parameters: the student has 12.5 %" in text
    assert "8 fixed views of each image" in text
    assert "over students of this teacher." in text
    assert len(picture(*made).axes[0].get_yticklabels()) == 1, "not the teacher"


def test_of_two_teachers_the_one_of_the_recipes_seed_has_the_row(tmp_path):
    teacher = {"backbone": "conv4", "dim": 12}
    methods = {"none": {"methods": []}}
    figures = {"teacher": (0.90, 0.95), "none": NONE}
    for seed, said, row in ((0, "91.1 %", 90), (1, "86.3 %", 95)):
        entry = {**teacher, "seed": seed}
        made = recipe.parse(tiny("pictures", methods=methods, teacher=entry))
        text = table(made, recorded(tmp_path, made, IMAGES, figures))
        assert f"| {said} |" in text and text.count("\n| teacher | ") == 2
        assert f"| teacher | 1 | {row}.00 |  | {row / 2:.2f} |  |  | 10 s |" in text
        assert f"seed {seed} |" in text
        (tmp_path / "runs.json").unlink()


def test_a_method_is_compared_with_the_other_that_it_names(tmp_path):
    methods = {
        "none": {"methods": []},
        "DSD": {"methods": [{"class": "S2SD"}]},
        "MSD": {"methods": [{"class": "S2SD"}], "against": "DSD"},
    }
    better = (0.845, 0.86, 0.897)
    made = results(tmp_path, {"none": NONE, "DSD": DSD, "MSD": better}, methods=methods)
    low, high = stats.ttest_rel(better, DSD).confidence_interval(0.95)
    assert low > 0, "an example that is decided"
    half = 100 * (high - low) / 2
    row = f"| MSD | DSD | **+1.73 ± {half:.2f}** | **+0.87 ± {half / 2:.2f}** |"
    assert row in table(*made)
    panel = picture(*made).axes[0]
    names = [label.get_text() for label in panel.get_yticklabels()]
    assert names == ["DSD", "MSD", "MSD against DSD"]
    assert "against none, or the method named" in panel.figure.get_suptitle()
    dots = [line.get_xdata() for line in panel.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(dots[2], 100 * np.subtract(better, DSD))


RETIRED = {
    "student": {"backbone": "conv4", "dim": 5},
    "batch": {"classes": 3, "per_class": 3},
    "augment": {"shift": 0.2},
    "image_size": 18,
    "teacher": {"backbone": "conv4", "dim": 9, "views": 4},
    "data": {"training": {"classes": 8, "images": 48, "fingerprint": "c"}},
}


@pytest.mark.parametrize("field", [*RETIRED, None])
def test_a_retired_method_is_compared_only_where_all_but_its_own_was_the_same(
    tmp_path, field
):
    """`old`'s own are its rate, its steps and its loss."""
    own = {"optimizer": {"learning_rate": 0.1}, "steps": 40, "loss": "contrastive"}
    both = {"none": {"methods": []}, "old": {"methods": [], **own}}
    images, changes = IMAGES, {}
    if field == "data":
        images = IMAGES | RETIRED["data"]
    elif field is not None:
        changes = {field: RETIRED[field]}
    before = recipe.parse(tiny("pictures", methods=both, **changes))
    recorded(tmp_path, before, images, {"old": DSD})
    made, record = results(tmp_path, {"none": NONE}, methods={"none": both["none"]})
    said = "* old: no longer in the recipe"
    if field is None:
        assert f"{said}\n" in table(made, record) and "**+3.00" in table(made, record)
        assert picture(made, record) is not None
    else:
        name = {"teacher": "views"}.get(field, field)
        said += f"; not comparable: it had another {name}\n"
        assert said in table(made, record)
        assert "| old | 3 | 40 | 85.00" in table(made, record), "its own figures stay"
        assert "+3.00" not in table(made, record)
        assert picture(made, record) is None


def test_a_retired_method_may_lack_an_argument_that_a_class_got_later(tmp_path):
    both = {"none": {"methods": []}, "old": {"methods": []}}
    record = recorded(
        tmp_path, recipe.parse(tiny("pictures", methods=both)), IMAGES, {"old": DSD}
    )
    del record.settings["old"]["augment"]["fill_value"]
    for run in record.runs:
        run["fingerprint"] = fingerprint(record.settings["old"], run["seed"])
    record.write()
    made = results(tmp_path, {"none": NONE}, methods={"none": both["none"]})
    assert "not comparable" not in table(*made) and "**+3.00" in table(*made)


def test_there_is_no_such_comparison_before_the_other_has_run(tmp_path):
    methods = {
        "none": {"methods": []},
        "DSD": {"methods": [{"class": "S2SD"}], "against": "MSD"},
        "MSD": {"methods": [{"class": "S2SD"}]},
    }
    text = table(*results(tmp_path, {"none": NONE, "DSD": DSD}, methods=methods))
    assert "| method | against |" not in text


def test_the_page_of_classifiers_has_their_measures(tmp_path):
    def figures(*pairs):
        return [{"accuracy": a, "cross_entropy": c} for a, c in pairs]

    made = recipe.parse(classifiers("pictures", seeds=[0, 1, 2]))
    part = {"classes": 10, "images": 20, "fingerprint": "b"}
    images = {k: v for k, v in IMAGES.items() if k != "evaluation"}
    images |= {"parts": ["training", "test"], "test": part}
    runs = {
        "teacher": figures((0.9, 0.3)),
        "none": figures((0.70, 1.2), (0.71, 1.1), (0.72, 1.3)),
        "KD": figures((0.75, 0.9), (0.76, 0.9), (0.78, 0.95)),
    }
    record = recorded(tmp_path, made, images, runs)
    text = table(made, record)
    low, high = stats.ttest_1samp([0.3, 0.2, 0.35], 0).confidence_interval(0.95)
    for said in (
        "| accuracy | against none | cross-entropy | against none | of the teacher's a",
        f"| **-0.2833 ± {(high - low) / 2:.4f}** | {100 * 0.763333 / 0.9:.1f} % |",
        "cross-entropy in nats, of which less is better: mean over",
        "nothing was chosen on the test\nimages",
        "| measured on | 10 classes, 20 images (30 % of each class) |",
        "| student | conv4_4, 1,000 parameters |",
        "| teacher | conv4_6, 8,000 parameters: the student has 12.5 %",
        "| loss | `cross_entropy()` |",
    ):
        assert said in text, said
    accuracy, loss = picture(made, record).axes
    assert accuracy.get_xlabel() == "accuracy, difference in points"
    assert loss.get_xlabel() == "cross-entropy, difference in nats"
    colors = [p.lines[1].get_markeredgecolor() for p in (accuracy, loss)]
    assert colors == [BETTER, BETTER], "less is better of the second"
    assert WORSE not in colors


def test_the_page_says_which_classes_were_trained_on(tmp_path):
    made = results(tmp_path, {"none": NONE})
    assert "(`" not in said_of(table(*made), "trained on")
    few = results(tmp_path / "few", {"none": NONE}, training_classes=["a/*", "b"])
    assert said_of(table(*few), "trained on").endswith("images (`a/*`, `b`) |")


def said_of(text, title):
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {title} |")]
    return line


def test_table_and_picture_agree_where_rounding_is_all_the_spread(tmp_path):
    hits = (600, 601, 640)
    figures = {
        name: tuple(round((k + more) / 820, 6) for k in hits)
        for name, more in (("none", 0), ("DSD", 7))
    }
    made = results(tmp_path, figures)
    assert "| +0.85 ± 0.00 |" in table(*made)
    line = picture(*made).axes[0].lines[1]
    assert line.get_markeredgecolor() == OPEN


@pytest.mark.parametrize("methods", [1, 12])
def test_the_picture_has_a_row_a_method_a_panel_a_measure_and_every_seed(
    tmp_path, methods
):
    rng = np.random.default_rng(0)
    specs = {"none": {"methods": []}}
    figures = {"none": NONE}
    for number in range(methods):
        specs[f"method {number}"] = {"methods": [{"class": "S2SD"}]}
        figures[f"method {number}"] = tuple(rng.uniform(0.7, 0.9, 3))
    made = results(tmp_path, figures, methods=specs)
    drawn = picture(*made)
    assert len(drawn.axes) == 2
    names = [label.get_text() for label in drawn.axes[0].get_yticklabels()]
    assert names == [f"method {number}" for number in range(methods)]
    assert "Recall@1" in drawn.axes[0].get_xlabel()
    dots = [
        sorted(line.get_xdata())
        for line in drawn.axes[0].lines
        if line.get_marker() == "o"
    ]
    gains = 100 * (np.array(figures["method 0"]) - NONE)
    np.testing.assert_allclose(dots[0], sorted(gains))
    file = io.BytesIO()
    drawn.savefig(file)
    with Image.open(file) as image:
        assert np.asarray(image.convert("L")).std() > 5
