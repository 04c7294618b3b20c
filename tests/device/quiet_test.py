import os
import sys

import pytest

from keras_distill.device.quiet import without_chatter

CHATTER = [
    b"WARNING: All log messages before absl::InitializeLog() is called are here\n",
    b"W0000 00:00:1795179970.759416    5455 flatbuffer_helpers.cc:364] Ignored.\n",
    b"I0000 00:00:1795179970.771547    5455 optimization_pass.cc:437] Not enabled\n",
    b"2026-11-20 13:02:23.123456: I tensorflow/core/x.cc:1] oneDNN\n",
    b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n",
]
NEWS = [
    b"E0000 00:00:1795179970.759416    5455 converter.cc:9] It cannot be done\n",
    b"F0000 00:00:1795179970.759416    5455 converter.cc:9] It crashes\n",
    b"ERROR: Didn't find op for builtin opcode\n",
    b"WARNING: the disk is nearly full\n",
    b"Indexing 42 images\n",
]


def test_drops_the_chatter_of_compiled_code_and_nothing_else(capfd):
    with without_chatter():
        for line in CHATTER + NEWS:
            os.write(2, line)
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == b"".join(NEWS).decode() + "afterwards\n"


def test_what_python_prints_inside_is_kept(capfd):
    with without_chatter():
        print("from Python", file=sys.stderr)
    assert capfd.readouterr().err == "from Python\n"


def test_an_error_carries_all_that_was_said_before_it(capfd):
    with pytest.raises(RuntimeError, match="no memory") as caught, without_chatter():
        os.write(2, CHATTER[1])
        raise RuntimeError("no memory")
    assert CHATTER[1].decode().strip() in caught.value.__notes__[0]
    print("afterwards", file=sys.stderr)
    assert capfd.readouterr().err == "afterwards\n"
