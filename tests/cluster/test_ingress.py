"""What is done for an application behind Ray's proxy."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from app.cluster.ingress import BehindRay


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[dict[str, str]]:
    yield {"started": "yes"}


async def echo(request: Request) -> Response:
    """Answer with the state, which no two requests share, and with the ID that is asked for."""
    seen = f"{request.state.started} {getattr(request.state, 'of_a_request', 'no')}"
    request.state.of_a_request = "yes"
    return Response(seen, headers={"X-Request-ID": request.query_params["answer"], "X-Other": "kept"})


@pytest.mark.parametrize(
    ("sent", "answered", "ids"),
    [("a1", "a1", None), ("not valid", "b2", "b2"), (None, "c3", "c3")],
)
def test_requests_have_the_state_and_answers_the_id_that_rays_proxy_does_not_add(
    sent: str | None, answered: str, ids: str | None
) -> None:
    app = BehindRay(Starlette(routes=[Route("/", echo)], lifespan=lifespan))
    with TestClient(app) as client:
        for _ in range(2):
            headers = {} if sent is None else {"X-Request-ID": sent}
            response = client.get("/", params={"answer": answered}, headers=headers)
            assert response.text == "yes no"
            assert response.headers.get("X-Request-ID") == ids
            assert response.headers["X-Other"] == "kept"
