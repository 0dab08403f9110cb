"""Minimal service of FastAPI and Zennit, an afternoon's work: one endpoint, served by ``fastapi run service.py``.

The endpoint is a plain function, so that FastAPI runs it in its thread pool and does not block the event loop.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import FastAPI, File, Request

from benchmarks.peers.common import ZennitExplainer, answer, decode, load_model


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    model, app.state.card = load_model()
    app.state.explainer = ZennitExplainer(model)
    yield


app = FastAPI(lifespan=lifespan)


@app.get("/health")
def health() -> str:
    return "ready"


@app.post("/explain")
def explain(request: Request, file: Annotated[bytes, File()]) -> dict[str, object]:
    card = request.app.state.card
    logits, relevance = request.app.state.explainer.explain(decode(file, card).unsqueeze(0))
    return answer(logits[0], relevance[0], card.classes)
