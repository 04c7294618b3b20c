"""Which TensorFlow Lite interpreter there is to run a model with."""

import dataclasses
import importlib
import importlib.metadata

# In the order of preference: name of the distribution, module of its interpreter.
RUNTIMES = {
    "ai-edge-litert": "ai_edge_litert.interpreter",
    "tflite-runtime": "tflite_runtime.interpreter",
}


@dataclasses.dataclass(frozen=True)
class Runtime:
    """An installed interpreter.

    Attributes:
        name: String, one of `RUNTIMES`.
        version: String.
        interpreter: Its class `Interpreter`.
    """

    name: str
    version: str
    interpreter: type


def find_runtime(name=None):
    """Imports an interpreter.

    Args:
        name: `"ai-edge-litert"` or `"tflite-runtime"`, or `None` for the first of
            them that is installed. Defaults to `None`.

    Returns:
        A `Runtime`.

    Raises:
        ValueError: If there is no runtime of that name.
        ImportError: If it is not installed; or is, and cannot be imported.
    """
    if name is not None and name not in RUNTIMES:
        raise ValueError(
            f"`runtime` must be one of {', '.join(map(repr, RUNTIMES))}. "
            f"Received: runtime={name!r}"
        )
    for candidate in RUNTIMES if name is None else [name]:
        try:
            version = importlib.metadata.version(candidate)
        except importlib.metadata.PackageNotFoundError:
            continue
        try:
            module = importlib.import_module(RUNTIMES[candidate])
        except ImportError as error:
            # The usual cause: tflite-runtime was built for numpy 1.
            raise ImportError(
                f"{candidate} {version} is installed but cannot be imported: {error}. "
                "tflite-runtime needs numpy<2."
            ) from error
        return Runtime(candidate, version, module.Interpreter)
    raise ImportError(
        "No TensorFlow Lite interpreter is installed: pip install "
        f"{name or 'ai-edge-litert'}. Received: runtime={name!r}"
    )
