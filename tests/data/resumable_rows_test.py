import numpy as np
import pytest

from keras_distill.data.resumable_rows import ResumableRows, held

ROWS = np.arange(24, dtype=np.float32).reshape(8, 3)


@pytest.fixture
def opened(tmp_path):
    """Opens the same array again and again, as processes would one after another."""

    def rows(act, leading=(2, 4)):
        with (
            held(tmp_path / "journal") as journal,
            ResumableRows(tmp_path / "a.npy", journal, leading) as array,
        ):
            return act(array)

    return rows


def append(*blocks):
    def act(array):
        for start, stop in blocks:
            array.append(ROWS[start:stop])

    return act


def finished(array):
    return array.finished


def test_what_was_written_is_an_array_of_numpy(opened, tmp_path):
    opened(append((0, 3), (3, 8)))
    found = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert found.shape == (2, 4, 3) and found.dtype == np.float32
    np.testing.assert_array_equal(found.reshape(8, 3), ROWS)


def test_it_goes_on_where_it_stopped_with_blocks_of_any_size(opened, tmp_path):
    assert opened(finished) == 0
    opened(append((0, 3)))
    assert opened(lambda array: (array.finished, array.dim)) == (3, 3)
    opened(append((3, 4), (4, 6)))
    np.testing.assert_array_equal(opened(lambda a: a.read([5, 0])), ROWS[[5, 0]])
    opened(append((6, 8)))
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy").reshape(8, 3), ROWS)


def test_half_a_block_is_cut_off(opened, tmp_path):
    opened(append((0, 3)))
    whole = (tmp_path / "a.npy").read_bytes()
    with open(tmp_path / "a.npy", "ab") as stream:
        stream.write(ROWS[3:6].tobytes()[:-5])
    assert opened(finished) == 3
    assert (tmp_path / "a.npy").read_bytes() == whole


@pytest.mark.parametrize(
    "harm, kept",
    [
        (lambda array, journal: (array[:-1], journal), 3),  # not all on the disk
        (lambda array, journal: (array[:-8] + bytes(8), journal), 3),  # zeros instead
        (lambda array, journal: (array, journal[:-1]), 3),  # half a line
        (lambda array, journal: (array, journal + b"nonsense\n"), 6),
        (lambda array, journal: (array, journal + b"8 00000000\n"), 6),
        (lambda array, journal: (array, b""), 0),
        (lambda array, journal: (array[:20], journal), 0),  # half a header
        (lambda array, journal: (b"", journal), 0),
        (lambda array, journal: (array[:140] + b"?" + array[141:], journal), 0),
    ],
)
def test_nothing_is_trusted_that_is_not_whole(opened, tmp_path, harm, kept):
    opened(append((0, 3), (3, 6)))
    files = tmp_path / "a.npy", tmp_path / "journal"
    for file, data in zip(files, harm(*(f.read_bytes() for f in files)), strict=True):
        file.write_bytes(data)
    assert opened(finished) == kept
    opened(append((kept, 7), (7, 8)))
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy").reshape(8, 3), ROWS)


def test_rows_of_another_shape_are_begun_anew(opened):
    opened(append((0, 3)))
    assert opened(finished, leading=(8,)) == 0


def test_only_one_can_hold_a_file(tmp_path):
    with held(tmp_path / "journal"):
        with pytest.raises(BlockingIOError):
            with held(tmp_path / "journal"):
                pass
    with held(tmp_path / "journal"):
        pass
