"""The service as a process whose model does as it is told: for tests of how the process ends.

Each batch is announced on stdout, as ``batch 3``, and waits for a word on stdin: ``go``, ``lose`` the device, or
``die``. When stdin is at its end all go.
"""

import sys
from collections.abc import Sequence

import torch
from torch import Tensor

from app.lrp.attribution import Answers
from app.lrp.engine.engine import Engine
from app.lrp.request import Ask
from app.main import create_app
from app.models.local import LocalModel
from app.server import run
from app.settings import Settings
from app.telemetry.logs import configure


def main() -> None:
    engines_own = Engine.answer

    def answer(engine: Engine, inputs: Tensor, asks: Sequence[Ask]) -> Answers:
        print("batch", len(inputs), flush=True)
        match sys.stdin.readline().strip():
            case "lose":
                raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
            case "die":
                raise SystemExit
        return engines_own(engine, inputs, asks)

    Engine.answer = answer  # type: ignore[method-assign,assignment] # this process is for that
    configure("json")
    settings = Settings()
    run(create_app(settings, LocalModel.load(settings.model, "cpu", None)), settings)


if __name__ == "__main__":
    main()
