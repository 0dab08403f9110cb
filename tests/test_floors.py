"""Imports follow the layers in docs/design.md: a folder imports only from those below it."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = (
    ("app.errors", "app.system"),
    ("app.settings",),
    ("app.lrp", "app.modalities"),
    ("app.telemetry",),
    ("app.models",),
    ("app.quality",),
    ("app.runtime",),
    ("app.training", "app.serving"),
    ("app.api",),
    ("app.main", "app.server"),
    ("app.command_line",),
    ("app.cli",),
)
"""From the lowest to the highest. Neighbours on one floor do not import each other."""
MODULES = [path for path in sorted((ROOT / "app").rglob("*.py")) if path.name != "__init__.py"]
OF_THE_SHIPPED_MODEL = re.compile(r"32×32|\b3, 32, 32\b|MiniVGG|CIFAR|airplane", re.IGNORECASE)
MAY_NAME_IT = ("models", "training", "settings.py", "cli.py", "web/examples.js")
"""Below ``app``: the model, its training, its defaults, and pictures that it knows."""
SERVES = """
import sys
from starlette.testclient import TestClient
import app.cli, app.server
from app.main import create_app

picture = sys.stdin.buffer.read()
with TestClient(create_app()) as client:
    while client.get("/readyz").status_code == 503:
        pass
    for path in ("/predict", "/explain", "/compare?verify=true"):
        client.post(path, content=picture, headers={"Content-Type": "image/png"}).raise_for_status()
print("torch" in sys.modules)
"""


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def is_in(module: str, folder: str) -> bool:
    return module == folder or module.startswith(folder + ".")


def folder_and_floor(module: str) -> tuple[str, int]:
    found = [
        (folder, floor) for floor, folders in enumerate(FLOORS) for folder in folders if is_in(module, folder)
    ]
    assert found, f"{module} has no floor: give its folder one here and in docs/design.md"
    return found[0]


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
    folder, floor = folder_and_floor(module_name(path))
    for imported in imports(path):
        assert is_in(imported, folder) or folder_and_floor(imported)[1] < floor, f"imports {imported}"


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = {module_name(path): imports(path) for path in MODULES}

    def reaches(start: str, seen: frozenset[str] = frozenset()) -> set[str]:
        below = graph.get(start, set()) - seen
        return below.union(*(reaches(name, seen | below) for name in below))

    assert not [name for name in graph if name in reaches(name)]


def test_the_process_that_listens_never_imports_torch(cat_png: bytes) -> None:
    served = subprocess.run([sys.executable, "-c", SERVES], input=cat_png, capture_output=True, check=True)
    assert served.stdout.split() == [b"False"]


@pytest.mark.parametrize("suffix", [".py", ".js", ".html", ".css"])
def test_size_and_classes_come_from_the_card(suffix: str) -> None:
    named = [
        str(path.relative_to(ROOT / "app"))
        for path in (ROOT / "app").rglob(f"*{suffix}")
        if OF_THE_SHIPPED_MODEL.search(path.read_text())
    ]
    assert [path for path in named if not path.startswith(MAY_NAME_IT)] == []
