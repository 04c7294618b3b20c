"""What is asked of an index is checked before ScaNN is: it need not be here."""

import numpy as np
import pytest

from keras_distill.retrieval import build_index
from keras_distill.retrieval.scann_index import index_kind, unit_rows


def unit(count, dim=16):
    rows = np.random.default_rng(0).normal(size=(count, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_large_catalogues_get_a_tree():
    assert index_kind(19_999) == "brute_force" and index_kind(20_000) == "tree"
    assert index_kind(20_000, "brute_force") == "brute_force"


def test_refuses_and_says_what_it_got(tmp_path):
    with pytest.raises(ValueError, match="'brute_force', 'tree' or None.*kind='ah'"):
        build_index(unit(9), tmp_path, "ah")
    for recall in (0, 1.01):
        with pytest.raises(ValueError, match=rf"\(0, 1\].*recall={recall}"):
            build_index(unit(9), tmp_path, recall=recall)
    with pytest.raises(ValueError, match=r"at least 256.*shape=\(9, 16\)"):
        build_index(unit(9), tmp_path, "tree")
    rows = unit(9)
    rows[4] *= 2
    with pytest.raises(ValueError, match="row 4 of length 2.0000"):
        build_index(rows, tmp_path)
    rows[4, 0] = np.nan
    with pytest.raises(ValueError, match="row 4 of length nan"):
        build_index(rows, tmp_path)
    with pytest.raises(ValueError, match=r"shape=\(0, 16\)"):
        unit_rows(rows[:0])
    assert not list(tmp_path.iterdir())
