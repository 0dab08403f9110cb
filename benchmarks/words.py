"""Measure how good maps of the shipped networks of texts are: the gap of deleting words, by rule of attention.

Sentences are the first ``--count`` of a shuffled order that have 5 to 25 words. Each is explained for its
predicted class by the default rule; its words are deleted, the most and the least relevant first. Run with
``python -m benchmarks.words --data dev.tsv``, a file of lines with a sentence, a tab and a label.
"""

import argparse
import asyncio
import random
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from statistics import fmean

from rich.console import Console
from rich.table import Column, Table

from app.lrp.composites import DEFAULT_RULE, has_attention
from app.lrp.rules import ATTENTION_RULES
from app.modalities.text.modality import TextOptions
from app.serving.evaluation_schemas import EvaluateTextAnswer
from app.serving.local import local_pipeline
from app.serving.pipeline import Pipeline
from app.serving.rendering import identity
from app.serving.requests import EvaluateOptions
from app.serving.timings import Timings
from app.settings import Settings, shipped_models
from docs import blocks

NETWORKS = ("words-lstm", "words-transformer")
WORDS = range(5, 26)
COLUMNS = ["network", "`attention=`", "gap", "leave-one-out", "random order"]


def main() -> None:
    """Print a row for each network and rule of attention."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--write", action="store_true", help="also write the table into docs/which-rule-when.md"
    )
    arguments = parser.parse_args()
    chosen = sentences(arguments.data, arguments.count, arguments.seed)
    rows = [row for name in NETWORKS for row in rows_of(name, chosen)]
    table = Table(*(Column(name, justify="right") for name in COLUMNS), title=f"{len(chosen)} sentences")
    for row in rows:
        table.add_row(*row)
    Console(width=120).print(table)
    if arguments.write:
        blocks.fill(
            "which-rule-when.md", {"words": f"{len(chosen)} sentences:\n\n{blocks.table(COLUMNS, rows)}"}
        )


def sentences(path: Path, count: int, seed: int) -> list[str]:
    """Return ``count`` sentences of moderate length."""
    lines = [line.rpartition("\t")[0] for line in path.read_text().splitlines()]
    random.Random(seed).shuffle(lines)
    return [line for line in lines if len(line.split()) in WORDS][:count]


def rows_of(name: str, texts: Sequence[str]) -> Iterator[list[str]]:
    """Yield the mean gaps of one network, a row for each rule of attention that it has."""
    settings = Settings(model=shipped_models() / name)
    with closing(local_pipeline(settings, "text")) as pipeline:
        rules = ATTENTION_RULES if has_attention(pipeline.description.chain) else (None,)
        for attention in rules:
            options = EvaluateOptions(rules=(DEFAULT_RULE,), attention=attention, input=TextOptions())
            answers = [evaluated(pipeline, text, options) for text in texts]
            gaps = (
                fmean(answer.evaluations[0].gap for answer in answers),
                fmean(answer.leave_one_out.gap for answer in answers),
                fmean(answer.random.gap for answer in answers),
            )
            yield [f"`{name}`", f"`{attention}`" if attention else "–", *(f"{gap:.2f}" for gap in gaps)]


def evaluated(pipeline: Pipeline, text: str, options: EvaluateOptions) -> EvaluateTextAnswer:
    """Return the evaluation of one text."""
    answer = asyncio.run(pipeline.evaluate(text, options, Timings(), identity))
    assert isinstance(answer, EvaluateTextAnswer)
    return answer


if __name__ == "__main__":
    main()
