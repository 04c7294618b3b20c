"""What a training program left in its folder, read to be exported."""

import dataclasses
import glob
import json

STUDENT, EMBEDDER, SCORER = "student.keras", "embedder.keras", "scorer.keras"


@dataclasses.dataclass(frozen=True)
class FinishedRun:
    """A run, its models loaded.

    Attributes:
        recipe: Dictionary, its `recipe.json`.
        student: `keras.Model`, its embedder or detector.
        scorer: `keras.Model` that scores images, or `None` if there is none.
        degradation: The layer that spoilt the images which the scorer learnt from,
            or `None` where no recipe beside the scorer says.
    """

    recipe: dict
    student: object
    scorer: object
    degradation: object

    @property
    def eval_classes(self):
        """Globs that name the classes held out by the run; `None` by the data set."""
        folds = _resolved(self.recipe, "folds")
        if folds is None:
            return self.recipe["arguments"].get("eval_classes")
        # The models are those of the last fold.
        return [glob.escape(name) for name in folds[-1]["unseen"]]


def read(folder, scorer=None):
    """Reads a finished run.

    Args:
        folder: `pathlib.Path` of what `train.embedder`, `train.detector` or
            `train.groups` filled. The latter has a scorer too.
        scorer: `pathlib.Path` of the `.keras` file of a scorer, used in place of the
            run's own, or `None`.

    Returns:
        A `FinishedRun`.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a recipe is not one.
    """
    of_groups = (folder / EMBEDDER).is_file()
    for name in ("recipe.json", EMBEDDER if of_groups else STUDENT):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"A finished run is a folder that holds recipe.json and {STUDENT}, or "
                f"{EMBEDDER} and {SCORER}. Received: {folder}, without {name}"
            )
    # Before its end, the two models may be those of different folds.
    if of_groups and not (folder / "metrics.json").is_file():
        raise FileNotFoundError(
            "The run has not ended: go on with it (train.groups --resume). "
            f"Received: {folder}, without metrics.json"
        )
    recipe = _recipe(folder / "recipe.json")
    student = _model(folder / (EMBEDDER if of_groups else STUDENT))
    if scorer is None and of_groups:
        scorer = folder / SCORER
    if scorer is None:
        return FinishedRun(recipe, student, None, None)
    if not scorer.is_file():
        raise FileNotFoundError(
            f"A scorer is a file such as {SCORER}. Received: {scorer}"
        )
    return FinishedRun(recipe, student, _model(scorer), _degradation(scorer))


def _degradation(scorer):
    """What the scorer was made to see, by the recipe beside it."""
    from keras_distill.layers import RandomDegradation

    path = scorer.parent / "recipe.json"
    strengths = _resolved(_recipe(path), "degrade") if path.is_file() else None
    return None if strengths is None else RandomDegradation(**strengths)


def _recipe(path):
    try:
        recipe = json.loads(path.read_text(encoding="utf-8"))
        recipe["arguments"]["data"], recipe["seed"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            "recipe.json must be JSON that has the arguments and the seed of the run. "
            f"Received: {path} ({type(error).__name__}: {error})"
        ) from error
    return recipe


def _resolved(recipe, name):
    """What the run made of an argument that was left open, if it says."""
    return recipe.get("resolved", {}).get(name)


def _model(path):
    import keras

    # Its layers and detectors are registered.
    from keras_distill import layers, models  # noqa: F401

    return keras.saving.load_model(path, compile=False)
