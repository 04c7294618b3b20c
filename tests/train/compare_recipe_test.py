import json

import pytest

import keras_distill as kd
from tests.conftest import ROOT
from tests.train.tiny_comparison import classifiers, tiny
from train.comparison import plan, recipe, specification

S2SD = {"class": "S2SD", "dims": [16]}
NONE = {"none": {"methods": []}}
TUNING = {"validation_classes": ["bars/1*"], "seeds": [0]}
IMAGES = {
    "parts": ["training", "evaluation"],
    "training": {"fingerprint": "a"},
    "evaluation": {"fingerprint": "b"},
    "steps_per_epoch": 4,
}


def parsed(**changes):
    return recipe.parse(tiny("pictures", **changes))


def settings(method="DSD", **changes):
    return plan.settings(parsed(**changes), method, IMAGES)


@pytest.mark.parametrize("path", sorted((ROOT / "train" / "recipes").glob("*.json")))
def test_the_recipes_of_the_project_are_valid(path):
    found = recipe.read(path)
    assert found.name == path.stem
    for name in found.methods:
        plan.settings(found, name, {**IMAGES, plan.TRUNK: IMAGES})


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"sedes": [0]}, "Unknown field of `recipe`.*seeds.*Received: sedes"),
        ({"name": "a/b"}, "letters, digits.*name='a/b'"),
        (
            {"task": "detection"},
            "one of embedding, classification. Received: task='detection'",
        ),
        ({"image_size": 0}, "`image_size` must be an integer, 1.*image_size=0"),
        ({"student": {"dim": 8}}, "`student` lacks backbone"),
        ({"steps": 6, "epochs": 2}, "either steps or epochs. Received: steps and epo"),
        ({"steps": "6"}, "`recipe.steps` must be an integer.*'6'"),
        ({"batch": {"classes": 1, "per_class": 3}}, "batch.classes.*2 or more"),
        ({"optimizer": {"learning_rate": 0.1}}, "`optimizer` lacks weight_decay"),
        (
            {"optimizer": {"learning_rate": 0, "weight_decay": 0}},
            "`optimizer.learning_rate` must be a number, positive.*=0",
        ),
        ({"augment": "much"}, "`augment` must be an object of options.*'much'"),
        ({"augment": []}, "`augment` must be.*a list of one or more.*augment=\\[\\]"),
        ({"augment": [{}, 3]}, r"`augment\[1\]` must be an object.*=3"),
        ({"seeds": [1, 1]}, r"list of different integers.*\[1, 1\]"),
        ({"seeds": [-1]}, "`seeds` must be an integer, 0 or more.*-1"),
        ({"baseline": "plain"}, "one of the methods: none, DSD.*'plain'"),
        ({"methods": {}}, "`methods` must be an object"),
        ({"methods": {"a|b": {"methods": []}}}, r"in the table.*'a\|b'"),
        ({"methods": {"teacher": {"methods": []}}}, "not 'teacher'"),
        ({"methods": {"none": {"methods": [], "dim": 3}}}, "methods.none.*: dim$"),
        ({"methods": {"none": {"methods": ["S2SD"]}}}, "\"class\".*Received: 'S2SD'"),
        ({"eval_classes": "bars/*"}, "list of globs.*'bars/"),
        ({"training_classes": []}, r"`training_classes` must be a list.*\[\]"),
        ({"teacher": {"dim": 3}}, "`teacher` lacks backbone"),
        ({"teacher": {"backbone": "conv4", "dim": 3, "views": 0}}, "teacher.views"),
        ({"tuning": {"seeds": [0]}}, "`tuning` lacks validation_classes"),
        (
            {"methods": {"none": {"methods": [], "trials": [{}]}}},
            "Received: no tuning, and trials: none 1",
        ),
        (
            {
                "tuning": TUNING,
                "methods": {
                    "none": {"methods": [], "trials": [{}]},
                    "DSD": {"methods": [S2SD], "trials": [{}, {"weight": 1}]},
                },
            },
            "baseline included.*as many trials.*none 1, DSD 2",
        ),
        ({"tuning": TUNING}, "as many trials.*none 0, DSD 0"),
        ({"test_share": 0.3}, "eval_classes.*Received: test_share"),
        (
            {"methods": {**NONE, "DSD": {"methods": [S2SD], "against": "MSD"}}},
            "methods.DSD.against.*another method.*Received: against='MSD'",
        ),
        (
            {"methods": {**NONE, "DSD": {"methods": [S2SD], "against": "none"}}},
            "than itself and the baseline.*Received: against='none'",
        ),
    ],
)
def test_a_mistake_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        parsed(**changes)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"eval_classes": ["a"]}, "test_share.*Received: eval_classes"),
        ({"training_classes": ["a"]}, "test_share.*Received: training_classes"),
        ({"student": {"backbone": "conv4", "dim": 8}}, "of `student`.*Received: dim"),
        ({"teacher": {"backbone": "conv4", "dim": 8}}, "of `teacher`.*Received: dim"),
        ({"test_share": 1}, "`test_share` must be a number between.*test_share=1"),
        ({"tuning": TUNING}, "validation_share.*Received: validation_classes"),
        (
            {"tuning": {"validation_share": True, "seeds": [1]}},
            "`tuning.validation_share` must be a number.*=True",
        ),
    ],
)
def test_a_mistake_in_a_recipe_of_classifiers_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        recipe.parse(classifiers("pictures", **changes))


