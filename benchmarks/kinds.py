"""Measure explanations of texts and of rows of tables against the networks alone, and against autoLRP.

All are measured in turn within a round, so that a noisy machine affects them equally; figures are medians over
the rounds. The network of transformers has the size of DistilBERT (Sanh et al. 2019) and random weights. autoLRP
(https://github.com/Wa-lead/autoLRP) follows the autograd graph of a module; it has no rule for an LSTM. Run with
``make bench-kinds``.
"""

import argparse
import os
import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

import autolrp
import numpy as np
import torch
from autolrp.config import BASE, CPLRP, LRPConfig
from rich.console import Console
from rich.table import Column, Table
from torch import Tensor
from torch.nn import functional as F

from app.lrp.composites import resolve
from app.lrp.engine.engine import Engine
from app.lrp.graph.kinds import kinds
from app.lrp.graph.trace import trace
from app.lrp.request import ExplanationRequest, Start, Target
from app.models.checkpoint import load as load_stored
from app.models.local import LocalModel
from app.models.protocol import Job
from app.models.sources.protocol import SourceOptions
from app.models.sources.registry import load
from app.settings import Settings
from app.system import keep_freed_memory
from benchmarks.relevance import medians
from docs import blocks

EPSILON = 1e-6
VOCABULARY, SHORT_VOCABULARY = 30_522, 64
SMALL: Mapping[str, int] = MappingProxyType(
    {"vocab_size": SHORT_VOCABULARY, "dim": 32, "hidden_dim": 64, "n_heads": 4, "n_layers": 2}
)
"""Sizes of the network of transformers with ``--short``."""
COLUMNS = [
    "network",
    "inputs",
    "forward ms",
    "ms",
    "autoLRP ms",
    "forward passes",
    "autoLRP's",
    "explanations a second",
]

Run = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """A network, its inputs, and what is measured of it by name: ``forward``, ``ours``, perhaps ``autoLRP``."""

    network: str
    inputs: str
    count: int
    candidates: dict[str, Run]


def distilbert(texts: int, length: int, sizes: Mapping[str, int], folder: Path) -> Case:
    """Return the case of a network of transformers, which is written into ``folder``."""
    from transformers import DistilBertConfig, DistilBertForSequenceClassification

    torch.manual_seed(0)
    DistilBertForSequenceClassification(DistilBertConfig(**sizes)).save_pretrained(folder)
    _write_tokenizer(folder / "tokenizer.json")
    source = load(f"huggingface:{folder}", SourceOptions())
    assert isinstance(source.network, torch.nn.Module)
    traced = trace(source.network, source.input.example())
    engine, composite = Engine(traced), resolve(kinds(traced.graph), "epsilon", {"epsilon": EPSILON}, ())
    module = DistilBertForSequenceClassification.from_pretrained(folder).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, SHORT_VOCABULARY, (texts, length), generator=generator)
    mask = torch.ones_like(ids)
    config = LRPConfig(rule={**BASE, **CPLRP}, eps=EPSILON)

    def forward() -> None:
        with torch.inference_mode():
            module(input_ids=ids, attention_mask=mask)

    def theirs() -> Tensor:
        vectors = autolrp.tensor(module.get_input_embeddings()(ids))
        module(inputs_embeds=vectors, attention_mask=mask).logits[:, 0].sum().lrp(config=config)
        relevance: Tensor = vectors.relevance.sum(-1)
        return relevance

    return Case(
        "DistilBERT of transformers",
        f"{texts} texts of {length} tokens",
        texts,
        {
            "forward": forward,
            "ours": lambda: engine.attribute(ids, composite, _one_at_class_0),
            "autoLRP": theirs,
        },
    )


def shipped(name: str, inputs: str, samples: list[Any], baseline: Any = None, rule: str = "epsilon") -> Case:
    """Return the case of a shipped model, in batches as the service makes them; the forward pass is its own."""
    card = Settings().models / name
    model = LocalModel.load(card, "cpu", None)
    traced, _ = load_stored(card)
    composite = resolve(kinds(traced.graph), rule, {}, ())
    request = ExplanationRequest(composite, Target(None, None, Start.LOGIT))
    alone = [Job(one) for one in samples]
    explained = [Job(one, (request,), baseline=baseline) for one in samples]
    candidates: dict[str, Run] = {"forward": lambda: model.run(alone), "ours": lambda: model.run(explained)}
    return Case(name, inputs, len(samples), candidates)


def cases(texts: int, length: int, rows: int, sizes: Mapping[str, int], folder: Path) -> Iterator[Case]:
    """Yield the cases of all networks."""
    yield distilbert(texts, length, sizes, folder)
    random = np.random.default_rng(0)
    words = [random.integers(0, 1000, length) for _ in range(texts)]
    for name in ("words-lstm", "words-transformer"):
        yield shipped(name, f"{texts} texts of {length} tokens", words)
    columns = int(load_stored(Settings().models / "concrete")[1].input_shape[1])
    table = [random.standard_normal(columns).astype(np.float32) for _ in range(rows)]
    yield shipped("concrete", f"{rows} rows", table, np.zeros(columns, np.float32), "zero")


def line(case: Case, rounds: int) -> list[str]:
    """Measure a case; return the row for `COLUMNS`."""
    seconds = medians(case.candidates, rounds)
    ours, forward, theirs = seconds["ours"], seconds["forward"], seconds.get("autoLRP")
    return [
        case.network,
        case.inputs,
        f"{1000 * forward:.1f}",
        f"{1000 * ours:.1f}",
        "–" if theirs is None else f"{1000 * theirs:.1f}",
        f"{ours / forward:.1f}",
        "–" if theirs is None else f"{theirs / forward:.1f}",
        f"{case.count / ours:.0f}",
    ]


def main() -> None:
    """Print the table of all networks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=8)
    parser.add_argument("--length", type=int, default=64, help="tokens of a text")
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--short", action="store_true", help="one round of small networks, to try the benchmark"
    )
    parser.add_argument("--write", action="store_true", help="also write the table into docs/performance.md")
    arguments = parser.parse_args()
    sizes, rounds = (SMALL, 1) if arguments.short else ({"vocab_size": VOCABULARY}, arguments.rounds)
    keep_freed_memory()

    with TemporaryDirectory() as folder:
        all_ = cases(arguments.texts, arguments.length, arguments.rows, sizes, Path(folder))
        found = [line(case, rounds) for case in all_]
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "autolrp"))
    title = f"Medians over {rounds} rounds ({os.cpu_count()} cores, {platform.machine()}, {versions})"
    table = Table(*(Column(name, justify="right") for name in COLUMNS), title=title)
    for row in found:
        table.add_row(*row)
    Console(width=140).print(table)
    if arguments.write:
        blocks.fill("performance.md", {"kinds": f"{title}:\n\n{blocks.table(COLUMNS, found)}"})


def _write_tokenizer(path: Path) -> None:
    from tokenizers import Tokenizer, models

    words = {f"word{index}": index for index in range(SHORT_VOCABULARY)}
    Tokenizer(models.WordLevel(words, unk_token="word0")).save(str(path))


def _one_at_class_0(logits: Tensor) -> Tensor:
    return F.one_hot(torch.zeros(len(logits), dtype=torch.long), logits.shape[1]).to(logits)


if __name__ == "__main__":
    main()
