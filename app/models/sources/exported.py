"""The source ``exported:FILE.pt2``: a program that `torch.export.save` wrote."""

from pathlib import Path

from torch import Tensor
from torch.export.graph_signature import InputKind

from app.errors import SourceError
from app.models.sources.archive import read_program
from app.models.sources.image_input import ImageInput
from app.models.sources.protocol import SourceModel, SourceOptions
from app.models.sources.weights import refuse_weights


class ExportedSource:
    """Programs that take pictures (B, channels, height, width); see `app.models.sources.protocol.Source`."""

    def load(self, argument: str, options: SourceOptions) -> SourceModel:
        """Return the program in the file ``argument``."""
        refuse_weights(options, f"exported:{argument}")
        program = read_program(Path(argument))
        specs = [spec for spec in program.graph_signature.input_specs if spec.kind is InputKind.USER_INPUT]
        nodes = {node.name: node for node in program.graph.nodes}
        inputs = [nodes[spec.arg.name].meta.get("val") for spec in specs]
        if len(inputs) != 1 or not isinstance(inputs[0], Tensor):
            raise SourceError(
                f"{argument}: has {len(inputs)} inputs; a network with one, pictures, can be served"
            )
        shape = _shape_of_pictures(argument, inputs[0])
        if options.size not in (None, shape[2:]):
            raise SourceError(f"--size: the program takes {shape[2]}×{shape[3]} only")
        name = Path(argument).stem
        pictures = ImageInput((1 if shape[1] == 1 else 3, shape[2], shape[3]))
        return SourceModel(program, name, pictures, None)


def _shape_of_pictures(argument: str, x: Tensor) -> tuple[int, ...]:
    """Return the shape of a program's input, in which only the batch is free; raises `SourceError` for others."""
    shape = tuple(x.shape)
    sizes = [str(size) for size in shape]
    if len(shape) == 2 and not x.is_floating_point():
        raise SourceError(
            f"{argument}: takes integers of shape {sizes}, as networks for texts do, but has no tokenizer; add a "
            "network of transformers, with its tokenizer, as huggingface:FOLDER, or train one: "
            "lrpserve train --recipe words-lstm"
        )
    if len(shape) != 4 or not all(isinstance(side, int) for side in shape[1:]) or shape[1] not in (1, 3):
        raise SourceError(
            f"{argument}: takes an input of shape {sizes}; it must be pictures, (B, channels, height, "
            "width), with 1 or 3 channels and a fixed height and width"
        )
    return shape
