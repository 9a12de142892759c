"""The rules of the house, read from the source itself."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
ROOMS = ("medvit", "pipelines", "apps")
FORBIDDEN_NAMES = {"utils", "helpers", "common", "misc", "core", "base"}
RANKS = {
    **dict.fromkeys(("errors", "atomic", "resources", "geometry", "__init__"), 0),
    **dict.fromkeys(("volume", "workspace"), 1),
    **dict.fromkeys(("io", "tiles"), 2),
    **dict.fromkeys(("data", "models"), 3),
    **dict.fromkeys(("learn", "inference", "metrics", "explain", "trust", "export"), 4),
    "findings": 5,
    **dict.fromkeys(("report", "store", "labels", "registry"), 6),
}
LEAVES = {"medvit.io.case", "medvit.findings.finding"}
"""Plain values without dependencies of their own; any room may name them."""
MOST_LINES_A_FILE = 400
MOST_LINES_A_FUNCTION = 40


def sources() -> list[Path]:
    return sorted(path for room in ROOMS for path in (PROJECT / room).rglob("*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(PROJECT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {name_of(path): path for path in sources()}


def imports_of(path: Path) -> Iterator[str]:
    """Yield every own module that a file imports, also inside functions and for types."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.split(".")[0] in ROOMS:
                yield name if name in MODULES else name.rpartition(".")[0]


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


@pytest.mark.parametrize("path", sources(), ids=name_of)
def test_arrows_point_down(path: Path) -> None:
    module = name_of(path)
    own = ROOMS.index(module.split(".")[0])
    for imported in imports_of(path):
        assert ROOMS.index(imported.split(".")[0]) <= own, f"{module} imports {imported}"
        if own == 0 and imported.startswith("medvit") and imported not in LEAVES:
            here, there = room_of(module), room_of(imported)
            assert here in RANKS, f"{here} has no rank"
            lower = RANKS[there] < RANKS[here] or here == there
            assert lower, f"{module} imports {imported}"


def test_no_module_imports_itself_in_a_circle() -> None:
    graph = {name: set(imports_of(path)) - {name} for name, path in MODULES.items()}
    finished: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join([*trail[trail.index(name) :], name])
        if name in finished:
            return
        for imported in sorted(graph.get(name, ())):
            visit(imported, (*trail, name))
        finished.add(name)

    for name in sorted(graph):
        visit(name, ())


@pytest.mark.parametrize("path", sources(), ids=name_of)
def test_no_room_is_for_odds_and_ends(path: Path) -> None:
    assert not FORBIDDEN_NAMES & set(path.relative_to(PROJECT).with_suffix("").parts)


@pytest.mark.parametrize("path", sources(), ids=name_of)
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MOST_LINES_A_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            start = node.body[0].end_lineno if ast.get_docstring(node) else node.lineno
            lines = (node.end_lineno or 0) - (start or 0)
            assert lines <= MOST_LINES_A_FUNCTION, f"{node.name}: {lines} lines"


@pytest.mark.parametrize("path", sources(), ids=name_of)
def test_every_module_says_what_it_holds(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring, f"{path} has no docstring"


def test_nothing_beside_the_streamlit_entry_hides_the_standard_library() -> None:
    names = {path.stem for path in (PROJECT / "apps" / "review").iterdir()}
    assert not names & set(sys.stdlib_module_names)


DOMAIN = [path for path in sources() if path.relative_to(PROJECT).parts[0] != "apps"]


@pytest.mark.parametrize("path", DOMAIN, ids=name_of)
def test_the_domain_does_not_print_or_end_the_process(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in {"print", "sys.exit", "exit"}, f"{path}:{node.lineno}"


@pytest.mark.parametrize("path", sources(), ids=name_of)
def test_nothing_is_unpickled_and_no_error_is_swallowed(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = {alias.name for alias in node.names} | {getattr(node, "module", "")}
            assert not names & {"pickle", "joblib", "dill", "shelve"}, f"{path}:{node.lineno}"
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"{path}:{node.lineno}: bare except"
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
            safe = any(k.arg == "weights_only" for k in node.keywords)
            assert safe, f"{path}:{node.lineno}: torch.load without weights_only"
