"""The images of a run: to train on and held out, and how training shows them."""

import keras_distill as kd
from train import optimization


def load(args):
    """The images to train on, and those held out: a dictionary by their role.

    Args:
        args: Arguments of `train.embedder`.

    Returns:
        `(images, held_out)`: an `ImageSet`, and a dictionary of such with
        `"evaluation"` and, where a share of the classes was asked for, `"validation"`.
    """
    print(f"Reading {args.data}", flush=True)
    images, evaluation = kd.data.load(
        args.data, image_size=args.image_size, eval_classes=args.eval_classes
    )
    held_out = {"evaluation": evaluation}
    if args.validation_classes is not None:
        images, held_out["validation"] = _split(
            images, args.validation_classes, args.seed
        )
    for role, some in {"training": images, **held_out}.items():
        classes = len(some.class_names)
        print(f"{len(some):>8,} images of {classes:,} classes: {role}", flush=True)
    return images, held_out


def described(images, held_out):
    """What `recipe.json` says of these images."""
    return {
        "name": images.name,
        "fingerprint": images.fingerprint(),
        "image_shape": list(images.image_shape),
        "train": _counts(images),
        **{name: _counts(some) for name, some in held_out.items()},
    }


def views(args, images, teacher, terms):
    """How `class_balanced` shows the images, and the teacher's answers to that.

    Args:
        args: Arguments of `train.embedder`.
        images: `ImageSet` to train on.
        teacher: `keras.Model` or `None`.
        terms: List of methods.

    Returns:
        Dictionary of arguments of `class_balanced`.

    Raises:
        ValueError: If a cache is asked for, and a method reads the teacher's inner
            layers.
    """
    augment, _ = augmentation(args)
    if args.teacher_cache is None:
        return {"augment": augment}
    layers = [layer for term in terms for layer in term.teacher_layers]
    if layers:
        raise ValueError(
            "A cache holds what the teacher puts out, not its inner layers: leave "
            f"--teacher-cache out. Received: teacher_layer={layers[0]}"
        )
    views = kd.data.FixedViews(augment, args.teacher_views if args.augment else 1)
    cache = kd.data.cache_embeddings(teacher, images, args.teacher_cache, views)
    return {"augment": views, "teacher": cache}


def augmentation(args):
    """The layers that vary the images and what the recipe says of them, or `None`s."""
    return optimization.augmentation(args.hand) if args.augment else (None, None)


def _split(images, share, seed):
    """Divides a data set by classes, at random under the seed."""
    import numpy as np

    names = np.random.default_rng(seed).permutation(sorted(images.class_names))
    count = round(share * len(names))
    if not 0 < share < 1 or not 0 < count < len(names):
        raise ValueError(
            "--validation-classes must be a share, between 0 and 1, that leaves "
            f"classes on both sides. Received: {share} of {len(names)} classes"
        )
    return images.take_classes(names[count:]), images.take_classes(names[:count])


def _counts(images):
    return {"classes": len(images.class_names), "images": len(images)}
