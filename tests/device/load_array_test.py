import numpy as np
import pytest

from keras_distill.device.load_array import load_array


def test_an_array_arrives_as_it_is(tmp_path):
    rows = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.save(tmp_path / "a.npy", rows)
    np.testing.assert_array_equal(load_array(tmp_path / "a.npy"), rows)


def test_what_is_no_array_is_a_value_error(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 3), np.float32))
    whole = (tmp_path / "a.npy").read_bytes()
    damaged = [
        b"",
        whole[:-1],
        whole[:30],
        whole.replace(b"(2, 3)", b"(2, (3"),  # not even Python
        whole.replace(b"(2, 3), ", b"(9999999999999,9), "[:8]),
        whole.replace(b"<f4", b"|O8"),
    ]
    for content in damaged:
        (tmp_path / "b.npy").write_bytes(content)
        with pytest.raises(ValueError, match="must be an array. Received: .*b.npy"):
            load_array(tmp_path / "b.npy")
    np.savez(tmp_path / "c.npz", a=np.zeros(3))
    with pytest.raises(ValueError, match="one array.*an archive"):
        load_array(tmp_path / "c.npz")
    with pytest.raises(FileNotFoundError):
        load_array(tmp_path / "none.npy")
