"""All that can be set from outside, each with the reason for its default."""

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

MIB = 2**20
PREFIX = "LRP_"
"""Of each setting's variable in the environment."""
LIKENESS = 0.7
"""Of names that may be meant for each other: API_KEY for API_KEYS_FILE, but not CPUS for CORES."""

LogFormat = Literal["auto", "json", "text"]


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
"""Written with commas between them."""


def shipped_model() -> Path:
    """The card of the weights that come with the project: in a wheel inside the package, else beside it."""
    package = Path(__file__).parent
    name = Path("model_weights") / "minivgg-cifar10.json"
    return package / name if (package / name).exists() else package.parent / name


class Settings(BaseSettings):
    """Settings of the service, each also ``LRP_<NAME>`` in the environment."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    model: Path = Field(default_factory=shipped_model, description="Card (JSON) of the model to serve.")
    device: str = Field("auto", description="auto (CUDA where there is one), cpu, cuda or cuda:N.")
    host: str = Field("127.0.0.1", description="Address to listen on; the loopback unless you open it.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    api_keys_file: Path | None = Field(
        None, description="File with the keys that let in, one a line; without it nobody is asked for one."
    )
    allow_unauthenticated: bool = Field(
        False, description="Open to others than the loopback without keys: something else keeps them out."
    )
    allowed_hosts: Names = Field(
        (),
        description="Names in the Host header, with commas, *.example.com for all below, * for any. IP "
        "addresses and names without a dot always are. Default: any with keys, else the address bound to.",
    )
    max_body_bytes: PositiveInt = Field(
        8 * MIB, description="Largest request body; the photo of a good phone fits."
    )
    max_bytes_in_hand: PositiveInt = Field(
        512 * MIB,
        description="All bodies that arrive or are being answered together, in memory; more are refused, 503.",
    )
    max_pictures: PositiveInt = Field(
        32, description="Most pictures in one request, where it takes several; what the model takes at once."
    )
    max_pixels: PositiveInt = Field(
        25_000_000, description="Largest picture; 25 MP decode in under 100 MB and cover most cameras."
    )
    max_batch: PositiveInt = Field(
        32, description="Pictures that the model takes at once; larger ones are hardly faster, and all wait."
    )
    max_queue: PositiveInt = Field(
        128, description="Requests that may wait for the model; more are refused at once, with 503."
    )
    queue_deadline_s: PositiveFloat = Field(
        5.0, description="Seconds that a request may wait for the model; then it is not computed, 504."
    )
    cores: PositiveInt | None = Field(
        None,
        description="Cores that computing may use. Default: what affinity and the container's quota leave the "
        "process; torch counts the machine's, and threads without a core keep the others waiting.",
    )
    picture_processes: PositiveInt | None = Field(
        None,
        description="Processes that decode and draw, some 50 MB each. Default: one for each core, at most 8.",
    )
    read_deadline_s: PositiveFloat = Field(
        15.0, description="Seconds for a request to arrive, once its first byte has; 8 MiB at 5 Mbit/s."
    )
    keep_alive_s: PositiveInt = Field(5, description="Seconds an idle connection stays open.")
    drain_s: NonNegativeFloat = Field(
        1.0,
        description="Seconds after SIGTERM in which /readyz says 503 and requests are still taken, so that "
        "load balancers notice first.",
    )
    graceful_stop_s: PositiveInt = Field(
        20, description="Seconds for accepted requests to be answered at the end; below Kubernetes' 30."
    )
    log_format: LogFormat = Field(
        "auto", description="json: one object a line; text: for people; auto: text on a terminal, else json."
    )
    low_confidence: PositiveFloat = Field(
        0.5, le=1, description="Probability of the prediction below which the answer warns."
    )

    @model_validator(mode="after")
    def _one_request_fits(self) -> Self:
        """Else an idle service would take a request of many pictures, and refuse most of them as too busy."""
        if self.max_pictures > self.max_batch + self.max_queue:
            raise ValueError(
                f"a request may have {self.max_pictures} pictures ({PREFIX}MAX_PICTURES), but there is room for "
                f"{self.max_batch + self.max_queue} ({PREFIX}MAX_BATCH and {PREFIX}MAX_QUEUE together): allow "
                "fewer, or make room"
            )
        return self


def variable(name: str) -> str:
    """What a setting is called in the environment."""
    return f"{PREFIX}{name.upper()}"


def unknown_variables(environment: Iterable[str]) -> dict[str, str | None]:
    """Variables that look like settings and are none, each with the setting that may be meant."""
    known = {variable(name): name.upper() for name in Settings.model_fields}
    unknown = sorted(
        name for name in environment if name.upper().startswith(PREFIX) and name.upper() not in known
    )
    return {name: _nearest(name.upper().removeprefix(PREFIX), known.values()) for name in unknown}


def _nearest(name: str, known: Iterable[str]) -> str | None:
    close = get_close_matches(name, list(known), n=1, cutoff=LIKENESS)
    return variable(close[0]) if close else None
