"""Settings of the service, each with the reason for its default."""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

MIB = 2**20
PREFIX = "LRP_"
"""Prefix of the environment variables."""
MIN_SIMILARITY = 0.7
"""Similarity of a suggested name: API_KEYS_FILE for API_KEY, but not CORES for CPUS."""

BODY_COPIES = 3
"""Copies of a body that exist at once: received, in transit to the process that decodes it, and there."""
MAX_PREFIX_LENGTH = 200
PATH_PREFIX = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*")
"""Unreserved characters of RFC 3986 in segments that are neither empty nor dots.

The prefix is part of the links of pages, so it cannot contain markup, nor begin with the name of a host.
"""

LogFormat = Literal["auto", "json", "text"]


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def normal_prefix(text: str) -> str | None:
    """Return a path prefix such as ``/xai`` without the slash at its end; None if ``text`` is not a prefix."""
    prefix = text.strip().rstrip("/")
    is_valid = len(prefix) <= MAX_PREFIX_LENGTH and PATH_PREFIX.fullmatch(prefix)
    return prefix if is_valid else None


def _prefix(text: str) -> str:
    prefix = normal_prefix(text)
    if prefix is None:
        raise ValueError("must be a path such as /xai, of letters, digits, -, ., _ and ~")
    return prefix


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
"""A tuple, or its items with commas between them."""


SHIPPED_NAME = "minivgg-cifar10"
"""Name of the model of pictures that is part of the project."""
SHIPPED_NAMES: Mapping[Literal["image", "text", "table"], str] = MappingProxyType(
    {"image": SHIPPED_NAME, "text": "words-lstm", "table": "concrete"}
)
"""Names of the models that are part of the project and answer where no other is named, by what they take."""


Precision = Literal["float32", "bfloat16"]


def shipped_models() -> Path:
    """Return the folder of models that is part of the project: in a wheel inside the package, else beside it."""
    package = Path(__file__).parent
    name = "model_weights"
    return package / name if (package / name).exists() else package.parent / name


def shipped_model() -> Path:
    """Return the path of the card of the model that is part of the project."""
    return shipped_models() / SHIPPED_NAME / "card.json"


