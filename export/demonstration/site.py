"""What the demonstration consists of: its addresses, and what is behind each."""

import base64
import json
import mimetypes
import pathlib

import numpy as np

from keras_distill import atomic
from keras_distill.device.manifest import NAME, read_manifest
from keras_distill.device.manifest_fields import check_kind

PAGE = pathlib.Path(__file__).parent / "page"
MODULES = "node_modules"
# Addresses under litert/ and where npm puts these files; builds for threads and for
# suspended calls are not used.
LITERT = {
    "litert/core.js": "@litertjs/core/dist/index.js",
    "litert/wasm-utils.js": "@litertjs/wasm-utils/dist/index.js",
    **{
        f"litert/wasm/{name}": f"@litertjs/core/wasm/{name}"
        for name in (
            "litert_wasm_internal.js",
            "litert_wasm_internal.wasm",
            "litert_wasm_compat_internal.js",
            "litert_wasm_compat_internal.wasm",
        )
    },
}
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".wasm": "application/wasm",
}


def site(bundle):
    """The files of the demonstration of a bundle.

    Args:
        bundle: Path of a folder that `keras_distill.retrieval.write_bundle` made.

    Returns:
        Dictionary from an address without leading slash, such as `"index.html"`, to
        a `pathlib.Path` or to bytes.

    Raises:
        FileNotFoundError: If there is no bundle, or LiteRT.js is not installed.
        BundleError: A `ValueError`; if the bundle is damaged.
    """
    bundle = pathlib.Path(bundle)
    manifest = read_manifest(bundle)
    check_kind(manifest, bundle, "embedder")
    files = {
        path.name: path
        for path in sorted(PAGE.iterdir())
        if path.suffix in (".html", ".css", ".js")
    }
    for address, name in LITERT.items():
        path = PAGE / MODULES / name
        if not path.is_file():
            raise FileNotFoundError(
                "The page runs on LiteRT.js, which is not installed. Install it by: "
                f"npm ci --omit=dev --prefix {_shown(PAGE)}"
            )
        files[address] = path
    for name in _used(manifest):
        files[f"bundle/{name}"] = bundle / name
    files[f"bundle/{NAME}"] = bundle / NAME
    files["bundle/golden.json"] = golden_json(bundle, manifest)
    return files


def content_type(address):
    """The media type of an address, as the headers say it."""
    suffix = pathlib.PurePosixPath(address).suffix
    guessed = mimetypes.guess_type(address)[0]
    return TYPES.get(suffix) or guessed or "application/octet-stream"


def golden_json(bundle, manifest):
    """`golden.npz` as a page can read it.

    Args:
        bundle: `pathlib.Path` of the bundle.
        manifest: Dictionary, its manifest.

    Returns:
        Bytes of JSON: `count`, `k`, `images` and `embeddings` (uint8 and little-endian
        float32 in base64), and lists of `count * k` numbers, `rows` of the catalogue
        and their `scores`.
    """
    with np.load(bundle / manifest["golden"]["file"]) as file:
        golden = dict(file)
    names = (bundle / manifest["catalogue"]["ids"]).read_text(encoding="utf-8")
    place = {name: row for row, name in enumerate(json.loads(names)["ids"])}
    count, k = golden["ids"].shape
    embeddings = golden["embeddings"].astype("<f4")
    found = {
        "count": count,
        "k": k,
        "images": base64.b64encode(golden["images"].tobytes()).decode(),
        "embeddings": base64.b64encode(embeddings.tobytes()).decode(),
        "rows": [place[name] for name in golden["ids"].ravel().tolist()],
        "scores": [round(score, 6) for score in golden["scores"].ravel().tolist()],
    }
    return json.dumps(found).encode()


def write(files, out, overwrite=False):
    """Writes a site as a folder that any web server can serve, whole or not at all.

    Args:
        files: As `site` returns them.
        out: Path of the folder.
        overwrite: Whether what an earlier call wrote there is replaced.

    Raises:
        FileExistsError: If something is there and `overwrite` is false.
        ValueError: If what is there is no demonstration.
    """
    out = pathlib.Path(out)
    if overwrite and out.is_dir() and any(out.iterdir()):
        if not (out / "bundle" / NAME).is_file() or not (out / "index.html").is_file():
            raise ValueError(
                "What is there is no demonstration and is left alone: choose another "
                f"folder. Received: --static {out}"
            )
    with atomic.folder(out, overwrite) as folder:
        for address, content in files.items():
            path = folder / address
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(contents(content))


def contents(content):
    """The bytes behind an address."""
    return content if isinstance(content, bytes) else content.read_bytes()


def _used(manifest):
    """Names of the files of a bundle that the page loads."""
    catalogue = manifest["catalogue"]
    used = [manifest["models"][name]["file"] for name in ("float32", "int8")]
    used += [catalogue["ids"], catalogue["rows"]]
    if "group" in manifest:
        used.append(manifest["group"]["models"]["int8"]["file"])
    used += manifest.get("thumbnails", {}).get("sheets", [])
    if "search" in manifest:
        used.append(manifest["search"]["file"])
    return used


def _shown(path):
    """A path as one would type it from here."""
    here = pathlib.Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
