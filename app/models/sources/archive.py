"""Reading of `torch.export` archives (``.pt2``) without running anything in them.

`torch.export.load` unpickles sample inputs and pickled weights without restriction where ``weights_only`` fails,
evaluates symbolic sizes as Python (`sympy.sympify`), looks operators up among all attributes of ``torch``, and
keeps guards, which are compiled as Python when the program is run. Here, weights are read as plain bytes, pickles
are not read at all, and texts that PyTorch would evaluate must have the few forms that are written by torch.
What remains is given to PyTorch's own deserializer, which has no public interface.
"""

import json
import math
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from app.errors import SourceError

_WRITTEN_BY = "write it with torch.export.save of this version of torch"
_SIZE = re.compile(
    r"(?:Symbol\('[su]\d+'(?:, (?:positive|nonnegative|integer)=True)*\)"
    r"|(?:Integer|Add|Mul|Pow|Max|Min|Mod|PythonMod|FloorDiv|CeilDiv|ModularIndexing)\("
    r"|[su]\d+|\d+|[-+*/(), ])+"
)
"""Of symbolic sizes: symbols, numbers, arithmetic and a few functions; no attributes, no other texts."""
_OPERATOR = re.compile(
    r"torch\.ops\.aten\.(?!from_file\b)\w+\.\w+"
    r"|_operator\.(?:getitem|add|sub|mul|floordiv|mod|neg|eq|ne|lt|le|gt|ge|pos|and_|or_)"
    r"|torch\.sym_(?:min|max|not|sum)"
    r"|math\.(?:ceil|floor|trunc)"
)
"""PyTorch's own operators, but the one that opens files, and arithmetic on sizes."""
_CONTAINERS = (None, "builtins.tuple", "builtins.list", "builtins.dict")
_METADATA = ("stack_trace", "nn_module_stack", "torch_fn")
"""Texts about a node that PyTorch only splits."""
_MAX_EXPRESSION = 1000
"""Characters."""


def read_program(path: Path) -> ExportedProgram:
    """Return the program of an archive; raises `SourceError`."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _program(_Archive(archive, path))
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror or error})") from None
    except zipfile.BadZipFile:
        raise SourceError(f"{path}: not an archive of torch.export; {_WRITTEN_BY}") from None


class _Archive:
    """Files of an archive by their path below its top folder."""

    def __init__(self, archive: zipfile.ZipFile, path: Path) -> None:
        self.path = path
        self._archive = archive
        self._names = {name.partition("/")[2]: name for name in archive.namelist()}

    def names(self, folder: str) -> list[str]:
        """Return the paths in a folder."""
        return [name for name in self._names if name.startswith(folder)]

    def bytes(self, name: str) -> bytes:
        """Return the content of a file; raises `SourceError` if there is none."""
        if name not in self._names:
            raise SourceError(f"{self.path}: has no {name}; {_WRITTEN_BY}")
        return self._archive.read(self._names[name])

    def json(self, name: str) -> Any:
        """Return a JSON file; raises `SourceError`."""
        try:
            return json.loads(self.bytes(name))
        except (ValueError, RecursionError):
            raise SourceError(f"{self.path}: {name} is damaged") from None


def _program(archive: _Archive) -> ExportedProgram:
    from torch._export.serde import schema
    from torch._export.serde.serialize import ExportedProgramDeserializer, _dict_to_dataclass

    names = archive.names("models/")
    if archive.bytes("byteorder") != b"little" or len(names) != 1:
        raise SourceError(f"{archive.path}: must hold one program, in little-endian bytes; {_WRITTEN_BY}")
    model = names[0].removeprefix("models/").removesuffix(".json")
    try:
        content = _vetted(archive.json(names[0]), archive.path)
        weights = _tensors(archive, "data/weights/", f"{model}_weights_config.json")
        constants = _tensors(archive, "data/constants/", f"{model}_constants_config.json")
        program = _dict_to_dataclass(schema.ExportedProgram, content)
        return ExportedProgramDeserializer().deserialize(program, weights, constants)
    except SourceError:
        raise
    except Exception as error:  # the deserializer asserts and fails in many ways
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise SourceError(f"{archive.path}: the program cannot be read ({reason}); {_WRITTEN_BY}") from error


def _vetted(content: Any, path: Path) -> Any:
    """Return a program's JSON without what PyTorch would run; raises `SourceError` for what is not plain."""
    module = content["graph_module"]
    unknown = [
        _described(node) for node in module["graph"]["nodes"] if not _OPERATOR.fullmatch(node["target"])
    ]
    if unknown:
        listed = "".join(f"\n- {one}" for one in dict.fromkeys(unknown))
        raise SourceError(f"{path}: the network has operations that are not supported:{listed}")
    for key, value in _items(content):
        if key == "expr_str" and not (len(value) <= _MAX_EXPRESSION and _SIZE.fullmatch(value)):
            raise SourceError(f"{path}: {value[:60]!r} is no size")
        if key in ("custom_obj", "as_custom_obj", "as_operator", "as_graph"):
            raise SourceError(f"{path}: has objects other than tensors ({key}), which are not read")
        if key in ("in_spec", "out_spec"):
            _check_containers(json.loads(value), path)
    for node in module["graph"]["nodes"]:
        node["metadata"] = {key: node["metadata"][key] for key in _METADATA if key in node["metadata"]}
    module["module_call_graph"] = module["module_call_graph"][:1]
    module["metadata"] = {}
    return {**content, "guards_code": []}


