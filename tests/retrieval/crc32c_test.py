import numpy as np
import pytest

from keras_distill.retrieval.crc32c import crc32c, masked


# RFC 3720, appendix B.4, and the check value of the CRC catalogue.
@pytest.mark.parametrize(
    "data, expected",
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
)
def test_has_the_published_values(data, expected):
    assert crc32c(data) == expected


@pytest.mark.parametrize("length", [1, 2, 3, 99, 100, 101, 4096, 70_001])
def test_is_the_division_bit_by_bit(length):
    data = np.random.default_rng(length).integers(0, 256, length, np.uint8).tobytes()
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
    assert crc32c(data) == register ^ 0xFFFFFFFF


def test_a_mask_is_rotated_and_moved():
    # LevelDB's own: rotate right by 15, add 0xa282ead8.
    assert masked(0) == 0xA282EAD8
    assert masked(1) == 0xA284EAD8
    assert masked(0xFFFFFFFF) == 0xA282EAD7
