"""The program on ten classes of six pictures, with a scorer and an embedder so small
that the tests wait for nothing but the program."""

import json

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

import keras_distill as kd
from train import groups
from train.grouping import embedding, training

SHORT = [
    *("--folds", "2", "--size", "3", "--draws", "2", "--views", "2", "--epochs", "2"),
    *("--batch-size", "16", "--degrade", "share=0.6", "noise=60"),
]
EMBEDDER = ["backbone=conv4_4", "dim=4", "method=none", "epochs=2"]
EMBEDDER += ["images_per_class=3", "learning_rate=0.01"]
TRAINED = [*SHORT, "--image-size", "16", "--embedder-options", *EMBEDDER]
FILES = {"scorer.keras", "embedder.keras", "recipe.json", "metrics.json", "table.md"}
FILES |= {"groups.png", "curve.png"}


def tiny_scorer(image_shape, width=8):
    images = keras.Input(image_shape)
    x = layers.Rescaling(1 / 127.5, offset=-1)(images)
    x = layers.Conv2D(width, 3, 2, activation="relu")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(images, layers.Dense(1, activation="sigmoid")(x))


@pytest.fixture(scope="module", autouse=True)
def small():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kd.models, "scorer", tiny_scorer)
        yield


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """An embedder that was not trained here: of colour images of another size."""
    keras.utils.set_random_seed(0)
    images = keras.Input((12, 12, 3))
    x = layers.Flatten()(layers.AveragePooling2D(3)(images))
    x = layers.Dense(6, name="projection")(layers.Rescaling(1 / 127.5, offset=-1)(x))
    path = tmp_path_factory.mktemp("given") / "given.keras"
    keras.Model(images, kd.layers.L2Normalization()(x)).save(path)
    return path


@pytest.fixture(scope="module")
def arguments(pictures, given):
    return ["--data", str(pictures), "--embedder", str(given), *SHORT]


@pytest.fixture(scope="module")
def finished(arguments, tmp_path_factory):
    """Folder of a run that was interrupted in its second fold, and gone on with."""
    out = tmp_path_factory.mktemp("groups") / "run"
    run = training.run

    def interrupted(fold, *rest):
        if fold.number == 1:
            raise KeyboardInterrupt
        return run(fold, *rest)

    def resumed(fold, *rest):
        assert fold.number == 1, "a fold that has ended is run again"
        return run(fold, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "run", interrupted)
        with pytest.raises(SystemExit) as stop:
            groups.main([*arguments, "--out", str(out)])
        assert stop.value.code == 130
        assert not (out / "metrics.json").exists()
        patch.setattr(training, "run", resumed)
        groups.main([*arguments, "--out", str(out), "--resume"])
    return out


def read(out, name="metrics.json"):
    return json.loads((out / name).read_text())


def test_an_interrupted_run_goes_on_and_leaves_its_files_and_nothing_else(finished):
    assert {path.name for path in finished.iterdir()} == FILES
    for name in ("groups.png", "curve.png"):
        with Image.open(finished / name) as picture:
            assert min(picture.size) > 100


def test_a_fold_depends_on_its_seed_alone(finished, arguments, tmp_path, capsys):
    # The second of two, as the only one of a run.
    out = tmp_path / "run"
    every = groups.folds.folds

    def second(*how):
        return every(*how)[1:]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(groups.folds, "folds", second)
        groups.main([*arguments, "--out", str(out)])
    assert "TAR@FAR=0.1: mean" in capsys.readouterr().out
    (alone,), (_, whole) = read(out)["folds"], read(finished)["folds"]
    for part in ("pairs", "seed", "classes", "fold"):
        assert alone[part] == whole[part]
    for name, figures in whole["figures"].items():
        assert alone["figures"][name] == pytest.approx(figures), name
    assert "Of one fold nothing can be said" in (out / "table.md").read_text()


def test_the_models_are_the_embedder_and_a_scorer(finished, given):
    images = np.random.default_rng(0).uniform(0, 255, (4, 12, 12, 3))
    scores = keras.saving.load_model(finished / "scorer.keras").predict(images)
    assert scores.shape == (4, 1) and ((scores > 0) & (scores < 1)).all()
    used = keras.saving.load_model(finished / "embedder.keras")
    own = keras.saving.load_model(given)
    np.testing.assert_array_equal(used.predict(images), own.predict(images))
    assert used.trainable and read(finished)["models_of_fold"] == 2


def test_metrics_are_of_each_fold_and_of_all(finished):
    metrics = read(finished)
    assert [fold["fold"] for fold in metrics["folds"]] == [1, 2]
    for fold in metrics["folds"]:
        assert fold["pairs"] == {"genuine": 5, "impostor": 20}
        assert set(fold["figures"]["DDL"]) == {"tar_at_far_0.1", "rank_1", "rank_5"}
        assert fold["figures"]["mean"]["rank_5"] == 1.0  # of five in the gallery
        assert -1 <= fold["correlation"] <= 1
        kept = fold["kept"]
        assert set(kept["best"]) == set(kept["random"]) == {"1", "2", "3"}
        for key in fold["figures"]["DDL"]:
            assert kept["best"]["3"][key] == fold["figures"]["DDL"][key]
            assert kept["random"]["3"][key] == fold["figures"]["mean"][key]
    found = metrics["summary"]["poolings"]["DDL"]["rank_1"]
    each = [fold["figures"]["DDL"]["rank_1"] for fold in metrics["folds"]]
    assert found["mean"] == pytest.approx(np.mean(each)) and found["count"] == 2
    assert metrics["multiply_adds"]["embedder"] == 4 * 4 * 3 * 6


