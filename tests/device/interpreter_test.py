"""A file is opened once for all that run one, or refused with the runtime's name."""

import pytest

from keras_distill.device.interpreter import open_interpreter
from tests import tiny_embedder


@pytest.fixture(scope="module")
def model():
    return (tiny_embedder.bundle() / "embed_int8.tflite").read_bytes()


def test_it_is_ready_to_be_invoked(model):
    runtime, interpreter = open_interpreter(model, "ai-edge-litert", threads=2)
    assert runtime.name == "ai-edge-litert"
    interpreter.invoke()
    assert list(interpreter.get_signature_list()) == ["embed"]


@pytest.mark.parametrize("threads", [0, -1, 1.5, None])
def test_threads_are_counted_from_one(model, threads):
    with pytest.raises(ValueError, match=f"positive integer.*threads={threads}"):
        open_interpreter(model, threads=threads)


@pytest.mark.parametrize("content", [b"", b"no model"])
def test_what_is_no_model_is_refused(content):
    with pytest.raises(ValueError, match="ai-edge-litert .* cannot run this model"):
        open_interpreter(content, "ai-edge-litert")


def test_an_unknown_runtime_is_refused(model):
    with pytest.raises(ValueError, match="`runtime` must be one of.*'other'"):
        open_interpreter(model, "other")
