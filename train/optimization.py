"""How the programs train: the augmentation, and the optimiser with its schedule."""

AFFINE = {"shift": 0.1, "rotation": 15.0, "scale": 0.25, "shear": 15.0}
WARM_UP = 0.05  # of all steps; then a cosine down to 0


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
