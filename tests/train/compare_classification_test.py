import math

import numpy as np
import pytest

from tests.train.tiny_comparison import Played, classifiers, done, ran
from train.comparison import plan, recipe, training
from train.comparison.tasks import TASKS

TASK = TASKS["classification"]
TUNING = {"validation_share": 0.25, "seeds": [5]}


def tuned(pictures, **changes):
    made = classifiers(pictures, tuning=TUNING, **changes)
    methods = {
        name: {**entry, "trials": [{}, {"learning_rate": 0.1}]}
        for name, entry in made["methods"].items()
    }
    return {**made, "methods": methods}


def test_the_figures_are_those_of_a_loop():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(40, 5)).astype(np.float32)
    labels = rng.integers(0, 5, 40)
    hits, losses = 0, 0.0
    for row, label in zip(logits.tolist(), labels, strict=True):
        hits += row.index(max(row)) == label
        total = math.fsum(math.exp(value) for value in row)
        losses -= math.log(math.exp(row[label]) / total)
    figures = TASK.figures(logits, labels)
    assert list(figures) == list(TASK.measures)
    assert figures["accuracy"] == hits / 40 and 0 < hits < 40
    assert figures["cross_entropy"] == pytest.approx(losses / 40, rel=1e-9)


def test_large_logits_have_a_finite_cross_entropy():
    figures = TASK.figures(np.array([[1e4, 0.0], [1e4, 0.0]], "f4"), np.array([0, 1]))
    assert figures == {"accuracy": 0.5, "cross_entropy": 5e3}


def test_data_that_come_split_by_class_are_refused_by_name():
    made = recipe.parse(classifiers("tfds:omniglot"))
    message = "in one set.*'glyphs' or a folder.*Received: data='tfds:omniglot'"
    with pytest.raises(ValueError, match=message):
        training.load(made.task, plan.data(made))


def test_all_classes_train_and_other_images_of_them_test(pictures):
    made = recipe.parse(tuned(pictures))
    train, test = training.load(made.task, plan.data(made))
    less, validation = training.load(made.task, plan.data(made, tuning=True))
    assert train.class_names == test.class_names == validation.class_names
    assert len(train.class_names) == 10
    assert (len(train), len(test)) == (40, 20)
    assert (len(less), len(validation)) == (30, 10)
    assert not {*train.ids} & {*test.ids}
    assert {*less.ids, *validation.ids} == {*train.ids}, "no test image tunes"
    assert not {*less.ids} & {*validation.ids}


def test_trials_are_chosen_by_accuracy_on_validation_images(
    pictures, tmp_path, monkeypatch
):
    def outcome(job):
        better = job.settings["optimizer"]["learning_rate"] > 0.05
        figures = {"accuracy": 0.5 + 0.2 * better, "cross_entropy": 1.0 - 0.5 * better}
        return done(0.0) | {"figures": figures, "weights": "w", "teacher": "w"}

    played = Played(monkeypatch, outcome)
    monkeypatch.setattr("train.comparison.teacher.lessons", lambda *_: {"folder": ""})
    monkeypatch.chdir(tmp_path)
    _, whole = ran(tmp_path, tuned(pictures), "--only", "none", "KD")
    assert list(whole["data"])[-2:] == ["training", "test"]
    assert played.jobs[-1].settings["optimizer"]["learning_rate"] == 0.1
    text = (tmp_path / "results" / "tuning.md").read_text()
    assert "Validation images: 25 % of each class." in text
    assert "the test images had\nno part in it. **Bold** is the best mean acc" in text
    assert '| KD | `{"learning_rate": 0.1}` | 1 | **70.00** | 0.5000 |' in text


@pytest.fixture(scope="module")
def finished(pictures, tmp_path_factory):
    """A folder where L2 was run, and its `runs.json`."""
    folder = tmp_path_factory.mktemp("classifiers")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        _, whole = ran(folder, classifiers(pictures), "--only", "L2")
    return folder, whole


def test_a_true_run_learns_from_the_layer_that_it_names(finished, pictures):
    """The cache, against the layer of the teacher itself on the same views."""
    import keras

    folder, whole = finished
    teacher_run, run = whole["runs"]
    assert (teacher_run["label"], run["label"]) == ("teacher", "L2")
    assert {"accuracy", "cross_entropy"} == set(run["figures"])
    assert "feature_l2_distance" in run["logs"]
    assert 0 < run["parameters"] < teacher_run["parameters"]
    (path,) = (folder / "runs/compare/tiny").glob("*.keras")
    inner = keras.saving.load_model(path, compile=False).layers[-1]
    assert inner.input_shape == (None, 20, 20, 1)
    pooled = keras.Model(inner.input, inner.get_layer("pooled").output)
    cache = path.with_suffix("") / "pooled-2-views-seed-0"
    lessons = {"folder": str(cache), "weights": "w"}
    data = plan.data(recipe.parse(classifiers(pictures)))
    job = plan.Job("L2", "L2", 0, whole["settings"]["L2"], data, lessons=lessons)
    images, _ = training.load("classification", data)
    for inputs, _ in training._batches(job, images).take(1):
        resized = keras.layers.Resizing(20, 20)(inputs["image"])
        said = pooled(resized, training=False)
        assert said.shape[-1] == 6
        np.testing.assert_allclose(inputs["teacher_embedding"], said, atol=1e-5)


def test_methods_of_different_layers_have_lessons_of_their_own(
    pictures, tmp_path, monkeypatch
):
    asked = []

    def lessons(lesson, record, views, layer):
        asked.append(layer)
        return {"folder": f"{layer}", "weights": "w"}

    figures = {"accuracy": 0.5, "cross_entropy": 1.0}
    played = Played(monkeypatch, lambda job: done(0.0) | {"figures": figures})
    monkeypatch.setattr("train.comparison.teacher.lessons", lessons)
    monkeypatch.chdir(tmp_path)
    ran(tmp_path, classifiers(pictures, seeds=[0, 1]))
    folders = {job.label: job.lessons and job.lessons["folder"] for job in played.jobs}
    assert folders == {"teacher": None, "none": None, "KD": "None", "L2": "pooled"}
    assert asked == [None, "pooled"], "once for all seeds"


def built(pictures, layer):
    spec = {"class": "FeatureL2", "student_layer": "pooled", "teacher_layer": layer}
    methods = {"none": {"methods": []}, "L2": {"methods": [spec]}}
    made = recipe.parse(classifiers(pictures, methods=methods))
    images = training.describe(made.task, plan.data(made), made.batch)
    settings = plan.settings(made, "L2", images)
    return training.build(settings, images["image_shape"], 10, 0)


def test_a_map_of_the_teacher_is_refused_before_it_is_trained(pictures):
    message = r"one row an image.*Received: teacher_layer='features' of shape \(None, 2"
    with pytest.raises(ValueError, match=message):
        built(pictures, "features")


@pytest.mark.parametrize("layer, width", [("pooled", 6), (None, 10), ("logits", 10)])
def test_the_width_of_what_is_learned_is_known_before_the_teacher_is_trained(
    pictures, layer, width
):
    assert built(pictures, layer).methods[0].teacher_dim == width
