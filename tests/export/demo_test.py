import base64
import json
import shutil
import signal
import subprocess
import sys
import urllib.request

import numpy as np
import pytest

from export import demo as program
from export.demonstration import site
from keras_distill import device
from tests import tiny_embedder, tiny_scorer
from tests.conftest import ROOT


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """A page with stand-ins for LiteRT.js: what is served is what is there."""
    page = tmp_path / "page"
    ignored = shutil.ignore_patterns(site.MODULES)
    shutil.copytree(site.PAGE, page, ignore=ignored)
    for name in site.LITERT.values():
        file = page / site.MODULES / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    monkeypatch.setattr(site, "PAGE", page)
    return page / site.MODULES


def test_the_site_is_the_page_the_runtime_and_what_the_page_loads(modules):
    bundle = tiny_scorer.bundle()
    files = site.site(bundle)
    assert site.contents(files["index.html"]).startswith(b"<!doctype html>")
    assert {"style.css", "app.js", "runtime.js"} <= set(files)
    assert files["litert/core.js"].read_text() == "@litertjs/core/dist/index.js"
    ours = {name for name in files if name.startswith("bundle/")}
    manifest = json.loads((bundle / "manifest.json").read_text())
    loaded = {
        "manifest.json",
        "golden.json",
        "ids.json",
        "embed_int8.tflite",
        "embed_f32.tflite",
        "score_int8.tflite",
        manifest["catalogue"]["rows"],
        *manifest["thumbnails"]["sheets"],
    }
    if "search" in manifest:
        loaded.add(manifest["search"]["file"])
    assert ours == {f"bundle/{name}" for name in loaded}
    for name in ours - {"bundle/golden.json"}:
        assert files[name] == bundle / name.removeprefix("bundle/")


def test_every_module_that_the_page_imports_is_there(modules):
    files = site.site(tiny_embedder.bundle())
    for name, content in files.items():
        if "/" in name or not name.endswith(".js"):
            continue
        for line in site.contents(content).decode().splitlines():
            if line.startswith(("import ", "} from ")) and '"./' in line:
                assert line.split('"./')[1].split('"')[0] in files, (name, line)


def test_golden_figures_are_the_bundles_own(modules):
    bundle = device.open_bundle(tiny_embedder.bundle())
    golden = json.loads(site.site(bundle.path)["bundle/golden.json"])
    with np.load(bundle.path / "golden.npz") as file:
        images = np.frombuffer(base64.b64decode(golden["images"]), np.uint8)
        np.testing.assert_array_equal(images, file["images"].ravel())
        rows = np.frombuffer(base64.b64decode(golden["embeddings"]), "<f4")
        np.testing.assert_array_equal(rows, file["embeddings"].ravel())
        assert [bundle.ids[row] for row in golden["rows"]] == file[
            "ids"
        ].ravel().tolist()
        np.testing.assert_allclose(golden["scores"], file["scores"].ravel(), atol=1e-6)
        assert (golden["count"], golden["k"]) == file["ids"].shape


def test_without_litert_it_says_what_to_run(modules):
    shutil.rmtree(modules)
    with pytest.raises(FileNotFoundError, match="npm ci --omit=dev --prefix .*page"):
        site.site(tiny_embedder.bundle())


def test_what_is_no_bundle_or_a_damaged_one_is_refused(modules, tmp_path):
    with pytest.raises(FileNotFoundError, match="A bundle is a folder"):
        program.main([str(tmp_path)])
    copy = shutil.copytree(tiny_embedder.bundle(), tmp_path / "copy")
    (copy / "embed_int8.tflite").write_bytes(b"altered")
    with pytest.raises(device.BundleError, match="altered.*embed_int8"):
        program.main([str(copy)])


@pytest.mark.parametrize("port", ["-1", "65536"])
def test_a_port_that_cannot_be_is_refused(port):
    with pytest.raises(ValueError, match=f"0, 65535.*--port {port}"):
        program.main(["bundle", "--port", port])


def test_static_writes_all_of_it_and_the_headers_are_said(modules, tmp_path, capsys):
    bundle, out = tiny_embedder.bundle(), tmp_path / "public"
    program.main([str(bundle), "--static", str(out)])
    files = site.site(bundle)
    written = {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file()
    }
    assert written == {name: site.contents(some) for name, some in files.items()}
    said = capsys.readouterr().out
    for words in ("application/wasm", "https", "Cross-Origin-Embedder-Policy"):
        assert words in said


def test_static_replaces_only_what_it_wrote_and_only_when_asked(modules, tmp_path):
    command = [str(tiny_embedder.bundle()), "--static", str(tmp_path / "public")]
    program.main(command)
    with pytest.raises(FileExistsError, match="public"):
        program.main(command)
    (tmp_path / "public" / "style.css").unlink()
    program.main([*command, "--overwrite"])
    assert (tmp_path / "public" / "style.css").is_file()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all of it")
    with pytest.raises(ValueError, match="is left alone.*mine"):
        program.main([*command[:2], str(tmp_path / "mine"), "--overwrite"])
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "all of it"


# A shell that starts a suite in the background has its children ignore Ctrl-C.
HEARS_CTRL_C = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from export import demo
from keras_distill import command_line
command_line.run(demo.main)
"""


@pytest.fixture
def serving():
    """The program itself on a free port: its process and its first line."""
    if not all((site.PAGE / site.MODULES / n).is_file() for n in site.LITERT.values()):
        pytest.skip(f"LiteRT.js is not installed: npm ci --prefix {site.PAGE}")
    command = [sys.executable, "-c", HEARS_CTRL_C, str(tiny_embedder.bundle())]
    process = subprocess.Popen(
        [*command, "--port", "0"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        yield process, process.stdout.readline()
        process.kill()


def test_the_program_serves_until_ctrl_c(serving):
    process, line = serving
    url = line.split()[0]
    assert url.startswith("http://localhost:") and "Ctrl-C ends it" in line
    with urllib.request.urlopen(url + "litert/wasm/litert_wasm_internal.wasm") as file:
        assert file.read(4) == b"\0asm"
        assert file.headers["Content-Type"] == "application/wasm"
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert "Traceback" not in process.stderr.read()
