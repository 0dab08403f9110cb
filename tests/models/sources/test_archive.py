"""Archives of torch.export are read without running anything in them."""

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from app.errors import SourceError
from app.models.sources.archive import read_program

MODEL = "models/model.json"
WEIGHTS = "data/weights/model_weights_config.json"


class Network(nn.Module):
    """Layers, a buffer, a constant and sizes that depend on the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.dense = nn.Linear(16, 3)
        self.register_buffer("shift", torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 4, 4) -> (B, 3)."""
        x = self.norm(self.conv(x)).relu()
        return torch.add(self.dense(x.reshape(x.shape[0], 16)) + self.shift, torch.tensor([1.0, 2.0, 3.0]))


def program_of(module: nn.Module, *shape: int) -> ExportedProgram:
    return torch.export.export(module.eval(), (torch.randn(2, *shape),), dynamic_shapes=({0: Dim.AUTO},))


@pytest.fixture(scope="module")
def module() -> Network:
    torch.manual_seed(0)
    return Network().eval()


@pytest.fixture(scope="module")
def archive(module: Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "network.pt2"
    torch.export.save(program_of(module, 3, 4, 4), path)
    return path


def changed(archive: Path, to: Path, name: str, change: Callable[[bytes], bytes]) -> Path:
    """Copy ``archive`` to ``to`` with another content of one of its files."""
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(to, "w") as new:
        for member in old.namelist():
            content = old.read(member)
            new.writestr(member, change(content) if member.endswith(f"/{name}") else content)
    return to


def in_json(change: Callable[[Any], None]) -> Callable[[bytes], bytes]:
    def apply(content: bytes) -> bytes:
        data = json.loads(content)
        change(data)
        return json.dumps(data).encode()

    return apply


class Touch:
    """An object whose unpickling creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return Path.touch, (self.path,)


def test_a_program_computes_what_its_module_does(module: Network, archive: Path) -> None:
    x = torch.randn(5, 3, 4, 4)
    program = read_program(archive)
    torch.testing.assert_close(program.module(check_guards=False)(x), module(x))
    assert set(program.state_dict) == set(module.state_dict())


def test_pickled_sample_inputs_are_not_read(module: Network, archive: Path, tmp_path: Path) -> None:
    mark, inputs = tmp_path / "mark", io.BytesIO()
    torch.save((Touch(mark),), inputs)
    bad = changed(archive, tmp_path / "bad.pt2", "data/sample_inputs/model.pt", lambda _: inputs.getvalue())
    x = torch.randn(1, 3, 4, 4)
    torch.testing.assert_close(read_program(bad).module(check_guards=False)(x), module(x))
    assert not mark.exists()
    pickle.loads(pickle.dumps(Touch(mark)))
    assert mark.exists(), "unpickling it would have been seen"


def test_sizes_are_not_evaluated(archive: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"

    def change(data: Any) -> None:
        sizes = data["graph_module"]["graph"]["tensor_values"]["x"]["sizes"]
        sizes[0]["as_expr"]["expr_str"] = f"__import__('pathlib').Path({str(mark)!r}).touch()"

    bad = changed(archive, tmp_path / "bad.pt2", MODEL, in_json(change))
    with pytest.raises(SourceError, match="is no size"):
        read_program(bad)
    assert not mark.exists()


def test_guards_are_not_kept(module: Network, archive: Path, tmp_path: Path) -> None:
    def change(data: Any) -> None:
        data["guards_code"] = ["__import__('os').abort()"]

    program = read_program(changed(archive, tmp_path / "bad.pt2", MODEL, in_json(change)))
    x = torch.randn(1, 3, 4, 4)
    torch.testing.assert_close(program.module()(x), module(x))


@pytest.mark.parametrize(
    "operator", ["torch.os.system", "torch.ops.aten.from_file.default", "torch.ops.mine.op.default"]
)
def test_operators_that_are_not_pytorchs_own_are_listed_with_module_and_line(
    archive: Path, tmp_path: Path, operator: str
) -> None:
    def change(data: Any) -> None:
        nodes = data["graph_module"]["graph"]["nodes"]
        next(node for node in nodes if "conv2d" in node["target"])["target"] = operator

    bad = changed(archive, tmp_path / "bad.pt2", MODEL, in_json(change))
    with pytest.raises(SourceError, match=rf"- {operator} in conv \(.+:\d+\)$"):
        read_program(bad)


def test_modules_named_by_the_containers_of_inputs_are_not_imported(archive: Path, tmp_path: Path) -> None:
    enum = json.dumps({"__enum__": True, "fqn": "this:Enum", "name": "A"})
    spec = json.dumps([1, {"type": "builtins.dict", "context": enum, "children_spec": []}])

    def change(data: Any) -> None:
        data["graph_module"]["module_call_graph"][0]["signature"]["out_spec"] = spec

    with pytest.raises(SourceError, match="only tuples, lists and dicts"):
        read_program(changed(archive, tmp_path / "bad.pt2", MODEL, in_json(change)))


def test_pickled_weights_are_refused(archive: Path, tmp_path: Path) -> None:
    def change(data: Any) -> None:
        data["config"]["conv.weight"]["use_pickle"] = True

    with pytest.raises(SourceError, match=r"conv\.weight is pickled"):
        read_program(changed(archive, tmp_path / "bad.pt2", WEIGHTS, in_json(change)))


def test_weights_do_not_reach_beyond_their_bytes(archive: Path, tmp_path: Path) -> None:
    def change(data: Any) -> None:
        data["config"]["dense.bias"]["tensor_meta"]["sizes"] = [{"as_int": 3000}]

    with pytest.raises(SourceError, match="cannot be read"):
        read_program(changed(archive, tmp_path / "bad.pt2", WEIGHTS, in_json(change)))


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot be read"), (b"no zip", "not an archive of torch.export"), (b"", "not an archive")],
)
def test_a_file_that_is_no_archive_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "network.pt2"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SourceError, match=message):
        read_program(path)


def test_an_archive_that_lacks_a_file_is_refused(archive: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(tmp_path / "bad.pt2", "w") as new:
        for member in old.namelist():
            if not member.endswith("weight_0"):
                new.writestr(member, old.read(member))
    with pytest.raises(SourceError, match="has no data/weights/weight_0"):
        read_program(tmp_path / "bad.pt2")


def test_damaged_json_is_refused(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"models/model\.json is damaged"):
        read_program(changed(archive, tmp_path / "bad.pt2", MODEL, lambda content: content[:-20]))
