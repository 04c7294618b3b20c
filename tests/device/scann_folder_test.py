import subprocess
import sys

import pytest

from keras_distill.device import scann_folder
from keras_distill.device.scann_folder import ScannFolder, import_scann
from tests.conftest import ROOT


def test_where_scann_is_missing_it_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(scann_folder, "has_scann", lambda: False)
    (tmp_path / "scann_config.pb").touch()
    (tmp_path / "settings.json").write_text('{"kind": "brute_force"}')
    with pytest.raises(ImportError, match="not installed.*or search with numpy"):
        ScannFolder(tmp_path)


def test_where_there_is_no_index_it_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"no ScaNN index.*folder={tmp_path}"):
        ScannFolder(tmp_path)


def test_scann_is_imported_without_tensorflow_and_leaves_it_importable():
    pytest.importorskip("scann", reason="ScaNN is not installed here")
    program = (
        "import sys\n"
        "from keras_distill.device.scann_folder import import_scann\n"
        "assert import_scann().scann_ops_pybind and import_scann() is import_scann()\n"
        "assert not [name for name in sys.modules if name.startswith('tensorflow')]\n"
        "import tensorboard\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_an_import_leaves_tensorflow_as_it_was(monkeypatch):
    pytest.importorskip("scann", reason="ScaNN is not installed here")
    import tensorflow as tf

    monkeypatch.delitem(sys.modules, "scann")
    assert import_scann() is sys.modules["scann"]
    assert sys.modules["tensorflow"] is tf
