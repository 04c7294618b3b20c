"""What becomes of the runs there are when a recipe, a class or the images change."""

import pytest

import keras_distill as kd
from tests.train.tiny_comparison import done, ran, tiny
from train.comparison import plan, specification
from train.comparison.record import Record


def test_another_recipe_is_refused_and_what_changed_is_said(pictures, tmp_path, played):
    ran(tmp_path, tiny(pictures))
    before = (tmp_path / "results" / "runs.json").read_bytes()
    changed = tiny(pictures, optimizer={"learning_rate": 0.02, "weight_decay": 0.0})
    message = r"'none' has runs.*--again 'none'.*learning_rate \(was 0.01, now 0.02\)$"
    with pytest.raises(ValueError, match=message):
        ran(tmp_path, changed)
    changed = tiny(pictures)
    changed["methods"]["DSD"]["methods"][0]["pooling"] = "avg"
    message = r'methods\[0\].pooling \(was "avg\+max", now "avg"\)$'
    with pytest.raises(ValueError, match=message):
        ran(tmp_path, changed)
    assert (tmp_path / "results" / "runs.json").read_bytes() == before


class Grown(kd.methods.S2SD):
    """`S2SD` after it has got two arguments, the second of which must be given."""

    def __init__(self, *args, sharpness=1.5, needed, **kwargs):
        super().__init__(*args, **kwargs)


@pytest.mark.parametrize(
    "loss, augment, dsd, said",
    [
        ({}, {}, {"sharpness": 1.5}, None),
        ({}, {}, {"sharpness": 2.5}, r"sharpness \(was not there, now 2.5\)"),
        ({}, {}, {"sharpness": None}, r"sharpness \(was not there, now null\)"),
        ({}, {}, {"needed": 1}, r"needed \(was not there, now 1\)"),
        ({}, {}, {"unheard": 1}, r"unheard \(was not there, now 1\)"),
        ({"beta": 40.0}, {"scale": 0.1}, {}, None),
        ({"beta": 41.0}, {}, {}, r"loss.beta \(was not there, now 41.0\)"),
        ({}, {"scale": 0.2}, {}, r"augment.*scale \(was not there, now 0.2\)"),
    ],
)
def test_an_argument_that_a_class_got_later_is_no_change_at_its_default(
    monkeypatch, tmp_path, loss, augment, dsd, said
):
    """Of methods, losses and the augmentation."""
    known = {**specification.known(), "S2SD": Grown}
    monkeypatch.setattr(specification, "known", lambda: known)

    def settings(loss, augment, dsd):
        return {
            "loss": {"class": "multi_similarity", "alpha": 2.0, **loss},
            "augment": {"class": "RandomAffine", "shift": 0.1, **augment},
            "methods": [{"class": "S2SD", "dims": [16], **dsd}],
        }

    record = Record(tmp_path / "runs.json")
    record.adopt("DSD", settings({}, {}, {}))
    record.add(plan.Job("DSD", "DSD", 0, {}, {}), done(0.5))
    before = record.runs[0]["fingerprint"]
    if said is None:
        record.adopt("DSD", settings(loss, augment, dsd))
    else:
        with pytest.raises(ValueError, match=said):
            record.adopt("DSD", settings(loss, augment, dsd))
    assert Record(record.path).runs[0]["fingerprint"] == before


def test_an_option_that_a_class_lost_is_a_change(tmp_path):
    record = Record(tmp_path / "runs.json")
    record.adopt("DSD", {"methods": [{"class": "S2SD", "dims": [16]}]})
    record.add(plan.Job("DSD", "DSD", 0, {}, {}), done(0.5))
    with pytest.raises(ValueError, match=r"dims \(was \[16\], now null\)"):
        record.adopt("DSD", {"methods": [{"class": "S2SD"}]})


def test_other_images_are_another_recipe(pictures, tmp_path, played):
    ran(tmp_path, tiny(pictures))
    with pytest.raises(ValueError, match=r"data.evaluation \(was .*student.dim") as e:
        ran(
            tmp_path,
            tiny(
                pictures,
                eval_classes=["bars/7*", "bars/6*"],
                student={"backbone": "conv4", "dim": 5},
            ),
        )
    assert "data.training" in str(e.value) and "seed" not in str(e.value)


def test_a_recipe_may_grow(pictures, tmp_path, played):
    ran(tmp_path, tiny(pictures))
    assert len(played.runs) == 6
    grown = tiny(pictures, seeds=[0, 1, 2, 7], about="More of it.")
    grown["methods"]["MSD"] = {"methods": [{"class": "S2SD", "dims": [8, 16]}]}
    ran(tmp_path, grown)
    assert len(played.runs) == 6


def test_runs_of_a_method_that_was_taken_out_are_still_shown(
    pictures, tmp_path, played
):
    ran(tmp_path, tiny(pictures))
    smaller = tiny(pictures)
    del smaller["methods"]["DSD"]
    ran(tmp_path, smaller)
    text = (tmp_path / "results" / "table.md").read_text()
    assert "| DSD | 3 |" in text and "* DSD: no longer in the recipe" in text


def test_again_forgets_the_runs_of_a_method(pictures, tmp_path, played):
    ran(tmp_path, tiny(pictures))
    played.jobs = []
    changed = tiny(pictures)
    changed["methods"]["DSD"]["methods"][0]["dims"] = [8]
    _, whole = ran(tmp_path, changed, "--again", "DSD", "--seeds", "2")
    assert played.runs == [("DSD", 0), ("DSD", 1)]
    assert whole["settings"]["DSD"]["methods"][0]["dims"] == [8]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-20],
        lambda text: text.replace('"learning_rate": 0.01', '"learning_rate": 0.02'),
        lambda text: text.replace('"runs"', '"rums"'),
    ],
)
def test_results_that_were_changed_by_hand_are_refused(
    pictures, tmp_path, played, damage
):
    ran(tmp_path, tiny(pictures), "--seeds", "1")
    path = tmp_path / "results" / "runs.json"
    path.write_text(damage(path.read_text()))
    with pytest.raises(ValueError, match=r"as the program wrote them.*runs\.json"):
        ran(tmp_path, tiny(pictures))
