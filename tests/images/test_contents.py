"""What each image holds: its bill of materials names all of it and nothing else, it is small, and it has both names."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

BILL = "/opt/inbuilt/sbom.cdx.json"
PYTHON = "/opt/inbuilt/bin/python"
MEGABYTES, MORE_MEGABYTES = 350, 600  # the second is for an image with packages of its own

# A line for each installed package: name, version, and a word if its metadata says under what licence it is.
PACKAGES = """
from importlib.metadata import distributions
for each in distributions():
    said = each.metadata
    licence = said["License-Expression"] or said["License"] or "License ::" in str(said.get_all("Classifier"))
    print(each.name, each.version, "licensed" if licence else "")
"""


def normal(name):
    """A package's name as PyPI compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="module")
def bill(engine, image):
    return json.loads(engine.run("--entrypoint", "cat", image, BILL).stdout)


@pytest.fixture(scope="module")
def installed(engine, image):
    """The image's Python packages: name -> words of a line of PACKAGES after it."""
    lines = engine.run("--entrypoint", PYTHON, image, "-c", PACKAGES).stdout.splitlines()
    return {normal(name): rest for name, *rest in map(str.split, lines)}


def of_python(bill):
    """The components that are Python packages; Inbuilt has no address, because no registry has it."""
    return {
        normal(each["name"]): each
        for each in bill["components"]
        if each.get("purl", "pkg:pypi/").startswith("pkg:pypi/")
    }


def test_bill_is_of_this_image(engine, image, algorithm, bill):
    labels = json.loads(engine.output("image", "inspect", image))[0]["Config"]["Labels"]
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.7")
    assert bill["metadata"]["component"]["name"] == f"inbuilt-{algorithm.name}"
    assert bill["metadata"]["component"]["type"] == "container"
    assert bill["metadata"]["component"]["version"] == labels["org.opencontainers.image.version"]


def test_bill_names_the_python_packages(bill, installed):
    named = {name: each["version"] for name, each in of_python(bill).items()}
    assert named == {name: version for name, (version, *_) in installed.items()}
    assert "inbuilt" in named


def test_bill_names_the_debian_packages(engine, image, bill):
    form = "${Package} ${Version} ${db:Status-Status}\n"
    lines = engine.run("--entrypoint", "dpkg-query", image, "-W", "-f", form).stdout.splitlines()
    there = {(name, version) for name, version, status in map(str.split, lines) if status == "installed"}
    debian = [each for each in bill["components"] if each.get("purl", "").startswith("pkg:deb/")]
    assert {(each["name"], each["version"]) for each in debian if "arch=source" not in each["purl"]} == there
    assert "libgomp1" in dict(there)


def test_bill_has_the_licences_that_packages_state(bill, installed):
    stated = {name for name, words in installed.items() if "licensed" in words}
    assert {"inbuilt", "numpy"} <= stated
    assert stated == {name for name, each in of_python(bill).items() if each.get("licenses")}


@pytest.fixture
def bound(algorithm, pytestconfig):
    own = pytestconfig.rootpath / "docker" / f"{algorithm.name}.lock"
    return MORE_MEGABYTES if own.is_file() else MEGABYTES


def test_size(engine, image, bound):
    assert int(engine.output("image", "inspect", "-f", "{{.Size}}", image)) <= bound * 1e6


def test_the_table_of_sizes_knows_the_image_and_its_bound(engine, image, bound, pytestconfig):
    """The sum of the layers is the image, and a bound that is too low ends `make images`."""
    command = [sys.executable, str(pytestconfig.rootpath / "docker/sizes.py")]
    done = subprocess.run([*command, f"{image}={bound}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    size = float(re.search(rf"{re.escape(image)} +(\S+)", done.stdout)[1])
    assert size == pytest.approx(int(engine.output("image", "inspect", "-f", "{{.Size}}", image)) / 1e6, rel=0.01)
    done = subprocess.run([*command, f"{image}=1"], capture_output=True, text=True)
    assert done.returncode == 1
    assert f"{image} must have at most 1 MB, got {size:.1f}" in done.stderr


def test_the_guides_repository_name_is_the_same_image(engine, image, algorithm):
    alias = f"{algorithm.repository}:{image.rpartition(':')[2]}"
    ids = [engine.output("image", "inspect", "-f", "{{.Id}}", name) for name in (image, alias)]
    assert ids[0] == ids[1]