@pytest.mark.parametrize(
    "changes",
    [{"loss": "triplet_hard"}, {"loss_options": {"label_smoothing": 0.1}}],
)
def test_classifiers_have_one_loss(changes):
    made = recipe.parse(classifiers("pictures", **changes))
    message = "the loss 'cross_entropy', which has no options. Received: loss="
    with pytest.raises(ValueError, match=message):
        plan.settings(made, "none", IMAGES)


@pytest.mark.parametrize(
    "spec, message",
    [
        ({"class": "S3SD"}, "Expected one of .*S2SD.*Received: class='S3SD'"),
        ({"class": "S2SD", "dim": 8}, 'of "class": "S2SD".*dims.*Received: dim$'),
        ({"class": "PAD"}, "PAD needs term"),
        ({"class": "PAD", "term": {"class": "L3"}}, "Received: class='L3'"),
        ({"class": "TeacherTerm"}, "Received: class='TeacherTerm'"),
    ],
)
def test_an_unknown_class_or_option_is_refused(spec, message):
    with pytest.raises(ValueError, match=message):
        specification.resolved(spec)


def test_a_method_that_needs_a_teacher_is_refused_without():
    methods = {**NONE, "L2": {"methods": [{"class": "FeatureL2"}]}}
    with pytest.raises(ValueError, match="needs the field `teacher`.*'L2'"):
        settings("L2", methods=methods)


def test_a_method_that_learns_from_two_layers_of_the_teacher_is_refused():
    both = [{"class": "FeatureL2", "teacher_layer": "pooled"}]
    both.append({"class": "PAD", "term": {"class": "RKDDistance"}})
    methods = {**NONE, "both": {"methods": both}}
    teacher = {"backbone": "conv4", "dim": 3}
    message = "from one `teacher_layer`.*Received: 'both' with pooled, output"
    with pytest.raises(ValueError, match=message):
        settings("both", methods=methods, teacher=teacher)


def test_a_missing_or_broken_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no recipe here.*none\.json"):
        recipe.read(tmp_path / "none.json")
    path = tmp_path / "broken.json"
    path.write_text('{"name": ')
    with pytest.raises(ValueError, match=r"broken\.json: Expecting value"):
        recipe.read(path)


def test_a_method_named_twice_is_refused(tmp_path):
    path = tmp_path / "twice.json"
    text = json.dumps(tiny("pictures")).replace('"DSD"', '"none"')
    path.write_text(text)
    with pytest.raises(ValueError, match="Received twice: none"):
        recipe.read(path)


def test_steps_are_rounded_up_to_whole_epochs():
    found = settings(steps=6)
    assert (found["epochs"], found["steps"]) == (2, 8)
    raw = tiny("pictures", epochs=5)
    del raw["steps"]
    found = plan.settings(recipe.parse(raw), "none", IMAGES)
    assert (found["epochs"], found["steps"]) == (5, 20)


