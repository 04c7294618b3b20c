"""A fold: a scorer fitted on proxy classes, groups of unseen ones measured."""

import inspect
import json
import pathlib
import sys
import time

import keras_distill as kd
from keras_distill import atomic
from train import optimization, saved_model
from train.grouping import embedding, evaluation, picture, poolings, protocol

WEIGHT_DECAY = 1e-4  # of the scorer
PICTURED = 7  # groups


def run(fold, images, settings, out):
    """Trains and measures; what ends is kept in the backup of the run.

    Args:
        fold: `folds.Fold`.
        images: `ImageSet` of all classes.
        settings: Dictionary of what the program's arguments were made into.
        out: Path of the run folder. `scorer.keras`, `embedder.keras` and `groups.png`
            become those of this fold.

    Returns:
        Dictionary of what was measured.
    """
    import keras

    keras.backend.clear_session()
    began = time.perf_counter()
    proxy = images.take_classes(fold.proxy)
    draws = _draws(fold, images, settings, settings["draws"])
    unseen = draws.images
    embedder = _embedder(fold, proxy, settings, out)
    with atomic.file(out / "embedder.keras") as temporary:  # before DDL freezes it
        embedder.save(temporary)
    views = {
        "proxy": _views(settings, settings["views"], fold.seed),
        "unseen": _views(settings, settings["draws"], fold.seed),
    }
    scorer, loss = _scorer(embedder, proxy, views["proxy"], settings, fold.seed)
    members = evaluation.members(
        embedder, scorer, proxy, views["proxy"], draws, views["unseen"]
    )
    result = {
        "fold": fold.number + 1,
        "seed": fold.seed,
        "classes": {"proxy": len(fold.proxy), "unseen": len(unseen.class_names)},
        "images": {"proxy": len(proxy), "unseen": len(unseen)},
        "classes_too_small": draws.left_out,
        "embedder": kd.metrics.retrieval_report(
            *kd.metrics.embed(embedder, unseen), nmi=False
        ),
        "scorer_loss": loss,
        **evaluation.evaluate(members, draws),
    }
    with atomic.file(out / "scorer.keras") as temporary:
        scorer.save(temporary)
    shown = _shown(members, draws, views["unseen"], fold.seed)
    with atomic.file(out / "groups.png") as temporary:
        picture.picture(shown).savefig(temporary)
    return {**result, "seconds": round(time.perf_counter() - began, 1)}


def check(fold, images, settings):
    """Refuses what could not be measured, before anything is trained.

    Raises:
        ValueError: If too few unseen classes have images for groups, or give pairs.
    """
    protocol.fars(_draws(fold, images, settings, 1).pairs[1])


def finished(out):
    """What the folds that have ended measured: dictionary from numbers from 0."""
    found = {}
    for path in sorted(_backup(out).glob("fold_*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        found[result["fold"] - 1] = result
    return found


def keep(result, out):
    """Keeps what a fold measured for a resumption."""
    path = _backup(out) / f"fold_{result['fold']}.json"
    atomic.write_text(path, json.dumps(result, indent=2))


def degradation(options):
    """What befalls members of groups, as a layer.

    Raises:
        ValueError: If it takes no such option, or not in that range.
    """
    from train import methods

    methods.check(options, kd.layers.RandomDegradation, "--degrade")
    return kd.layers.RandomDegradation(**options)


def degrade_config(options):
    """Every strength of the degradation, those left at their default as well."""
    config = degradation(options).get_config()
    named = inspect.signature(kd.layers.RandomDegradation).parameters
    return {k: config[k] for k in named if k in config and k != "seed"}


def _draws(fold, images, settings, count):
    unseen = images.take_classes(fold.unseen)
    return protocol.draw(unseen, settings["size"], settings["groups"], count, fold.seed)


def _views(settings, count, seed):
    return kd.data.FixedViews(degradation(settings["degrade"]), count, seed)


def _embedder(fold, proxy, settings, out):
    """The one given, or one trained on the proxy classes, once."""
    if settings["embedder"] is not None:
        return saved_model.load(settings["embedder"])
    path = _backup(out) / f"embedder_{fold.number + 1}.keras"
    if path.exists():
        return saved_model.load(path)
    model = embedding.train(proxy, settings["embedder_options"], fold.seed)
    with atomic.file(path) as temporary:
        model.save(temporary)
    return model


def _scorer(embedder, proxy, views, settings, seed):
    """The scorer, and its last loss."""
    import keras

    from train.progress import EpochLine, Stopwatch

    keras.utils.set_random_seed(seed)
    batches = kd.data.proxy_views(proxy, views, settings["batch_size"], seed)
    total = len(proxy) * views.count
    steps = -(-total // settings["batch_size"])
    ddl = kd.DDL(embedder, kd.models.scorer(proxy.image_shape, settings["width"]))
    ddl.compile(
        optimization.adamw(
            settings["epochs"] * steps, settings["learning_rate"], WEIGHT_DECAY
        )
    )
    terminal = sys.stdout.isatty()
    print(f"Scorer: {settings['epochs']} epochs of {total:,} views", flush=True)
    history = ddl.fit(
        batches,
        epochs=settings["epochs"],
        verbose=1 if terminal else 0,
        callbacks=[Stopwatch()] + ([] if terminal else [EpochLine(total)]),
    ).history
    return ddl.scorer, history["loss"][-1]


def _shown(members, draws, views, seed):
    """Groups of the first draw, of classes drawn by lot, for the picture."""
    import numpy as np

    from keras_distill.methods.ddl import group_weights

    groups = evaluation.of_draw(members, 0)
    weights = np.asarray(group_weights(groups.scores))
    some = np.random.default_rng(seed).permutation(np.flatnonzero(draws.gallery))
    found = []
    for group in some[:PICTURED]:
        rows = draws.rows[0, group]
        pixels = np.asarray(views.of(draws.images)(rows, np.zeros_like(rows)))
        found.append(
            {
                "name": draws.images.class_names[draws.labels[group]],
                "images": np.clip(np.rint(pixels), 0, 255).astype(np.uint8),
                "scores": groups.scores[group],
                "truth": groups.truth[group],
                "weights": weights[group],
            }
        )
    return found


def _backup(out):
    return pathlib.Path(out) / "backup"


def line(result):
    """One line about a fold that has ended."""
    first = protocol.headline(result["pairs"]["impostor"])
    key = f"tar_at_far_{first:g}"
    names = (poolings.BASELINE, poolings.OURS, poolings.BEST)
    said = ", ".join(
        f"{name} {100 * result['figures'][name][key]:.1f}" for name in names
    )
    return f"TAR@FAR={first:g}: {said}; {result['seconds']:.0f} s"
