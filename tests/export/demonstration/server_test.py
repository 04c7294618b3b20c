import http.client
import socket
import threading

import pytest

from export.demonstration.server import HEADERS, Server


@pytest.fixture
def server(tmp_path):
    """A server of three addresses, beside a file that is none of them."""
    (tmp_path / "a.tflite").write_bytes(b"network")
    (tmp_path / "secret").write_bytes(b"secret")
    files = {
        "index.html": b"<!doctype html>",
        "litert/core.js": b"export {}",
        "bundle/a.tflite": tmp_path / "a.tflite",
    }
    with Server(files, 0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(server, path, method="GET", host="localhost"):
    """Status, headers and body; the path goes out as it is, dots and all."""
    connection = http.client.HTTPConnection(*server.server_address, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", f"{host}:{server.server_port}")
    connection.endheaders()
    answer = connection.getresponse()
    result = answer.status, dict(answer.headers), answer.read()
    connection.close()
    return result


@pytest.mark.parametrize(
    "path, body, kind",
    [
        ("/", b"<!doctype html>", "text/html; charset=utf-8"),
        ("/index.html?x=1", b"<!doctype html>", "text/html; charset=utf-8"),
        ("/litert/core.js", b"export {}", "text/javascript; charset=utf-8"),
        ("/bundle/a.tflite", b"network", "application/octet-stream"),
    ],
)
def test_answers_with_the_files_of_the_site(server, path, body, kind):
    status, headers, got = ask(server, path)
    assert (status, got) == (200, body)
    assert headers["Content-Type"] == kind
    assert headers["Content-Length"] == str(len(body))


def test_the_page_is_isolated_so_that_its_timers_are_fine(server):
    _, headers, _ = ask(server, "/")
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert HEADERS.items() <= headers.items()


@pytest.mark.parametrize(
    "path",
    [
        "/secret",
        "/bundle/secret",
        "/bundle/../secret",
        "/bundle/..%2fsecret",
        "/%2e%2e/secret",
        "/../../../../etc/passwd",
        "//etc/passwd",
        "/bundle/",
        "/bundle/a.tflite/",
        "/bundle\\a.tflite",
        "/%00",
    ],
)
def test_no_path_leads_anywhere_else(server, path):
    status, headers, body = ask(server, path)
    assert status == 404 and b"secret" not in body and b"root:" not in body
    assert HEADERS.items() <= headers.items()


def test_a_name_that_another_host_gave_this_machine_is_refused(server):
    assert ask(server, "/", host="evil.example")[0] == 403
    assert ask(server, "/", host="127.0.0.1")[0] == 200


def test_heads_have_no_body_and_nothing_can_be_sent(server):
    status, headers, body = ask(server, "/", "HEAD")
    assert (status, body, headers["Content-Length"]) == (200, b"", "15")
    for method in ("POST", "PUT", "DELETE"):
        assert ask(server, "/", method)[0] == 501


def test_a_file_that_is_gone_is_said_and_the_server_goes_on(server, tmp_path):
    (tmp_path / "a.tflite").unlink()
    assert ask(server, "/bundle/a.tflite")[0] == 410
    assert ask(server, "/")[0] == 200


def test_is_bound_to_this_machine_alone(server):
    assert server.server_address[0] == "127.0.0.1"
    assert server.url == f"http://localhost:{server.server_port}/"


def test_a_port_in_use_is_said_with_what_to_do():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"Port {port} is in use: choose another"):
            Server({}, port)
