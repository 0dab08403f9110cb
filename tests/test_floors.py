"""Imports follow the layers in docs/design.md: a folder imports only from those below it."""

import ast
import re
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = (
    ("app.batched", "app.errors", "app.system"),
    ("app.settings",),
    ("app.lrp", "app.modalities", "app.parquet"),
    ("app.telemetry",),
    ("app.models",),
    ("app.quality",),
    ("app.runtime",),
    ("app.serving", "app.survey", "app.training"),
    ("app.api",),
    ("app.main", "app.server"),
    ("app.cluster",),
    ("app.command_line",),
    ("app.cli",),
)
"""From the lowest to the highest. Neighbours on one floor do not import each other."""
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for path in sorted((ROOT / "app").rglob("*.py"))
    if path.name != "__init__.py"
}
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
print("torch" in sys.modules, "ray" in sys.modules)
"""


def is_in(module: str, folder: str) -> bool:
    return module == folder or module.startswith(folder + ".")


def folder_and_floor(module: str) -> tuple[str, int]:
    found = [
        (folder, floor) for floor, folders in enumerate(FLOORS) for folder in folders if is_in(module, folder)
    ]
    assert found, f"{module} has no floor: give its folder one here and in docs/design.md"
    return found[0]


@cache
def imports(module: str) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            submodules = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= submodules & MODULES.keys() or {node.module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.startswith("app.")}


@pytest.mark.parametrize("module", MODULES)
def test_imports_never_climb(module: str) -> None:
    folder, floor = folder_and_floor(module)
    for imported in imports(module):
        assert is_in(imported, folder) or folder_and_floor(imported)[1] < floor, f"imports {imported}"


def test_no_module_imports_itself_by_way_of_others() -> None:
    TopologicalSorter({module: imports(module) for module in MODULES}).prepare()  # raises CycleError


def test_the_process_that_listens_imports_neither_torch_nor_ray(cat_png: bytes) -> None:
    served = subprocess.run([sys.executable, "-c", SERVES], input=cat_png, capture_output=True, check=True)
    assert served.stdout.split() == [b"False", b"False"]


@pytest.mark.parametrize("suffix", [".py", ".js", ".html", ".css"])
def test_size_and_classes_come_from_the_card(suffix: str) -> None:
    named = [
        str(path.relative_to(ROOT / "app"))
        for path in (ROOT / "app").rglob(f"*{suffix}")
        if OF_THE_SHIPPED_MODEL.search(path.read_text())
    ]
    assert [path for path in named if not path.startswith(MAY_NAME_IT)] == []
