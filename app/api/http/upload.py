"""The pictures of a request: one, as raw body or as the multipart part ``file``, or several such parts."""

import errno
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException

from app.api.http.errors import BadRequestError, UnsupportedMediaTypeError
from app.errors import TooLargeError, UnavailableError

SEND_ONE = "send one picture as multipart part 'file' or as the raw body with its image type"
MAX_PARTS = 8  # one is right; a few more are parsed only to be able to say what is wrong


async def read_upload(request: Request) -> bytes:
    """The picture's bytes; raises 400, 413 or 415 as the HTTP contract says."""
    refuse_compressed(request)
    media_type = _media_type(request)
    if media_type == "multipart/form-data":
        data = await _file_part(request)
    elif media_type.startswith("image/") or media_type == "application/octet-stream":
        data = await request.body()
    else:
        raise UnsupportedMediaTypeError(
            f"{media_type or 'a body without Content-Type'} is no picture; {SEND_ONE}"
        )
    if not data:
        raise BadRequestError(f"the picture is empty; {SEND_ONE}")
    return data


@dataclass(frozen=True)
class NamedFile:
    """One of several files."""

    name: str
    data: bytes


async def read_files(request: Request, most: int) -> list[NamedFile]:
    """All parts ``file``, in the order sent; raises 400, 413 or 415."""
    refuse_compressed(request)
    if _media_type(request) != "multipart/form-data":
        raise UnsupportedMediaTypeError("several pictures come as multipart/form-data, each a part 'file'")
    async with _form(request, max_fields=MAX_PARTS) as form:  # far more files than ``most``: we say the limit
        parts = form.multi_items()
        _refuse_others(form)
        if not parts:
            raise BadRequestError("no part 'file' arrived whole; send at least one picture")
        if len(parts) > most:
            raise TooLargeError(f"over {most} pictures; send at most {most} at once")
        return [
            NamedFile(part.filename or "", await part.read())
            if isinstance(part, UploadFile)
            else NamedFile("", part.encode())
            for _, part in parts
        ]


def refuse_compressed(request: Request) -> None:
    """Raise 415: a body of a few kilobytes may unfold to gigabytes."""
    if request.headers.get("content-encoding", "identity") != "identity":
        raise UnsupportedMediaTypeError("the body is compressed; send it as it is, without Content-Encoding")


@asynccontextmanager
async def _form(request: Request, **limits: int) -> AsyncIterator[FormData]:
    """The parts of a multipart body; raises 400 where it cannot be taken apart, 503
    where the disk, which keeps the larger files meanwhile, is full.
    """
    try:
        form = await request.form(**limits)
    except HTTPException as error:
        raise BadRequestError(
            f"the multipart body cannot be read ({error.detail.rstrip('.')}); let a library or "
            "`curl -F file=@cat.jpg` write it and its Content-Type"
        ) from None
    except UnicodeError:  # of a charset in its Content-Type that names a codec of another kind
        raise BadRequestError("the multipart body is not in its charset; leave the charset out") from None
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UnavailableError("no room to keep the upload in now; try again in a second") from error
    try:
        yield form
    finally:
        await form.close()


async def _file_part(request: Request) -> bytes:
    async with _form(request, max_files=MAX_PARTS, max_fields=MAX_PARTS) as form:
        part = _only_part(form)
        if not isinstance(part, UploadFile):
            raise BadRequestError(f"the part 'file' is text without a file name; {SEND_ONE}")
        return await part.read()


def _only_part(form: FormData) -> UploadFile | str:
    parts = form.multi_items()
    _refuse_others(form)
    if not parts:
        raise BadRequestError(f"no part 'file' arrived whole; {SEND_ONE}")
    if len(parts) > 1:
        raise BadRequestError(f"{len(parts)} files; {SEND_ONE}")
    return parts[0][1]


def _refuse_others(form: FormData) -> None:
    others = sorted(set(form) - {"file"})
    if others:
        raise BadRequestError(
            f"unexpected part {others[0]!r}; options are query parameters, as in /explain?rule=gamma"
        )


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


PICTURE = {"type": "string", "format": "binary"}
FORMATS = "PNG, JPEG, WebP, GIF, BMP or TIFF; read from the bytes."


def files_body() -> dict[str, Any]:
    """Several uploads, for a route's OpenAPI."""
    files = {
        "type": "array",
        "items": PICTURE,
        "minItems": 1,
        "description": FORMATS,
    }
    return {
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _form_schema(files)}}}
    }


def request_body() -> dict[str, Any]:
    """Both forms of upload, for a route's OpenAPI."""
    return {
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": _form_schema({**PICTURE, "description": FORMATS})},
                "image/*": {"schema": PICTURE},
                "application/octet-stream": {"schema": PICTURE},
            },
        }
    }


def _form_schema(file: Mapping[str, Any]) -> dict[str, Any]:
    """Schema of a form that has parts ``file`` and no others."""
    return {
        "type": "object",
        "required": ["file"],
        "properties": {"file": file},
        "additionalProperties": False,
    }
