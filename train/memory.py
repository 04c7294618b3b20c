"""How much memory a process has held, as Linux counts it."""

import pathlib


def peak(reset=False):
    """The most memory held so far, in bytes; None where the system does not say.

    Args:
        reset: Whether to forget the peak until now, first.
    """
    process = pathlib.Path("/proc/self")
    try:
        if reset:
            (process / "clear_refs").write_text("5")
        lines = (process / "status").read_text().splitlines()
    except OSError:
        return None
    line = next(line for line in lines if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
