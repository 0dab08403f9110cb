"""``POST /explain/batch``: many pictures in one request."""

import asyncio
import io
import json
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import PurePath
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from app.api.concurrency import RunAll
from app.api.dependencies import ImagePipelineDep, LimitsDep
from app.api.http.errors import BadRequestError
from app.api.http.negotiation import choose
from app.api.http.problems import problem_of
from app.api.http.query import each_once
from app.api.http.upload import NamedFile, files_body, read_files
from app.api.openapi import problems
from app.api.parameters import BatchParameters
from app.api.routes.explain import UPLOAD_PROBLEMS, respond
from app.api.rule_parameters import query
from app.serving import representations
from app.serving.representations import Format
from app.serving.requests import places_of
from app.serving.schemas import BatchAnswer
from app.serving.timings import Timings


@dataclass(frozen=True)
class FileResult:
    """Outcome of one file: its explanation, or what was raised."""

    file: str
    outcome: representations.Parts | Exception


def create_router() -> APIRouter:
    """Return the routes, whose query parameters include those of the rules in the table."""
    router = APIRouter(tags=["explain"], dependencies=[Depends(each_once)])

    @router.post(
        "/explain/batch",
        summary="Class scores and relevance heatmaps of several pictures",
        response_class=Response,
        responses={
            200: {
                "description": "Results in the order of the files; or a zip with a PNG for each, and "
                "results.json.",
                "model": BatchAnswer,
                "content": {Format.ZIP.media_type: {"schema": {"type": "string", "format": "binary"}}},
            },
            **problems(*UPLOAD_PROBLEMS),
        },
        openapi_extra=files_body(),
    )
    async def explain_batch(
        request: Request,
        asked: Annotated[BatchParameters, Depends(query(BatchParameters))],
        pipeline: ImagePipelineDep,
        limits: LimitsDep,
        run_all: Annotated[RunAll, Depends()],
    ) -> Response:
        """Send several pictures as parts `file`, get each explained.

        One that cannot be read gets a problem in its place and costs the others nothing. All of them together
        have the size limit of a body.
        """
        form = choose(asked.format, request.headers.get("accept", ""), [Format.JSON, Format.ZIP])
        options = asked.options()
        pipeline.check(options)
        files = await read_files(request, limits.max_pictures)
        write = partial(representations.parts, values=asked.values)

        async def explain(file: NamedFile, timings: Timings) -> representations.Parts:
            if isinstance(file.data, BadRequestError):
                raise file.data
            return await pipeline.explain(file.data, options, timings, write)

        places = places_of([options.samples] * len(files))
        outcomes = await run_all([partial(explain, file) for file in files], places)
        results = [FileResult(file.name, outcome) for file, outcome in zip(files, outcomes, strict=True)]
        content = b'{"results":[%s]}' % b",".join([_json(request, result) for result in results])
        body = content if form is Format.JSON else await asyncio.to_thread(_zip, results, content)
        return respond(representations.Representation(body), form)

    return router


def _json(request: Request, result: FileResult) -> bytes:
    """A `BatchResult` in JSON, around an explanation that is JSON already."""
    explanation, problem = b"null", b"null"
    if isinstance(result.outcome, representations.Parts):
        explanation = result.outcome.explanation
    else:
        problem = problem_of(result.outcome, request).model_dump_json().encode()
    file = json.dumps(result.file).encode()
    return b'{"file":%s,"explanation":%s,"problem":%s}' % (file, explanation, problem)


def _zip(results: Sequence[FileResult], content: bytes) -> bytes:
    """An archive of the heatmaps and ``content``, the JSON of all results."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:  # stored: PNGs are compressed
        for index, result in enumerate(results):
            if isinstance(result.outcome, representations.Parts):
                archive.writestr(f"{index:03d}-{_safe(result.file)}.png", result.outcome.png)
        archive.writestr("results.json", content)
    return buffer.getvalue()


def _safe(name: str) -> str:
    """Return the stem of a file's name with characters that are safe in every file system."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", PurePath(name).stem)[:64] or "picture"
