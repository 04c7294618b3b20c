"""Serve the files of a demonstration to this machine, and nothing else."""

import errno
import http.server
import os
import socket
import urllib.parse

from export.demonstration import site

HOST = "127.0.0.1"
# The first two isolate the page, which gives it timers of some microseconds: an
# embedding takes fifty. The last keeps a browser from what an earlier bundle left.
HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Server(http.server.ThreadingHTTPServer):
    """Answers with the files of `site.site`, on the loopback address alone.

    An address is looked up among those, never on the disk: no path leads elsewhere.

    Args:
        files: As `site.site` returns them.
        port: Integer from 0 to 65535; 0 for any that is free.

    Attributes:
        url: String, where the page is.

    Raises:
        OSError: If the port cannot be had, with a sentence that says what to do.
    """

    daemon_threads = True
    # Elsewhere than on POSIX this lets two servers have one port.
    allow_reuse_address = os.name == "posix"

    def __init__(self, files, port):
        self.files = files
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            why = "is in use" if error.errno == errno.EADDRINUSE else "is not allowed"
            raise OSError(
                f"Port {port} {why}: choose another, or 0 for any that is free. "
                f"Received: --port {port}"
            ) from error
        self.url = f"http://localhost:{self.server_address[1]}/"

    def server_bind(self):
        # `HTTPServer` would ask the network for the name of this machine.
        self.socket.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, int(self.allow_reuse_address)
        )
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = self.server_address[:2]

    def handle_error(self, request, client_address):
        pass  # A browser that closes a connection is no fault to report.


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "keras_distill", ""
    timeout = 30

    def do_GET(self):
        self._answer(with_body=True)

    def do_HEAD(self):
        self._answer(with_body=False)

    def _answer(self, with_body):
        # A page elsewhere may have its name resolved to this machine.
        host = urllib.parse.urlsplit(f"//{self.headers.get('Host', '')}").hostname
        if host not in ("localhost", HOST):
            return self.send_error(403, "This server answers to localhost alone")
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        address = path.removeprefix("/") or "index.html"
        if address not in self.server.files:
            return self.send_error(404)
        try:
            body = site.contents(self.server.files[address])
        except OSError:
            return self.send_error(410, "The file was there when the server started")
        self.send_response(200)
        self.send_header("Content-Type", site.content_type(address))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def end_headers(self):
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *_):
        pass  # What a page loads is no news.
