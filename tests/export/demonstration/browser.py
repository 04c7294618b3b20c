"""A headless Chromium for the tests of the page, or the reason why there is none."""

import json
import pathlib
import shutil
import subprocess

from export.demonstration.site import LITERT, MODULES, PAGE

DRIVER = pathlib.Path(__file__).parent / "driver.mjs"
NAMES = ("chromium", "chromium-browser", "google-chrome")
# What the tests do on the page, and ask it.
LETTER_H = [
    [[0.3, 0.2], [0.3, 0.8]],
    [[0.3, 0.5], [0.7, 0.5]],
    [[0.7, 0.2], [0.7, 0.8]],
]
SHOWN = "[...document.querySelectorAll('#results li')].map((e) => +e.dataset.index)"
ANSWERED = "document.documentElement.dataset.answers > 0"
FAULT = "document.documentElement.dataset.fault"


def missing():
    """What the tests of the page lack here, in words; `None` if all is there."""
    if not any(map(shutil.which, NAMES)):
        return f"no browser is here: one of {', '.join(NAMES)}"
    if shutil.which("node") is None:
        return "node, which drives the browser, is not here"
    needed = [*LITERT.values(), "playwright-core/package.json"]
    if not all((PAGE / MODULES / name).is_file() for name in needed):
        return f"the page's packages are not installed: npm ci --prefix {PAGE}"
    return None


class Browser:
    """One Chromium, driven by playwright-core in a process of its own."""

    def __init__(self):
        executable = next(filter(None, map(shutil.which, NAMES)))
        command = ["node", DRIVER, PAGE / "package.json", executable]
        self._process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.version = self._answer()

    def open(self, url, options=None, script=None, wait="html[data-ready]"):
        """Opens an address in a profile of its own and waits for a selector.

        Args:
            url: String.
            options: Dictionary of playwright's options of a context, such as the
                size of the screen.
            script: JavaScript that runs before the page's own.
            wait: Selector, or `None` for the load alone.

        Returns:
            A `Page`.
        """
        options = {"url": url, "options": options or {}, "script": script, "wait": wait}
        return Page(self, self.ask(None, "open", options))

    def ask(self, page, action, options):
        line = json.dumps({"page": page, "do": action, "with": options})
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self):
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()

    def _answer(self):
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the browser has ended")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["value"]


class Page:
    """One page: `page.click(target="#clear")` and the other actions of the driver."""

    def __init__(self, browser, number):
        self._browser, self._number = browser, number

    def __getattr__(self, action):
        return lambda **options: self._browser.ask(self._number, action, options)
