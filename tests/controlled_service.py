"""The service as a process whose batches are controlled through stdin, for tests of its shutdown.

Each batch prints its size on stdout, as ``batch 3``, and waits for a command on stdin: ``run``, ``lose-device``
or ``exit``. At the end of stdin all batches run.
"""

import sys

import torch

from app.lrp.attribution import Batch, BatchAttributions
from app.lrp.engine.engine import Engine
from app.main import create_app
from app.models.local import LocalModel
from app.models.repository import served_model
from app.server import run
from app.settings import Settings
from app.telemetry.logs import configure


def main() -> None:
    original_run = Engine.run

    def controlled_run(engine: Engine, batch: Batch) -> BatchAttributions:
        print("batch", len(batch.inputs), flush=True)
        match sys.stdin.readline().strip():
            case "lose-device":
                raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
            case "exit":
                raise SystemExit
        return original_run(engine, batch)

    configure("json")
    settings = Settings()
    # Loading runs a batch of its own, to check the network.
    model = LocalModel.load(served_model(settings).card_path, "cpu", None)
    Engine.run = controlled_run  # type: ignore[method-assign,assignment] # the purpose of this process
    run(create_app(settings, model), settings)


if __name__ == "__main__":
    main()
