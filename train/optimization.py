"""How the programs train: the augmentation, and the optimiser with its schedule."""

AFFINE = {"shift": 0.1, "rotation": 15.0, "scale": 0.25, "shear": 15.0}
# What a hand does to a printed character, beside `AFFINE`: layers and their arguments.
HAND = (
    ("RandomStrokeWidth", {"thicker": 0.7, "thinner": 1.5}),
    ("RandomElastic", {"amplitude": 0.3, "nodes": 5}),  # bends it
    ("RandomElastic", {"amplitude": 0.12, "nodes": 9}),  # lets its lines tremble
)
WARM_UP = 0.05  # of all steps; then a cosine down to 0


def augmentation(hand=False):
    """What varies the images of a run.

    Args:
        hand: Whether they are varied as drawing by hand varies characters.

    Returns:
        A list of layers for `class_balanced`, and what `recipe.json` says of them.
    """
    from keras_distill import layers

    affine = layers.RandomAffine(**AFFINE)
    if not hand:
        return [affine], AFFINE
    strokes = [getattr(layers, name)(**options) for name, options in HAND]
    said = [{"class": name, **options} for name, options in HAND]
    return [*strokes, affine], [*said, {"class": "RandomAffine", **AFFINE}]


def check(learning_rate, weight_decay):
    """Raises ValueError if what the flags of these names say is out of range."""
    if not 0 < learning_rate < float("inf"):
        raise ValueError(f"--learning-rate must be positive. Received: {learning_rate}")
    if not 0 <= weight_decay < float("inf"):
        raise ValueError(
            f"--weight-decay must not be negative. Received: {weight_decay}"
        )


def adamw(steps, learning_rate, weight_decay):
    """AdamW under a rate that is a function of the step: a resumed run follows it.

    Args:
        steps: Integer, those of the whole run.
        learning_rate: Float, the highest.
        weight_decay: Float >= 0.
    """
    import keras

    warm_up = max(1, round(WARM_UP * steps))
    rate = keras.optimizers.schedules.CosineDecay(
        0.0,
        decay_steps=max(1, steps - warm_up),
        warmup_target=learning_rate,
        warmup_steps=warm_up,
    )
    return keras.optimizers.AdamW(rate, weight_decay=weight_decay)
