"""Reading of uploads: one picture as raw body or multipart part ``file``, or several such parts."""

import errno
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from app.api.http.errors import BadRequestError, UnsupportedMediaTypeError
from app.errors import TooLargeError, UnavailableError
from app.modalities.image.signatures import looks_like_picture

SEND_ONE = "send one picture as multipart part 'file' or as the raw body with its image type"
MAX_PARTS = 8
"""Limit of the multipart parser. More than one part is an error; a few are parsed for its message."""
MAX_PREAMBLE_BYTES = 2**16
UNDECLARED = ("", "application/x-www-form-urlencoded")
"""Media types of requests whose client was not given one.

``fetch`` and requests send none; ``curl --data-binary`` and ``wget --post-file`` send that of forms.
"""


async def read_upload(request: Request) -> bytes:
    """Return the bytes of the picture in a request.

    Raises:
        BadRequestError: There is not exactly one picture, it is empty, or the multipart body is malformed.
        UnsupportedMediaTypeError: The body is compressed, or its content type is not one of a picture.
        TooLargeError: The body exceeds the limit.
        UnavailableError: The disk is full.

    """
    refuse_compressed(request)
    media_type = media_type_of(request)
    if media_type == "multipart/form-data":
        data = await _file_part(request)
    elif media_type.startswith("image/") or media_type == "application/octet-stream":
        data = await request.body()
    else:
        data = await request.body() if media_type in UNDECLARED else b""
        if not looks_like_picture(data):
            raise UnsupportedMediaTypeError(
                f"{media_type or 'a body without Content-Type'} is no picture; {SEND_ONE}"
            )
    if not data:
        raise BadRequestError(f"the picture is empty; {SEND_ONE}")
    return data


@dataclass(frozen=True)
class NamedFile:
    """File name and content of one of several uploads, or what is wrong with its part."""

    name: str
    data: bytes | BadRequestError


async def read_files(request: Request, max_files: int) -> list[NamedFile]:
    """Return all parts ``file`` in the order in which they were sent, at most ``max_files``.

    Raises the errors of `read_upload`, and `TooLargeError` for more than ``max_files`` parts.
    """
    refuse_compressed(request)
    if media_type_of(request) != "multipart/form-data":
        raise UnsupportedMediaTypeError("several pictures come as multipart/form-data, each a part 'file'")
    # The default max_files of Starlette, 1000, is above ours, so the error below can state our limit.
    async with _form(request, max_fields=MAX_PARTS) as form:
        parts = form.multi_items()
        _refuse_other_parts(form)
        if not parts:
            raise BadRequestError("no part 'file' arrived whole; send at least one picture")
        if len(parts) > max_files:
            raise TooLargeError(f"over {max_files} pictures; send at most {max_files} at once")
        return [
            NamedFile(part.filename or "", await part.read())
            if isinstance(part, UploadFile)
            else NamedFile("", _no_file_name("send each picture as `curl -F file=@cat.jpg` does"))
            for _, part in parts
        ]


def refuse_compressed(request: Request) -> None:
    """Raise `UnsupportedMediaTypeError` for a compressed body, whose size after decompression is not limited."""
    if request.headers.get("content-encoding", "identity") != "identity":
        raise UnsupportedMediaTypeError("the body is compressed; send it as it is, without Content-Encoding")


@asynccontextmanager
async def _form(request: Request, **limits: int) -> AsyncIterator[FormData]:
    """Parse a multipart body, and close its temporary files at the end.

    Raises `BadRequestError` if it is malformed, and `UnavailableError` if the disk is full: larger files are
    stored in temporary files.
    """
    try:
        form = await MultiPartParser(request.headers, _without_preamble(request), **limits).parse()
    except MultiPartException as error:
        raise BadRequestError(
            f"the multipart body cannot be read ({error.message.rstrip('.')}); let a library or "
            "`curl -F file=@cat.jpg` write it and its Content-Type"
        ) from None
    except UnicodeError:  # the charset of the Content-Type is a codec that does not decode text
        raise BadRequestError("the multipart body is not in its charset; leave the charset out") from None
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UnavailableError("no room to keep the upload in now; try again in a second") from error
    try:
        yield form
    finally:
        await form.close()


async def _without_preamble(request: Request) -> AsyncGenerator[bytes]:
    """Yield a multipart body without the text before its first boundary (RFC 2046, 5.1.1).

    python-multipart does not accept any. Raises `MultiPartException` if there is too much of it.
    """
    _, parameters = parse_options_header(request.headers["content-type"])
    delimiter = b"\r\n--" + parameters.get(b"boundary", b"")
    chunks = request.stream()
    head = b"\r\n"  # so that a boundary at the very start has a line break before it, too
    async for chunk in chunks:
        head += chunk
        start = head.find(delimiter, 0, MAX_PREAMBLE_BYTES)
        if start >= 0:
            head = head[start:]
            break
        if len(head) >= MAX_PREAMBLE_BYTES:
            raise MultiPartException("no boundary at its beginning")
    yield head[2:]
    async for chunk in chunks:
        yield chunk


async def _file_part(request: Request) -> bytes:
    async with _form(request, max_files=MAX_PARTS, max_fields=MAX_PARTS) as form:
        part = _only_part(form)
        if not isinstance(part, UploadFile):
            raise _no_file_name(SEND_ONE)
        return await part.read()


def _no_file_name(advice: str) -> BadRequestError:
    """Return the error of a part that was parsed as text, so that its bytes are not those that were sent."""
    return BadRequestError(f"the part 'file' is text without a file name; {advice}")


def _only_part(form: FormData) -> UploadFile | str:
    parts = form.multi_items()
    _refuse_other_parts(form)
    if not parts:
        raise BadRequestError(f"no part 'file' arrived whole; {SEND_ONE}")
    if len(parts) > 1:
        raise BadRequestError(f"{len(parts)} files; {SEND_ONE}")
    return parts[0][1]


def _refuse_other_parts(form: FormData) -> None:
    others = sorted(set(form) - {"file"})
    if others:
        raise BadRequestError(
            f"unexpected part {others[0]!r}; options are query parameters, as in /explain?rule=gamma"
        )


def media_type_of(request: Request) -> str:
    """Return the media type of a request's body, without its parameters; empty if there is none."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


PICTURE_SCHEMA = {"type": "string", "format": "binary"}
DESCRIPTION = (
    "PNG, JPEG, WebP, GIF, BMP or TIFF; read from the bytes. EXIF orientation and ICC profiles are applied. "
    "A layout of pixels that is not known to be decoded correctly is refused by name."
)


def files_body() -> dict[str, Any]:
    """Return the OpenAPI request body for several uploads."""
    files = {
        "type": "array",
        "items": PICTURE_SCHEMA,
        "minItems": 1,
        "description": DESCRIPTION,
    }
    return {
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _form_schema(files)}}}
    }


def request_body() -> dict[str, Any]:
    """Return the OpenAPI request body for one upload, raw or multipart."""
    return {
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": _form_schema({**PICTURE_SCHEMA, "description": DESCRIPTION})
                },
                "image/*": {"schema": PICTURE_SCHEMA},
                "application/octet-stream": {"schema": PICTURE_SCHEMA},
            },
        }
    }


def _form_schema(file: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of a form whose only field is ``file``."""
    return {
        "type": "object",
        "required": ["file"],
        "properties": {"file": file},
        "additionalProperties": False,
    }