def test_settings_hold_what_the_recipe_left_at_its_default():
    found = settings()
    assert found["methods"][0]["class"] == "S2SD"
    assert found["methods"][0]["dims"] == [16]
    assert found["methods"][0]["pooling"] == "avg+max"
    assert found["loss"]["alpha"] == 2.0
    assert found["augment"]["fill_mode"] == "nearest"
    assert json.loads(json.dumps(found)) == found


def test_images_may_be_varied_by_several_layers_in_order():
    augment = [{"shift": 0.2}, {"class": "RandomDegradation", "share": 0.3}]
    found = settings(augment=augment)["augment"]
    assert [layer["class"] for layer in found] == ["RandomAffine", "RandomDegradation"]
    assert (found[0]["shift"], found[1]["share"]) == (0.2, 0.3)
    assert found[0]["fill_mode"] == "nearest" and found[1]["more"] == 0.2
    affine, degradation = specification.make_augment(found)
    assert isinstance(affine, kd.layers.RandomAffine) and affine.shift == 0.2
    assert isinstance(degradation, kd.layers.RandomDegradation)
    assert degradation.share == 0.3


def test_a_method_may_have_a_loss_a_budget_and_a_rate_of_its_own():
    own = {"methods": [], "loss": "contrastive", "steps": 20}
    own["optimizer"] = {"learning_rate": 0.5}
    methods = {**NONE, "other": own}
    found = settings("other", methods=methods, loss_options={"alpha": 3.0})
    assert found["loss"]["class"] == "contrastive" and "alpha" not in found["loss"]
    assert found["steps"] == 20
    assert found["optimizer"] == {"learning_rate": 0.5, "weight_decay": 0.0}
    plain = settings("none", methods=methods, loss_options={"alpha": 3.0})
    assert plain["loss"]["alpha"] == 3.0 and plain["steps"] == 8


def test_a_trial_overrides_loss_rate_and_options():
    trial = {"weight": 3, "learning_rate": 0.5, "loss_options": {"alpha": 4.0}}
    made = parsed()
    found = plan.settings(made, "DSD", IMAGES, trial)
    assert found["methods"][0]["weight"] == 3 and found["methods"][0]["dims"] == [16]
    assert found["optimizer"]["learning_rate"] == 0.5
    assert found["loss"]["alpha"] == 4.0
    assert plan.settings(made, "DSD", IMAGES) == settings(), "the recipe stays"


def test_a_trial_reaches_the_term_of_a_wrapper_and_one_of_several_methods():
    pad = {"class": "PAD", "term": {"class": "FeatureL2", "weight": 8}}
    entry = {"methods": [pad], "optimizer": {}, "loss_options": {}}
    found = plan.with_trial(entry, {"term": {"weight": 2}}, "PAD")
    assert found["methods"][0]["term"] == {"class": "FeatureL2", "weight": 2}
    entry["methods"] = [dict(S2SD), {"class": "OBDSD"}]
    found = plan.with_trial(entry, {"OBDSD": {"omega": 0.5}}, "both")
    assert found["methods"] == [S2SD, {"class": "OBDSD", "omega": 0.5}]
    with pytest.raises(ValueError, match="one of: S2SD, OBDSD. Received: omega"):
        plan.with_trial(entry, {"omega": 0.5}, "both")


def test_the_width_of_a_cached_teacher_reaches_the_terms_that_need_it():
    spec = {"class": "PAD", "term": {"class": "FeatureL2"}, "warm_up": 2}
    made = specification.make(specification.resolved(spec), teacher_dim=12)
    assert made.term.teacher_dim == 12
    kl = specification.make({"class": "RelationalKL"}, teacher_dim=12)
    assert kl.teacher_dim is None


def test_what_is_cached_of_a_layer_is_all_that_the_teacher_says():
    spec = {"class": "PAD", "term": {"class": "FeatureL2", "teacher_layer": "pooled"}}
    spec = specification.resolved(spec)
    assert specification.teacher_layers([spec, {"class": "OBDSD"}]) == ["pooled"]
    made = specification.make(spec, teacher_dim=12)
    assert made.teacher_layers == () and made.term.teacher_dim == 12
