"""Everything imports only from lower floors: the picture in docs/design.md, held against the code."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = {
    "app.errors": 0,
    "app.logs": 1,
    "app.metrics": 0,
    "app.settings": 0,
    "app.answers": 0,
    "app.models.card": 1,
    "app.models.minivgg": 2,
    "app.models.checkpoint": 3,
    "app.machine": 0,
    "app.readiness": 0,
    "app.batching": 1,
    "app.remote": 1,
    "app.workers": 2,
    "app.png": 0,
    "app.containers": 1,
    "app.images": 2,
    "app.heatmap": 3,
    "app.lrp.rules": 1,
    "app.lrp.affine": 1,
    "app.lrp.composites": 1,
    "app.lrp.asks": 2,
    "app.lrp.seed": 3,
    "app.lrp.canonize": 2,
    "app.lrp.steps": 2,
    "app.lrp.engine": 4,
    "app.lrp.reference": 4,
    "app.jobs": 3,
    "app.model": 5,
    "app.model_process": 6,
    "app.explainer": 4,
    "app.receipts": 4,
    "app.pictures": 5,
    "app.pipeline": 6,
    "app.api": 7,
    "app.training": 7,
    "app.main": 8,
    "app.server": 8,
    "app.cli": 9,
}
MODULES = [path for path in sorted((ROOT / "app").rglob("*.py")) if path.name != "__init__.py"]


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def floor(module: str) -> int:
    room = next((room for room in FLOORS if module == room or module.startswith(room + ".")), None)
    assert room is not None, f"{module} has no floor: give it one here and in docs/design.md"
    return FLOORS[room]


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            submodules = {f"{node.module}.{alias.name}" for alias in node.names}
            known = {name for name in submodules if name in map(module_name, MODULES)}
            found |= known or {node.module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.startswith("app.")}


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_imports_never_climb(path: Path) -> None:
    here = module_name(path)
    room = next(room for room in FLOORS if here == room or here.startswith(room + "."))
    for imported in imports(path):
        same_room = imported == room or imported.startswith(room + ".")
        assert same_room or floor(imported) < floor(here), f"{here} imports {imported}"


def test_no_room_needs_another_that_needs_it() -> None:
    graph = {module_name(path): imports(path) for path in MODULES}

    def reaches(start: str, seen: frozenset[str] = frozenset()) -> set[str]:
        below = graph.get(start, set()) - seen
        return below.union(*(reaches(name, seen | below) for name in below))

    assert not [name for name in graph if name in reaches(name)]
