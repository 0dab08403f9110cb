"""Write the graphs of the project's architectures: ``python -m app.models.architectures.write_graphs``.

They are stored because torch.export takes seconds, which the start of the service has not.
"""

import torch

from app.lrp.graph.graph import to_json
from app.lrp.graph.trace import trace
from app.models.architectures.registry import ARCHITECTURES, graph_path


def graph_text(architecture: str) -> str:
    """Return the JSON form of an architecture's graph."""
    model = ARCHITECTURES[architecture]()
    return to_json(trace(model, torch.zeros(1, *model.input_size)).graph)


def main() -> None:
    """Write the graphs of all architectures."""
    for architecture in ARCHITECTURES:
        graph_path(architecture).write_text(graph_text(architecture))


if __name__ == "__main__":
    main()
