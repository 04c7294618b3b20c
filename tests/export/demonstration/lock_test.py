"""What npm installs for the page is pinned, and comes from wherever npm is told to."""

import base64
import hashlib
import json
import re

from export.demonstration.site import LITERT, PAGE


def test_every_package_is_pinned_by_its_hash_and_none_by_an_address():
    lock = json.loads((PAGE / "package-lock.json").read_text())
    packages = {name: facts for name, facts in lock["packages"].items() if name}
    assert {name.split("/", 1)[0] for name in packages} == {"node_modules"}
    for name, facts in packages.items():
        assert facts["integrity"].startswith("sha512-"), name
        assert "resolved" not in facts, name
    assert "http" not in (PAGE / "package-lock.json").read_text()


def test_the_lock_is_that_of_the_package():
    package = json.loads((PAGE / "package.json").read_text())
    root = json.loads((PAGE / "package-lock.json").read_text())["packages"][""]
    for group in ("dependencies", "devDependencies"):
        assert root[group] == package[group]
        assert all(
            re.fullmatch(r"[\d.]+", version) for version in package[group].values()
        )


def test_what_is_served_is_no_development_package():
    packages = json.loads((PAGE / "package-lock.json").read_text())["packages"]
    for path in LITERT.values():
        name = "/".join(path.split("/")[:2])
        assert not packages[f"node_modules/{name}"].get("dev")


def test_the_policy_of_the_page_knows_its_import_map():
    page = (PAGE / "index.html").read_text()
    (text,) = re.findall(r'<script type="importmap">(.*?)</script>', page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in page
    assert {f"./{name}" for name in LITERT} >= set(json.loads(text)["imports"].values())


def test_the_page_names_no_other_host():
    for path in PAGE.iterdir():
        if path.suffix in (".html", ".js", ".css"):
            assert not re.search(r"https?://", path.read_text()), path.name
