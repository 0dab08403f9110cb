"""``POST /explain/batch``: many inputs in one request, for each kind of input."""

import asyncio
import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from app.api.concurrency import RunAllDep
from app.api.dependencies import LimitsDep, TimingsDep, pipeline_of
from app.api.http.negotiation import choose
from app.api.http.problems import problem_of
from app.api.http.query import each_once
from app.api.kinds.protocol import BatchItem, KindOverHTTP
from app.api.openapi import problems
from app.api.parameters import SingleParameters
from app.api.routes.explain import UPLOAD_PROBLEMS, respond
from app.api.rule_parameters import query
from app.errors import PublicError
from app.serving import representations
from app.serving.pipeline import Pipeline
from app.serving.representations import Format
from app.serving.requests import places_of
from app.serving.timings import Timings


@dataclass(frozen=True)
class ItemResult:
    """Outcome of one input: its explanation, or what was raised."""

    item: BatchItem
    outcome: representations.Parts | Exception


def create_router(kinds: Sequence[KindOverHTTP]) -> APIRouter:
    """Return the routes, whose query parameters include those of the rules in the table."""
    router = APIRouter(tags=["explain"], dependencies=[Depends(each_once)])
    for kind in kinds:
        _add_explain_batch(router, kind)
    return router


def _add_explain_batch(router: APIRouter, kind: KindOverHTTP) -> None:
    batch = kind.batch

    @router.post(
        f"/explain/batch{kind.suffix}",
        name=kind.name("explain_batch"),
        summary=f"Class scores and relevance of several {kind.items}",
        description=f"Send several {kind.items} {batch.form}, get each explained.\n\n"
        "One that cannot be read gets a problem in its place and costs the others nothing. All of them together "
        "have the size limit of a body.",
        response_class=Response,
        responses={
            200: {
                "description": f"Results in the order of the {kind.items}; or a zip with a PNG for each, and "
                "results.json.",
                "model": batch.answer,
                "content": {Format.ZIP.media_type: {"schema": Format.ZIP.schema}},
            },
            **problems(*UPLOAD_PROBLEMS),
        },
        openapi_extra=dict(batch.body),
    )
    async def explain_batch(
        request: Request,
        asked: Annotated[SingleParameters, Depends(query(batch.parameters, kind.kind))],
        pipeline: Annotated[Pipeline, Depends(pipeline_of(kind.kind))],
        limits: LimitsDep,
        timings: TimingsDep,
        run_all: RunAllDep,
    ) -> Response:
        form = choose(asked.form, request.headers.get("accept", ""), [Format.JSON, Format.ZIP])
        options = asked.options()
        pipeline.check(options)
        items = await batch.read(request, pipeline, limits, timings)
        write = partial(representations.parts, values=asked.values, drawn=form is Format.ZIP)

        async def explain(item: BatchItem, timings: Timings) -> representations.Parts:
            if isinstance(item.data, PublicError):
                raise item.data
            return await pipeline.explain(item.data, options, timings, write)

        places = places_of([options.samples] * len(items))
        outcomes = await run_all([partial(explain, item) for item in items], places)
        results = [ItemResult(item, outcome) for item, outcome in zip(items, outcomes, strict=True)]
        content = representations.results([_json(request, result) for result in results])
        body = content if form is Format.JSON else await asyncio.to_thread(_zip, results, content)
        return respond(representations.Representation(body), form)


def _json(request: Request, result: ItemResult) -> bytes:
    """A result in JSON, around an explanation that is JSON already."""
    explanation, problem = b"null", b"null"
    if isinstance(result.outcome, representations.Parts):
        explanation = result.outcome.explanation
    else:
        problem = problem_of(result.outcome, request).model_dump_json().encode()
    members = {name: json.dumps(value).encode() for name, value in result.item.names.items()}
    members |= {"explanation": explanation, "problem": problem}
    return b"{%s}" % b",".join(b'"%s":%s' % (name.encode(), value) for name, value in members.items())


def _zip(results: Sequence[ItemResult], content: bytes) -> bytes:
    """An archive of the drawings and ``content``, the JSON of all results."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:  # stored: PNGs are compressed
        for index, result in enumerate(results):
            if isinstance(result.outcome, representations.Parts) and result.outcome.png is not None:
                archive.writestr(f"{index:03d}-{result.item.stem}.png", result.outcome.png)
        archive.writestr("results.json", content)
    return buffer.getvalue()
