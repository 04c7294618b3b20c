import sys

import numpy as np
import pytest

from keras_distill.device.embedder import Embedder
from keras_distill.retrieval.runtime_stage import check_runtimes, embed_elsewhere
from tests import tiny_embedder


def test_embeds_the_images_asked_for_as_that_runtime_does():
    model, rows = tiny_embedder.converted(), np.array([3, 50, 119])
    found, about = embed_elsewhere(
        sys.executable, model, tiny_embedder.catalogue(), rows
    )
    expected = Embedder(model).embed(tiny_embedder.images()[0][rows])
    np.testing.assert_array_equal(found, expected)
    assert about["runtime"] == "ai-edge-litert" and about["milliseconds"] > 0


def test_what_the_other_python_said_is_in_the_message(tmp_path):
    program = tmp_path / "python"
    program.write_text(
        "#!/bin/sh\necho first >&2\necho no interpreter here >&2\nexit 3\n"
    )
    program.chmod(0o755)
    with pytest.raises(ValueError, match="ended with no interpreter here"):
        embed_elsewhere(program, b"", tiny_embedder.catalogue(), np.array([0, 1]))
    program.write_text("not a program")
    with pytest.raises(ValueError, match="path of a Python that has one.*Exec format"):
        embed_elsewhere(program, b"", tiny_embedder.catalogue(), np.array([0]))


def test_a_path_that_is_no_program_is_refused_at_once(tmp_path):
    check_runtimes([sys.executable])
    with pytest.raises(ValueError, match=f"Received: {tmp_path}"):
        check_runtimes([sys.executable, tmp_path])
