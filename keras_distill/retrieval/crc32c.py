"""CRC-32C of large buffers, in numpy: the checksum of LevelDB's tables.

A checksum takes its bytes one after another. But it is linear: those of the pieces of
a buffer can be taken side by side, each from a register of zeros, and put together by
what a piece's length of zero bytes does to a register.
"""

import functools

import numpy as np

POLYNOMIAL = 0x82F63B78  # Castagnoli's, bits reversed: RFC 3720, appendix B.4
_MASK = 0xA282EAD8


def crc32c(data):
    """CRC-32C of bytes, an integer below 2**32; 0 for none.

    RFC 3720, section 12.1; `crc32c(b"123456789")` is 0xE3069283.

    Args:
        data: Bytes.
    """
    table = _table()
    rows = max(1, int(len(data) ** 0.5))
    length = len(data) // rows
    pieces = np.frombuffer(data, np.uint8, rows * length).reshape(rows, length)
    registers = np.zeros(rows, np.uint32)
    for column in np.ascontiguousarray(pieces.T):
        registers = table[(registers ^ column) & 0xFF] ^ (registers >> 8)
    register, zeros = 0xFFFFFFFF, _after_zeros(length)
    for piece in registers.tolist():
        register = _applied(zeros, register) ^ piece
    steps = table.tolist()
    for byte in data[rows * length :]:
        register = steps[(register ^ byte) & 0xFF] ^ (register >> 8)
    return register ^ 0xFFFFFFFF


def masked(checksum):
    """A checksum as LevelDB stores it, so that data with checksums can have one."""
    return ((checksum >> 15 | checksum << 17) + _MASK) & 0xFFFFFFFF


@functools.cache
def _table():
    """uint32 `(256,)`: what one byte does to a register of zeros."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = (table >> 1) ^ np.where(table & 1, np.uint32(POLYNOMIAL), np.uint32(0))
    return table


@functools.lru_cache(64)
def _after_zeros(count):
    """The 32 registers that single bits become after `count` bytes of zeros.

    Squared, as powers are: what 2 n zeros do is what n zeros do, twice.
    """
    step = [register >> 8 for register in (1 << bit for bit in range(32))]
    step = [int(_table()[(1 << b) & 0xFF]) ^ r for b, r in enumerate(step)]
    result = [1 << bit for bit in range(32)]
    while count:
        if count & 1:
            result = [_applied(step, register) for register in result]
        step = [_applied(step, register) for register in step]
        count >>= 1
    return result


def _applied(columns, register):
    """A linear map, by what it makes of each bit, of a register."""
    result = 0
    for column in columns:
        if register & 1:
            result ^= column
        register >>= 1
    return result
