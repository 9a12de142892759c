"""The wheel holds what the tree holds, and works far from it."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

import medvit

PROJECT = Path(__file__).resolve().parent.parent
ROOMS = ("medvit", "pipelines", "apps")
SETTINGS = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
SHIPPED_MAX_BYTES = 25_000_000


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requirement_names(requirements: list[str]) -> set[str]:
    return {normal(re.split(r"[\[<>=~! ;]", text)[0]) for text in requirements}


def declared() -> set[str]:
    extras = SETTINGS["project"]["optional-dependencies"]
    names = requirement_names(SETTINGS["project"]["dependencies"])
    return names.union(*(requirement_names(extras[name]) for name in extras if name != "dev"))


def imported_packages() -> set[str]:
    found = set()
    for path in (path for room in ROOMS for path in (PROJECT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - set(ROOMS)


@pytest.mark.slow
def test_every_imported_package_is_a_declared_dependency() -> None:
    owners = packages_distributions()
    for package in imported_packages():
        distributions = {normal(name) for name in owners.get(package, [package])}
        assert distributions & declared(), f"{package} is imported but not declared"


def test_every_dependency_has_an_upper_bound_and_a_pin() -> None:
    pins = (PROJECT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {normal(line.split("==")[0]) for line in pins if "==" in line}
    for requirement in SETTINGS["project"]["dependencies"]:
        assert "<" in requirement or "==" in requirement, requirement
        assert requirement_names([requirement]) <= pinned, requirement


def test_constraints_name_versions_and_nothing_else() -> None:
    lines = (PROJECT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!]+", pin) for pin in pins)
    assert "torch==2.13.0" in pins


def test_no_copyleft_package_is_asked_for() -> None:
    pins = (PROJECT / "constraints.txt").read_text(encoding="utf-8").lower()
    for name in ("ultralytics", "albumentationsx", "cleanlab", "pylibjpeg-libjpeg"):
        assert f"\n{name}==" not in pins


def test_shipped_weights_stay_small() -> None:
    weights = [path for path in (PROJECT / "medvit" / "weights").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in weights) < SHIPPED_MAX_BYTES
    assert not [path for path in weights if path.suffix in (".pt", ".pth", ".ckpt", ".pkl")]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(PROJECT)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Path:
    """Return the scripts folder of a fresh environment that holds the wheel.

    Third-party packages are borrowed from the running environment by a path file, placed
    so that the editable install of this checkout is not on the path.
    """
    folder = tmp_path_factory.mktemp("elsewhere") / "venv"
    venv.create(folder, with_pip=True)
    scripts = folder / "bin"
    install = [
        str(scripts / "python"),
        "-m",
        "pip",
        "install",
        "--no-deps",
        "--no-index",
        str(wheel),
    ]
    subprocess.run(install, check=True, capture_output=True, timeout=300)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    borrowed = sysconfig.get_path("purelib")
    (site / "borrowed.pth").write_text(borrowed + "\n", encoding="utf-8")
    return scripts


def run(script: Path, *words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MEDVIT")}
    kept.pop("PYTHONPATH", None)
    return subprocess.run(
        [str(script), *words],
        capture_output=True,
        text=True,
        timeout=900,
        cwd=folder,
        env=kept,
        check=False,
    )


@pytest.mark.wheel
def test_the_wheel_holds_every_file_of_the_tree(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    listed = subprocess.run(
        ["git", "-C", str(PROJECT), "ls-files", "--cached", *ROOMS, "configs"],
        capture_output=True,
        text=True,
        check=True,
    )
    tree = {name for name in listed.stdout.splitlines() if (PROJECT / name).is_file()}
    tree = {f"medvit/{name}" if name.startswith("configs/") else name for name in tree}
    assert tree <= packed
    strangers = {name for name in packed - tree if not name.endswith(".gitkeep")}
    untracked = {name for name in strangers if (PROJECT / name.removeprefix("medvit/")).is_file()}
    assert (
        strangers - untracked - {name for name in strangers if (PROJECT / name).is_file()} == set()
    )


@pytest.mark.wheel
def test_the_wheel_works_from_another_folder(elsewhere: Path, tmp_path: Path) -> None:
    version = run(elsewhere / "medvit", "--version", folder=tmp_path)
    assert version.stdout == f"medvit {medvit.__version__}\n", version.stderr
    where = run(
        elsewhere / "python", "-c", "import medvit; print(medvit.__file__)", folder=tmp_path
    )
    assert where.stdout.strip().startswith(str(elsewhere.parent))
    decoy = tmp_path / "pipelines"
    decoy.mkdir()
    (decoy / "__init__.py").write_text("raise RuntimeError('a folder of the user')\n")
    models = run(elsewhere / "medvit", "models", "list", "--json", folder=tmp_path)
    assert models.returncode == 0, models.stderr
    shipped = {path.name for path in (PROJECT / "medvit" / "weights").glob("*") if path.is_dir()}
    assert shipped <= {each["name"] for each in json.loads(models.stdout)["models"]}


@pytest.fixture(scope="module")
def demo(elsewhere: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Return the folder a demo ran in, and its answer."""
    folder = tmp_path_factory.mktemp("demo")
    done = run(elsewhere / "medvit", "demo", "--no-app", "--json", folder=folder)
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)


def share_of_hits(answer: dict[str, Any], kind: str) -> float:
    hits = [bool(each["hit"]) for each in answer["planted"] if each["kind"] == kind]
    return sum(hits) / len(hits)


@pytest.mark.wheel
def test_the_demo_works_from_a_wheel(demo: tuple[Path, dict[str, Any]]) -> None:
    folder, answer = demo
    report = Path(answer["report"])
    assert report.is_relative_to("medvit-workspace") or report.is_file()
    assert (folder / report).is_file()
    assert share_of_hits(answer, "broken") == 1
    assert share_of_hits(answer, "defect") >= 0.7


@pytest.mark.wheel
@pytest.mark.xfail(strict=True, reason="6 of 10: ground glass and small nodules, see the card")
def test_the_demo_finds_most_nodules(demo: tuple[Path, dict[str, Any]]) -> None:
    _, answer = demo
    assert share_of_hits(answer, "nodule") >= 0.7
