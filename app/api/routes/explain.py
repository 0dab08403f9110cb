"""``POST /predict`` and ``POST /explain``, for each kind of input."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from app.api.concurrency import RunAllDep
from app.api.dependencies import TicketDep, TimingsDep, pipeline_of
from app.api.http.disconnect import while_connected
from app.api.http.negotiation import choose
from app.api.http.query import each_once
from app.api.kinds.protocol import KindOverHTTP
from app.api.openapi import problems
from app.api.parameters import ScoreParameters, SingleParameters
from app.api.rule_parameters import query
from app.serving import representations
from app.serving.pipeline import Pipeline
from app.serving.representations import Format
from app.serving.requests import places_of
from app.serving.schemas import Answer
from app.serving.timings import Timings

UPLOAD_PROBLEMS = (400, 404, 406, 408, 413, 415, 422, 503, 504)
HEADERS = {
    name: {"schema": {"type": "string"}, "description": f"{text}; with every form but JSON."}
    for name, text in (
        ("X-Prediction", "Label of the most probable class, or the predicted value"),
        ("X-Probability", "Its probability"),
        ("X-Target", "Label of the explained class"),
        (
            "X-Scores",
            f"Probability of the {representations.MAX_SCORES_IN_HEADER} most probable classes, as compact JSON",
        ),
    )
}


def create_router(kinds: Sequence[KindOverHTTP]) -> APIRouter:
    """Return the routes, whose query parameters include those of the rules in the table."""
    router = APIRouter(tags=["explain"], dependencies=[Depends(each_once)])
    for kind in kinds:
        _add_predict(router, kind)
        _add_explain(router, kind)
    return router


def _add_predict(router: APIRouter, kind: KindOverHTTP) -> None:
    value = ", or the value that is predicted" if kind.suffix else ""

    @router.post(
        f"/predict{kind.suffix}",
        name=kind.name("predict"),
        summary=f"Class scores of {kind.noun}",
        description=f"Send {kind.noun}, get the probability of every class{value}.",
        response_model=_one_or_several(kind.prediction, kind.predictions),
        responses=problems(*UPLOAD_PROBLEMS),
        openapi_extra=dict(kind.body),
    )
    async def predict(
        request: Request,
        asked: Annotated[ScoreParameters, Depends(query(kind.predict, kind.kind))],
        pipeline: Annotated[Pipeline, Depends(pipeline_of(kind.kind))],
        timings: TimingsDep,
        run_all: RunAllDep,
    ) -> Response:
        choose(None, request.headers.get("accept", ""), [Format.JSON])
        uploads = await kind.read(request, pipeline, timings)
        options = asked.input_options()

        async def predicted(data: Any, timings: Timings) -> bytes:
            answer = await pipeline.predict(data, options, asked.top_k, timings)
            return answer.model_dump_json().encode()

        if uploads.several:
            answers = await run_all.or_fail([partial(predicted, one) for one in uploads.items], kind.items)
            return _results(answers)
        body = await while_connected(request, predicted(uploads.items[0], timings))
        return Response(body, media_type=Format.JSON.media_type)


def _add_explain(router: APIRouter, kind: KindOverHTTP) -> None:
    @router.post(
        f"/explain{kind.suffix}",
        name=kind.name("explain"),
        summary=f"Class scores of {kind.noun}, and {kind.relevance}",
        description=f"Send {kind.noun}, see which {kind.parts} spoke for a class and which against.\n\n"
        f"The `Accept` header picks the form of the answer: {_listed(kind.forms)}; `format=` does the same for a "
        "browser.",
        response_class=Response,
        responses={
            200: {
                "description": f"The explanation: JSON, or one of its other forms: {_listed(kind.forms[1:])}.",
                "model": _one_or_several(kind.explanation, kind.explanations),
                "content": {form.media_type: {"schema": form.schema} for form in kind.forms[1:]},
                "headers": HEADERS,
            },
            **problems(*UPLOAD_PROBLEMS),
        },
        openapi_extra=dict(kind.body),
    )
    async def explain(
        request: Request,
        asked: Annotated[SingleParameters, Depends(query(kind.explain, kind.kind))],
        pipeline: Annotated[Pipeline, Depends(pipeline_of(kind.kind))],
        timings: TimingsDep,
        ticket: TicketDep,
        run_all: RunAllDep,
    ) -> Response:
        form = choose(asked.form, request.headers.get("accept", ""), kind.forms)
        options = asked.options()
        places = places_of([options.samples])
        ticket.acquire_weight(places)
        uploads = await kind.read(request, pipeline, timings)
        write = partial(representations.explanation, form=form, values=asked.values)

        async def explained(data: Any, timings: Timings) -> representations.Representation:
            return await pipeline.explain(data, options, timings, write)

        if uploads.several:
            choose(asked.form, request.headers.get("accept", ""), kind.forms[:1])
            work = [partial(explained, one) for one in uploads.items]
            answers = await run_all.or_fail(work, kind.items, places * len(work))
            return _results([answer.body for answer in answers])
        return respond(await while_connected(request, explained(uploads.items[0], timings)), form)


def respond(content: representations.Representation, form: Format) -> Response:
    """A response with ``content``, one of several representations that the client may accept."""
    return Response(content.body, media_type=form.media_type, headers={"Vary": "Accept", **content.headers})


def _results(answers: Sequence[bytes]) -> Response:
    """A response with several answers, each JSON already."""
    return Response(representations.results(answers), media_type=Format.JSON.media_type)


def _one_or_several(one: type[Answer], several: type[Answer] | None) -> Any:
    return one if several is None else one | several


def _listed(forms: Sequence[Format]) -> str:
    return ", ".join(f"`{form.media_type}`" for form in forms)
