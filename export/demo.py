"""Show in a browser what a bundle does on a device: draw, and its own files find it.

The page runs the bundle's .tflite files by LiteRT.js (WebAssembly): nothing is computed
here. Needs numpy, and LiteRT.js from npm, once.
"""

import pathlib
import webbrowser

from export.demonstration import site
from export.demonstration.server import HEADERS, Server
from keras_distill import command_line

EXAMPLE = """\
python -m export.demo bundles/glyphs
python -m export.demo bundles/glyphs --port 0 --open
python -m export.demo bundles/glyphs --static public"""


def main(argv=None):
    args = _parser().parse_args(argv)
    if not 0 <= args.port <= 65535:
        raise ValueError(f"--port must lie in [0, 65535]. Received: --port {args.port}")
    files = site.site(args.bundle)
    if args.static is not None:
        site.write(files, args.static, args.overwrite)
        _say_how_to_serve(args.static)
        return
    with Server(files, args.port) as server:
        print(f"{server.url} shows {args.bundle}. Ctrl-C ends it.", flush=True)
        if args.open:
            webbrowser.open(server.url)
        server.serve_forever()


def _say_how_to_serve(folder):
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{folder}: {size / 1e6:.1f} MB that any web server can serve. It needs")
    print("  .wasm as application/wasm and .js as text/javascript;")
    print("  https, for the camera (a phone opens it nowhere else).")
    print("These headers are not needed, but give timers of microseconds:")
    for name in ("Cross-Origin-Opener-Policy", "Cross-Origin-Embedder-Policy"):
        print(f"  {name}: {HEADERS[name]}")


def _parser():
    parser = command_line.parser(
        "export.demo",
        "Show a page on which one draws, and the bundle's own .tflite files, run by "
        "the browser, find what it is. Serves this machine alone.",
        "BUNDLE [--port N] [--static FOLDER]",
        EXAMPLE,
    )
    add = parser.add_argument
    add("bundle", type=pathlib.Path, help="folder that export.bundle wrote")
    add("--port", type=int, default=8000, help="0: any that is free (%(default)s)")
    add("--open", action="store_true", help="open the page in the browser")
    add(
        "--static",
        type=pathlib.Path,
        metavar="FOLDER",
        help="write the page and the bundle as files for a web server instead",
    )
    add("--overwrite", action="store_true", help="replace what --static wrote before")
    return parser


if __name__ == "__main__":
    command_line.run(main)
