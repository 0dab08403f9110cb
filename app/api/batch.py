"""``POST /explain/batch``: many pictures in one request."""

import asyncio
import io
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from app.answers import BatchAnswer, BatchResult
from app.api.disconnect import while_connected
from app.api.documented import problems
from app.api.explain import UPLOAD_PROBLEMS
from app.api.negotiation import Format, choose
from app.api.parameters import BatchParameters, each_once
from app.api.problems import problem_of
from app.api.upload import NamedFile, files_body, read_files
from app.pipeline import Explained, How, Pipeline, Timings

router = APIRouter(tags=["explain"], dependencies=[Depends(each_once)])


@dataclass(frozen=True)
class Outcome:
    """What came of one file."""

    file: str
    result: Explained | Exception


@router.post(
    "/explain/batch",
    summary="Class scores and relevance heatmaps of several pictures",
    response_class=Response,
    responses={
        200: {
            "description": "Results in the order of the files; or a zip with a PNG for each, and results.json.",
            "model": BatchAnswer,
            "content": {Format.ZIP.media_type: {"schema": {"type": "string", "format": "binary"}}},
        },
        **problems(*UPLOAD_PROBLEMS),
    },
    openapi_extra=files_body(),
)
async def explain_batch(request: Request, asked: Annotated[BatchParameters, Query()]) -> Response:
    """Send several pictures as parts `file`, get each explained.

    One that cannot be read gets a problem in its place and costs the others nothing. All of them together
    have the size limit of a body.
    """
    form = choose(asked.format, request.headers.get("accept", ""), [Format.JSON, Format.ZIP])
    pipeline: Pipeline = request.state.pipeline
    how = asked.how()
    pipeline.check(how)
    files = await read_files(request, request.state.about_model.limits.max_pictures)
    timings = [Timings() for _ in files]
    outcomes = await while_connected(
        request,
        asyncio.gather(
            *(_outcome(pipeline, file, how, clock) for file, clock in zip(files, timings, strict=True))
        ),
    )
    request.state.timings.longest_of(timings)
    write = _zip if form is Format.ZIP else _json
    body = await pipeline.in_pool(lambda: write(request, outcomes, values=asked.values))
    return Response(body, media_type=form.media_type, headers={"Vary": "Accept"})


async def _outcome(pipeline: Pipeline, file: NamedFile, how: How, timings: Timings) -> Outcome:
    try:
        return Outcome(file.name, await pipeline.explain(file.data, how, timings))
    except Exception as error:  # noqa: BLE001 # each gets the answer that a request of its own would have got
        return Outcome(file.name, error)


def _answer(request: Request, outcomes: Sequence[Outcome], *, values: bool) -> BatchAnswer:
    return BatchAnswer(
        results=[
            BatchResult(file=outcome.file, explanation=outcome.result.answer(values=values))
            if isinstance(outcome.result, Explained)
            else BatchResult(file=outcome.file, problem=problem_of(outcome.result, request).model_dump())
            for outcome in outcomes
        ]
    )


def _json(request: Request, outcomes: Sequence[Outcome], *, values: bool) -> bytes:
    return _answer(request, outcomes, values=values).model_dump_json().encode()


def _zip(request: Request, outcomes: Sequence[Outcome], *, values: bool) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:  # stored: PNGs are compressed
        for index, outcome in enumerate(outcomes):
            if isinstance(outcome.result, Explained):
                archive.writestr(f"{index:03d}-{_safe(outcome.file)}.png", outcome.result.heatmap.png)
        archive.writestr("results.json", _json(request, outcomes, values=values))
    return buffer.getvalue()


def _safe(name: str) -> str:
    """The stem of a file's name, in letters that are harmless everywhere: whoever unpacks it trusts us."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", PurePath(name).stem)[:64] or "picture"
