"""LitServe with Zennit and LitServe's own batching: ``python -m benchmarks.peers.litserve.service PORT``."""

import sys

import litserve as ls
import torch
from fastapi import Request
from torch import Tensor

from benchmarks.peers.common import ZennitExplainer, answer, decode, load_model

MAX_BATCH_SIZE = 32
BATCH_TIMEOUT_S = 0.01  # with 0 the worker polls without a pause, on a core that explanations need


class ExplainAPI(ls.LitAPI):
    """Stages of LitServe's pipeline, one method each; all run in its worker process."""

    def setup(self, device: str) -> None:
        model, self.card = load_model()
        self.explainer = ZennitExplainer(model.to(device))

    def decode_request(self, request: Request) -> Tensor:
        return decode(request["file"].file.read(), self.card)

    def batch(self, inputs: list[Tensor]) -> Tensor:
        return torch.stack(inputs)

    def predict(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        return self.explainer.explain(pictures)

    def unbatch(self, output: tuple[Tensor, Tensor]) -> list[tuple[Tensor, Tensor]]:
        return list(zip(*output, strict=True))

    def encode_response(self, output: tuple[Tensor, Tensor]) -> dict[str, object]:
        return answer(*output, self.card.classes)


if __name__ == "__main__":
    api = ExplainAPI(max_batch_size=MAX_BATCH_SIZE, batch_timeout=BATCH_TIMEOUT_S, api_path="/explain")
    ls.LitServer(api, timeout=60).run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False)
