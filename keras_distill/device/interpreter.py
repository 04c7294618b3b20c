"""Open a .tflite file in whichever interpreter there is."""

from keras_distill.device.quiet import without_chatter
from keras_distill.device.runtime import find_runtime


def open_interpreter(model, runtime=None, threads=1):
    """Makes an interpreter that is ready to be invoked.

    Args:
        model: Bytes of a .tflite file.
        runtime: See `find_runtime`. Defaults to `None`.
        threads: Positive integer, how many threads it may use. Defaults to `1`.

    Returns:
        `(runtime, interpreter)`: the `Runtime` in use and its interpreter, with
        tensors allocated.

    Raises:
        ValueError: If `runtime` is unknown, `threads` is not a positive integer, or
            the file cannot be run.
        ImportError: If the runtime is not installed.
    """
    if not isinstance(threads, int) or threads < 1:
        raise ValueError(
            f"`threads` must be a positive integer. Received: threads={threads!r}"
        )
    runtime = find_runtime(runtime)
    try:
        with without_chatter():
            interpreter = runtime.interpreter(
                model_content=bytes(model), num_threads=threads
            )
            interpreter.allocate_tensors()
            # Of a damaged file even this list can fail.
            interpreter.get_signature_list()
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"{runtime.name} {runtime.version} cannot run this model: {error}"
        ) from error
    return runtime, interpreter