def _items(content: Any) -> Iterator[tuple[str, Any]]:
    """Return all members of the objects in ``content``, at any depth."""
    stack = [content]
    while stack:
        match stack.pop():
            case dict() as members:
                yield from members.items()
                stack.extend(members.values())
            case list() as values:
                stack.extend(values)


def _check_containers(spec: Any, path: Path) -> None:
    """Raise `SourceError` unless inputs and outputs are tensors in plain containers.

    PyTorch imports modules that the specification of others names.
    """
    for key, value in _items(spec):
        plain = value in _CONTAINERS if key == "type" else key != "context" or "__enum__" not in str(value)
        if not plain:
            raise SourceError(
                f"{path}: inputs or outputs are {value!r}; only tuples, lists and dicts are read"
            )


def _described(node: Mapping[str, Any]) -> str:
    """Return operator, module and source line of a node."""
    metadata = node["metadata"]
    module = metadata.get("nn_module_stack", "").split(";")[-1].split(",")
    place = re.findall(r'File "(.+)", line (\d+)', metadata.get("stack_trace", ""))
    where = f" in {module[1]}" if len(module) > 1 and module[1] else ""
    return f"{node['target']}{where}" + (f" ({place[-1][0]}:{place[-1][1]})" if place else "")


def _tensors(archive: _Archive, folder: str, config: str) -> dict[str, Tensor]:
    """Return the tensors that a configuration file lists, by name."""
    members = archive.json(folder + config)["config"]
    pickled = [name for name, member in members.items() if member["use_pickle"] or not member["tensor_meta"]]
    if pickled:
        raise SourceError(f"{archive.path}: {pickled[0]} is pickled, and is not read; {_WRITTEN_BY}")
    records = {
        member["path_name"]: archive.bytes(folder + member["path_name"]) for member in members.values()
    }
    return {name: _loaded(records[member["path_name"]], member) for name, member in members.items()}


def _loaded(content: bytes, member: Mapping[str, Any]) -> Tensor:
    meta = member["tensor_meta"]
    tensor = _tensor(content, meta)
    return nn.Parameter(tensor, requires_grad=meta["requires_grad"]) if member["is_param"] else tensor


def _tensor(content: bytes, meta: Mapping[str, Any]) -> Tensor:
    """Return a tensor from its bytes and description; sizes and strides are checked against the bytes."""
    from torch._export.serde.serialize import deserialize_scalar_type

    sizes, strides = ([side["as_int"] for side in meta[key]] for key in ("sizes", "strides"))
    dtype = deserialize_scalar_type(meta["dtype"])
    if not content or not math.prod(sizes):
        return torch.empty(sizes, dtype=dtype)
    flat = torch.frombuffer(bytearray(content), dtype=dtype)
    return torch.as_strided(flat, sizes, strides, meta["storage_offset"]["as_int"])
