"""The rules of the house, read from the source itself."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
ROOMS = ("medvit", "pipelines", "apps")
FORBIDDEN_NAMES = {"utils", "helpers", "common", "misc", "core", "base"}
RANKS = {
    **dict.fromkeys(("errors", "atomic", "alarms", "resources", "geometry", "__init__"), 0),
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
ENDINGS = {"print", "sys.exit", "exit"}


def sources() -> list[Path]:
    return sorted(path for room in ROOMS for path in (PROJECT / room).rglob("*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(PROJECT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {name_of(path): path for path in sources()}


@cache
def trees() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in sources()}


def imports_of(path: Path) -> Iterator[str]:
    """Yield every own module that a file imports, also inside functions and for types."""
    for node in ast.walk(trees()[path]):
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


def test_arrows_point_down() -> None:
    wrong = []
    for module, path in MODULES.items():
        own = ROOMS.index(module.split(".")[0])
        for imported in imports_of(path):
            lower = ROOMS.index(imported.split(".")[0]) <= own
            if own == 0 and imported.startswith("medvit") and imported not in LEAVES:
                here, there = room_of(module), room_of(imported)
                assert here in RANKS, f"{here} has no rank"
                lower = RANKS[there] < RANKS[here] or here == there
            if not lower:
                wrong.append(f"{module} imports {imported}")
    assert not wrong


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


def test_no_room_is_for_odds_and_ends() -> None:
    parts = {path: {*path.relative_to(PROJECT).with_suffix("").parts} for path in sources()}
    assert not [path for path, names in parts.items() if names & FORBIDDEN_NAMES]


def test_files_and_functions_stay_small() -> None:
    long = []
    for path, tree in trees().items():
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > MOST_LINES_A_FILE:
            long.append(f"{path}: {lines} lines")
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                start = node.body[0].end_lineno if ast.get_docstring(node) else node.lineno
                lines = (node.end_lineno or 0) - (start or 0)
                if lines > MOST_LINES_A_FUNCTION:
                    long.append(f"{path}: {node.name}: {lines} lines")
    assert not long


def test_every_module_says_what_it_holds() -> None:
    assert not [path for path, tree in trees().items() if not ast.get_docstring(tree)]


def test_nothing_beside_the_streamlit_entry_hides_the_standard_library() -> None:
    names = {path.stem for path in (PROJECT / "apps" / "review").iterdir()}
    assert not names & set(sys.stdlib_module_names)


def test_the_domain_does_not_print_or_end_the_process() -> None:
    wrong = []
    for path, tree in trees().items():
        if path.relative_to(PROJECT).parts[0] == "apps":
            continue
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        ends = [call.lineno for call in calls if ast.unparse(call.func) in ENDINGS]
        wrong += [f"{path}:{line}" for line in ends]
    assert not wrong


def test_nothing_is_unpickled_and_no_error_is_swallowed() -> None:
    wrong = []
    for path, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = {alias.name for alias in node.names} | {getattr(node, "module", "")}
                if names & {"pickle", "joblib", "dill", "shelve"}:
                    wrong.append(f"{path}:{node.lineno}: pickles")
            if isinstance(node, ast.ExceptHandler) and node.type is None:
                wrong.append(f"{path}:{node.lineno}: bare except")
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                safe = any(k.arg == "weights_only" for k in node.keywords)
                wrong += [] if safe else [f"{path}:{node.lineno}: torch.load as it is"]
    assert not wrong
