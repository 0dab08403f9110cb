"""The one picture of a request, as raw body or as the multipart part ``file``."""

from typing import Any

from fastapi import Request
from starlette.datastructures import FormData, UploadFile

from app.errors import BadRequestError, UnsupportedMediaTypeError

SEND_ONE = "send one picture as multipart part 'file' or as the raw body with its image type"
MAX_PARTS = 8  # one is right; a few more are parsed only to be able to say what is wrong


async def read_upload(request: Request) -> bytes:
    """The picture's bytes; raises 400, 413 or 415 as the HTTP contract says."""
    refuse_compressed(request)
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
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


def refuse_compressed(request: Request) -> None:
    """Raise 415: a body of a few kilobytes may unfold to gigabytes."""
    if request.headers.get("content-encoding", "identity") != "identity":
        raise UnsupportedMediaTypeError("the body is compressed; send it as it is, without Content-Encoding")


async def _file_part(request: Request) -> bytes:
    async with request.form(max_files=MAX_PARTS, max_fields=MAX_PARTS) as form:
        part = _only_part(form)
        if not isinstance(part, UploadFile):
            raise BadRequestError(f"the part 'file' is text without a file name; {SEND_ONE}")
        return await part.read()


def _only_part(form: FormData) -> UploadFile | str:
    parts = form.multi_items()
    others = sorted({name for name, _ in parts} - {"file"})
    if others:
        raise BadRequestError(
            f"unexpected part {others[0]!r}; options are query parameters, as in /explain?rule=gamma"
        )
    if not parts:
        raise BadRequestError(f"no part 'file' arrived whole; {SEND_ONE}")
    if len(parts) > 1:
        raise BadRequestError(f"{len(parts)} files; {SEND_ONE}")
    return parts[0][1]


def request_body() -> dict[str, Any]:
    """Both forms of upload, for a route's OpenAPI."""
    picture = {"type": "string", "format": "binary"}
    return {
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "required": ["file"],
                        "properties": {
                            "file": {
                                **picture,
                                "description": "PNG, JPEG, WebP, GIF, BMP or TIFF; read from the bytes.",
                            }
                        },
                    }
                },
                "image/*": {"schema": picture},
                "application/octet-stream": {"schema": picture},
            },
        }
    }
