"""A browser, and a server whose pages it opens."""

import threading

import pytest

from export.demonstration import site
from export.demonstration.server import Server
from tests import tiny_scorer
from tests.export.demonstration.browser import Browser


@pytest.fixture(scope="module")
def browser():
    browser = Browser()
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def serve():
    """Serves a bundle, with files of its site replaced; returns the address."""
    servers = []

    def serve(bundle, **replaced):
        files = site.site(bundle)
        for name, content in replaced.items():
            files[name] = content
        servers.append(Server(files, 0))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return servers[-1].url

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def url(serve):
    return serve(tiny_scorer.bundle())


@pytest.fixture
def page(browser, url):
    page = browser.open(url)
    yield page
    page.close()
