"""Models that programs are given by path."""

import pathlib


def load(path):
    """The model in a `.keras` file or in a run folder; a distiller's student.

    Raises:
        FileNotFoundError: If there is none.
    """
    import keras

    from keras_distill import distiller, layers, models  # noqa: F401, registered

    path = pathlib.Path(path)
    if path.is_dir():
        path = path / "student.keras"
    if not path.is_file():
        raise FileNotFoundError(f"There is no model here. Received: {path}")
    model = keras.saving.load_model(path, compile=False)
    return getattr(model, "student", model)