def test_the_recipe_says_what_was_left_open(finished):
    recipe = read(finished, "recipe.json")
    assert recipe["data"]["image_shape"] == [12, 12, 3]
    assert len(recipe["data"]["embedder"]["weights"]) >= 16
    degrade = recipe["resolved"]["degrade"]
    assert degrade["share"] == 0.6 and {"blur", "occlusion", "darkness"} < set(degrade)
    for fold in recipe["resolved"]["folds"]:
        assert len(fold["proxy"]) == len(fold["unseen"]) == 5
        assert not set(fold["proxy"]) & set(fold["unseen"])


def test_the_table_says_what_holds_of_this_run(finished):
    table = " ".join((finished / "table.md").read_text().split())
    assert "The embedder was given. If it was trained on these classes" in table
    assert "share 0.6" in table and "5 genuine and 20 impostor pairs" in table
    assert "--resume" not in table and "No pooling by norm" not in table


def test_a_finished_run_is_shown_again_at_once(finished, arguments, capsys):
    groups.main([*arguments, "--out", str(finished), "--resume"])
    said = capsys.readouterr().out
    assert "The run is finished" in said and "| DDL |" in said
    assert str(finished / "curve.png") in said


def test_an_embedder_is_trained_on_the_proxy_classes_once(
    pictures, tmp_path, monkeypatch
):
    out = tmp_path / "run"
    classes = ["--eval-classes", "bars/1*", "bars/2*", "bars/3*", "bars/4*"]
    arguments = ["--data", str(pictures), "--out", str(out), *TRAINED, *classes]
    arguments += ["--folds", "1"]
    train, seen = embedding.train, []

    def watched(images, *how):
        seen.append(images.class_names)
        return train(images, *how)

    def full_disk(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(embedding, "train", watched)
    with monkeypatch.context() as patch:
        patch.setattr(training, "_scorer", full_disk)
        with pytest.raises(OSError, match="No space"):
            groups.main(arguments)
    monkeypatch.setattr(
        training, "_scorer", lambda _, proxy, *__: (tiny_scorer(proxy.image_shape), 0)
    )
    groups.main([*arguments, "--resume"])
    assert seen == [("bars/50", "bars/58", "bars/66", "bars/74", "bars/82")]
    embedder = keras.saving.load_model(out / "embedder.keras")
    assert embedder.input_shape == (None, 16, 16, 1) and embedder.output_shape[1] == 4
    options = read(out, "recipe.json")["resolved"]["embedder_options"]
    assert options["epochs"] == 2 and options["loss"] == "multi_similarity"
    assert {path.name for path in out.iterdir()} == FILES


@pytest.mark.parametrize(
    "more, message",
    [
        (["--size", "4"], "8 images each, for 2 disjoint groups of 4.*0 such classes"),
        (["--size", "1"], "--size must be at least 2. Received: 1"),
        (["--draws", "0"], "--draws must be at least 1. Received: 0"),
        (["--learning-rate", "0"], "--learning-rate must be positive. Received: 0"),
        (["--degrade", "rain=1"], "option of --degrade.*blur.*Received: rain"),
        (["--degrade", "share=2"], "`share` must lie in.*share=2"),
        (["--embedder-options", "depth=3"], "of the embedder.*backbone.*depth"),
        (["--eval-classes", "bars/7*"], "Two unseen classes.*Received: 1 of 10"),
        (["--eval-classes", "bars/[12]*"], "10 impostor pairs.*Received: 6 pairs"),
        (["--eval-classes", "nothing"], "must match a class.*glob='nothing'"),
        (["--embedder", "x"], "leave them out. Received: --embedder x"),
    ],
)
def test_what_cannot_work_is_refused(more, message, pictures, tmp_path):
    arguments = ["--data", str(pictures), "--out", str(tmp_path / "run"), *TRAINED]
    with pytest.raises(ValueError, match=message):
        groups.main([*arguments, *more])
    assert not (tmp_path / "run").exists()


def test_images_have_the_size_that_a_given_embedder_takes(given, arguments, tmp_path):
    out = ["--out", str(tmp_path / "run")]
    message = (
        "leave --image-size out.*--image-size 16, and .*given.keras takes .12, 12."
    )
    with pytest.raises(ValueError, match=message):
        groups.main([*arguments, *out, "--image-size", "16"])
    images = keras.Input((None, None, 1))
    anywhere = keras.Model(images, layers.GlobalAveragePooling2D()(images))
    anywhere.save(tmp_path / "anywhere.keras")
    arguments = [*arguments, *out, "--embedder", str(tmp_path / "anywhere.keras")]
    with pytest.raises(ValueError, match="choose one with --image-size"):
        groups.main(arguments)
    assert not (tmp_path / "run").exists()


def test_an_embedder_that_is_not_there_is_named(pictures, tmp_path):
    arguments = ["--data", str(pictures), "--out", str(tmp_path / "run")]
    with pytest.raises(FileNotFoundError, match="no model here.*nothing"):
        groups.main([*arguments, "--embedder", str(tmp_path / "nothing")])
    assert not (tmp_path / "run").exists()


def test_faces_are_divided_into_people(real_data):
    from train.grouping.folds import folds
    from train.grouping.protocol import draw

    images = kd.data.image_folder(real_data("orl_faces"), 16)
    (fold,) = folds(images.class_names, 1)
    assert len(fold.proxy) == len(fold.unseen) == 20
    draws = draw(images.take_classes(fold.unseen), 5, 2, 2, 0)
    assert draws.pairs == (20, 380) and draws.left_out == 0