class Settings(BaseSettings):
    """Settings of the service; each is also read from the environment variable ``LRP_<NAME>``."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    models: Path = Field(
        default_factory=shipped_models,
        description="Folder of models: each of its folders with a `card.json` is one. By default it holds the "
        "shipped one.",
    )
    model: Path | None = Field(
        None,
        description="A single model to serve instead: its folder, its `card.json`, or a card that version 0.1 "
        "wrote.",
    )
    default_model: str | None = Field(
        None,
        description="Name of the model that answers where a request names none; of models that take images, text "
        "and tables one each, with commas between them. Default: `minivgg-cifar10`, `words-lstm` and `concrete` "
        "where they are there, else the only one of its kind.",
    )
    device: str = Field("auto", description="auto (CUDA if available), cpu, cuda or cuda:N.")
    precision: Precision = Field(
        "float32",
        description="Precision of products with weights in the relevance pass: float32 or bfloat16, which is "
        "faster and needs a processor with AVX512-BF16 or AMX, or a GPU that has it. Scores stay in float32.",
    )
    cuda_graphs: bool = Field(
        False,
        description="Record explanations of up to 32 inputs as CUDA graphs, which saves the time between the "
        "operations of small batches on a GPU. It has not been tried on one: compare with `verify`.",
    )
    host: str = Field(
        "127.0.0.1",
        description="Address to listen on; by default the loopback, which other machines cannot reach.",
    )
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    root_path: Annotated[str, AfterValidator(_prefix)] = Field(
        "",
        description="Path below which a proxy publishes the service, such as /xai. Requests are accepted with it "
        "and without it; links have it.",
    )
    api_keys_file: Path | None = Field(
        None, description="File with API keys, one per line. Default: no key is required."
    )
    allow_unauthenticated: bool = Field(
        False, description="Allow other addresses than the loopback without keys, if a proxy controls access."
    )
    allowed_hosts: Names = Field(
        (),
        description="Allowed names in the Host header, separated by commas; *.example.com for its subdomains, * "
        "for any. IP addresses and names without a dot are always allowed. Default: any name if keys are "
        "required, else the address listened on.",
    )
    cors_origins: Names = Field(
        (),
        description="Origins whose pages may call the service (CORS), separated by commas: "
        "https://app.example.com; * for any, only without keys. Default: none.",
    )
    reports: Path | None = Field(
        None,
        description="Folder with folders that `lrpserve survey` has written; their reports are at `/reports`. "
        "Default: no reports.",
    )
    max_body_bytes: PositiveInt = Field(
        8 * MIB, description="Largest request body in bytes; photos of most phones fit."
    )
    max_bytes_in_hand: PositiveInt = Field(
        1536 * MIB,
        description="Largest memory for the bodies of current requests, in bytes; further requests are answered "
        "with 503. Each body counts three times, as it is received, in transit to the process that decodes it, "
        "and in that process.",
    )
    max_pictures: PositiveInt = Field(
        32, description="Largest number of pictures in one request; by default that of one batch."
    )
    max_pixels: PositiveInt = Field(
        25_000_000,
        description="Largest picture in pixels; 25 megapixels cover most cameras and take about 1 s and "
        "at most 0.5 GB to decode.",
    )
    max_batch: PositiveInt = Field(
        32,
        description="Largest batch of the model; larger ones have little more throughput, but more latency.",
    )
    max_queue: PositiveInt = Field(
        128,
        description="Most pictures that wait for a model besides a batch of `LRP_MAX_BATCH`; further requests to "
        "it are answered with 503 at once.",
    )
    queue_deadline_s: PositiveFloat = Field(
        5.0, description="Seconds that a request may wait; then it is answered with 504 and not computed."
    )
    max_evaluations: PositiveInt = Field(
        4,
        description="Most evaluations (`POST /evaluate`) of a model at the same time; further ones are answered "
        "with 503 at once. Each runs about a thousand inputs through the model, in the background.",
    )
    evaluation_deadline_s: PositiveFloat = Field(
        30.0, description="Seconds that an evaluation may take; then it is ended and answered with 504."
    )
    model_limit_s: PositiveFloat = Field(
        60.0,
        description="Longest run of one batch in seconds; then the model's process is killed, and the service "
        "ends with exit code 1 so that it is restarted.",
    )
    cores: PositiveInt | None = Field(
        None,
        description="Processor cores for computation. Default: those of the process by its affinity and the "
        "container's quota; torch would count the machine's, and threads in excess delay each other.",
    )
    picture_processes: PositiveInt | None = Field(
        None,
        description="Processes that decode and render, about 50 MB each. Default: one per core, at most 8.",
    )
    read_deadline_s: PositiveFloat = Field(
        15.0, description="Seconds in which a request must arrive after its first byte; 8 MiB at 5 Mbit/s."
    )
    keep_alive_s: PositiveInt = Field(5, description="Seconds for which an idle connection stays open.")
    drain_s: NonNegativeFloat = Field(
        1.0,
        description="Seconds after SIGTERM in which /readyz answers 503 and requests are still accepted, so that "
        "load balancers stop sending them.",
    )
    graceful_stop_s: PositiveInt = Field(
        20,
        description="Seconds in which accepted requests are answered at the end; the rest get 503.",
    )
    log_format: LogFormat = Field(
        "auto",
        description="json: one object per line; text: for people; auto: text on a terminal, else json.",
    )
    low_confidence: PositiveFloat = Field(
        0.5, le=1, description="Probability of the predicted class below which the answer contains a warning."
    )

    @model_validator(mode="after")
    def _origins_are_named_if_keys_are_required(self) -> Self:
        """Check that pages of any site cannot send keys."""
        if self.api_keys_file and "*" in self.cors_origins:
            raise ValueError(f"{PREFIX}CORS_ORIGINS: * is allowed only without keys; name the origins")
        return self

    @model_validator(mode="after")
    def _one_request_fits(self) -> Self:
        """Check that an idle service can process the largest request."""
        if self.max_pictures > self.max_batch + self.max_queue:
            raise ValueError(
                f"a request may have {self.max_pictures} pictures ({PREFIX}MAX_PICTURES), but there is room for "
                f"{self.max_batch + self.max_queue} ({PREFIX}MAX_BATCH and {PREFIX}MAX_QUEUE together): allow "
                "fewer, or make room"
            )
        if BODY_COPIES * self.max_body_bytes > self.max_bytes_in_hand:
            raise ValueError(
                f"{BODY_COPIES} times {PREFIX}MAX_BODY_BYTES, {self.max_body_bytes}, is more than "
                f"{PREFIX}MAX_BYTES_IN_HAND, {self.max_bytes_in_hand}: allow smaller bodies, or more memory"
            )
        return self


def variable(name: str) -> str:
    """Return the environment variable of a setting."""
    return f"{PREFIX}{name.upper()}"


def unknown_variables(environment: Iterable[str]) -> dict[str, str | None]:
    """Return variables with the prefix that are not settings, each with the most similar setting."""
    known = {variable(name): name.upper() for name in Settings.model_fields}
    unknown = sorted(
        name for name in environment if name.upper().startswith(PREFIX) and name.upper() not in known
    )
    return {name: _nearest(name.upper().removeprefix(PREFIX), known.values()) for name in unknown}


def _nearest(name: str, known: Iterable[str]) -> str | None:
    close = get_close_matches(name, list(known), n=1, cutoff=MIN_SIMILARITY)
    return variable(close[0]) if close else None
