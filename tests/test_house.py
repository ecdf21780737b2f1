"""The house: imports point down, algorithms know nothing of each other, every file says what it is."""

import ast
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import algorithms

ROOT = Path(__file__).parent.parent
FOLDERS = ("formats", "algorithms", "serving", "tests", "benchmarks", "demo")
SOURCES = sorted(path for folder in FOLDERS for path in (ROOT / folder).glob("**/*.py"))
OURS = ("formats", "algorithms", "serving")


def imported(path: Path) -> set[str]:
    """The modules that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def sources(folder: str) -> list[Path]:
    return [path for path in (ROOT / folder).glob("**/*.py") if "tests" not in path.parts]


@pytest.mark.parametrize(("folder", "above"), [("formats", ("algorithms", "serving")), ("algorithms", ("serving",))])
def test_imports_point_down(folder: str, above: tuple[str, ...]) -> None:
    # program.py is the entry point of the images: it starts what lies below it
    for path in sources(folder):
        assert not [name for name in imported(path) if name.split(".")[0] in above], path


@pytest.mark.parametrize("name", algorithms.names())
def test_an_algorithm_is_reached_through_find_only(name: str) -> None:
    own = ROOT / "algorithms" / name
    for path in [path for folder in OURS for path in sources(folder) if own not in path.parents]:
        assert not [module for module in imported(path) if f"algorithms.{name}" in module], path
        assert not names_algorithm(path, name), path


def test_shared_tests_name_no_algorithm() -> None:
    for path in (ROOT / "tests").glob("**/*.py"):
        if "images" not in path.parts:
            assert not [name for name in algorithms.names() if names_algorithm(path, name)], path


def names_algorithm(path: Path, name: str) -> bool:
    """Whether the name stands in a file; not in one that imports the library of that name."""
    libraries = {module.split(".")[0] for module in imported(path)}
    return name not in libraries and bool(re.search(rf"\b{name}\b", path.read_text()))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_says_its_reason_in_its_first_line(path: Path) -> None:
    if path.name == "record_pb2.py":
        assert "Generated" in path.read_text()[:200]
        return
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert docstring, path
    assert not re.search(r"utils|common|helpers|constants|misc|base|manager", path.stem), path


def test_nothing_is_unpickled_or_evaluated() -> None:
    for path in [path for folder in OURS for path in sources(folder)]:
        names = {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}
        assert not names & {"eval", "exec"}, path
        if path.name != "pickled.py":  # reads what older containers pickled, and has its own test of what it refuses
            assert not {name for name in imported(path) if name.split(".")[0] in ("pickle", "marshal", "shelve")}, path


def test_the_repository_names_find_their_folders() -> None:
    for name in algorithms.names():
        algorithm = algorithms.find(name)
        assert algorithm.name == name
        assert algorithms.find(algorithm.repository) is algorithm
        assert algorithms.find(algorithm.repository.upper()) is algorithm


def test_sigterm_is_not_lost_while_a_program_is_imported(tmp_path: Path) -> None:
    """As process 1 of a container a program ignores signals that it has no handler for."""
    environment = os.environ | {"SAGEMAKER_BASE_DIR": str(tmp_path)}  # no model: `serve` would soon end with 2
    process = subprocess.Popen([Path(sys.executable).parent / "inbuilt", "serve"], env=environment)
    caught = 0
    while process.poll() is None and not caught & 1 << signal.SIGTERM - 1:
        caught = int(Path(f"/proc/{process.pid}/status").read_text().split("SigCgt:\t")[1].split()[0], 16)
    process.terminate()
    assert process.wait(30) == 128 + signal.SIGTERM


def test_the_command_line() -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        program = Path(sys.executable).parent / "inbuilt"
        return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=30)

    assert run().stdout.startswith("usage: docker run IMAGE train")
    assert re.fullmatch(r"inbuilt \d+\.\d+\.\d+\n", run("--version").stdout)
    unknown = run("trian")
    assert unknown.returncode == 2
    assert unknown.stderr.startswith("inbuilt: the command must be train, serve or describe, got 'trian'\nusage:")
