"""Surveys of texts, of the model of `fake_text_model`: what a word contributes to a logit is its weight."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from fake_text_model import CLASSES, VOCABULARY, WEIGHTS, FakeTextModel, ids_of, logits_of
from surveyed import survey_of
from surveyed_texts import TEXTS, surveyed, write

from app.command_line.surveys.options import options_of
from app.errors import DataError
from app.models.protocol import Job, JobResult


class Counted(FakeTextModel):
    """Counts the explanations that it is asked for."""

    def __init__(self) -> None:
        self.explained = 0

    def run(self, jobs: Sequence[Job]) -> list[JobResult]:
        self.explained += sum(len(job.requests) for job in jobs)
        return super().run(jobs)


def predicted(text: str) -> int:
    return int(np.argmax(logits_of(ids_of(text))))


def test_the_mean_relevance_of_a_word_is_what_it_contributes_to_the_logit(tmp_path: Path) -> None:
    findings = surveyed(write(tmp_path / "test.tsv"), tmp_path / "out")
    assert {one.target for one in findings.by_class} == {0, 1}
    for one in findings.by_class:
        texts = [text.lower().split() for text, _ in TEXTS if predicted(text) == one.target]
        assert one.count == len(texts)
        assert {word.text for word in one.words} == {word for words in texts for word in words}
        for word in one.words:
            number = VOCABULARY.index(word.text) if word.text in VOCABULARY else 0
            assert word.mean == pytest.approx(WEIGHTS[number, one.target], rel=1e-3)
            assert word.error == pytest.approx(0, abs=1e-3)
            assert word.count == sum(word.text in words for words in texts)
        means = [word.mean for word in one.words]
        assert means == sorted(means, reverse=True)


def test_labels_of_texts_with_a_word_are_counted_whatever_is_predicted(tmp_path: Path) -> None:
    findings = surveyed(write(tmp_path / "test.tsv"), tmp_path / "out")
    for one in findings.by_class:
        for word in one.words:
            labels = [int(label) for text, label in TEXTS if word.text in text.lower().split()]
            assert word.labelled == len(labels)
            assert word.share == labels.count(one.target) / len(labels)
            assert word.of_all == 0.5


def test_a_word_without_which_the_prediction_changes_is_found(tmp_path: Path) -> None:
    findings = surveyed(write(tmp_path / "test.tsv"), tmp_path / "out")
    expected = set()
    for text, _ in TEXTS:
        words, target = text.lower().split(), predicted(text)
        for word in set(words):
            left = [other for other in words if other != word] or ["[UNK]"]
            number = VOCABULARY.index(word) if word in VOCABULARY else 0
            if WEIGHTS[number, target] > 0 and predicted(" ".join(left)) != target:
                expected.add((text, word))
    flipped = {
        (TEXTS[one.text][0], findings.occurrences.vocabulary[one.word])
        for one in findings.removals
        if one.flips
    }
    assert flipped == expected
    assert ("good bad", "bad") in expected
    bad = next(one for one in findings.flipping if one.text == "bad")
    assert (bad.target, bad.becomes, bad.flips) == (0, 1, sum(word == "bad" for _, word in expected))
    rows = pq.read_table(tmp_path / "out" / "items.parquet").to_pylist()
    assert {(row["text"], word) for row in rows for word in row["flipped_without"]} == expected


def test_a_word_that_speaks_for_a_class_although_labels_do_not_is_unsupported(tmp_path: Path) -> None:
    rows = [("good film", "1"), ("a good film", "1"), ("film not", "0"), ("film a", "0")] * 3
    findings = surveyed(write(tmp_path / "test.tsv", rows), tmp_path / "out")
    (positive,) = (one for one in findings.by_class if one.target == 1)
    by_name = {word.text: word for word in positive.words}
    assert by_name["good"].share == 1
    assert not by_name["good"].is_unsupported
    assert by_name["film"].share == 0.5
    assert by_name["film"].is_unsupported


def test_lines_that_are_no_texts_are_rows_with_their_error(tmp_path: Path) -> None:
    data = write(tmp_path / "test.tsv")
    with data.open("a") as file:
        file.write("\t1\na film\t0\tmore\n\nnot labelled\ngood\tfine\n")
    findings = surveyed(data, tmp_path / "out")
    assert {one.name: one.reason for one in findings.failures} == {
        "test.tsv:9": "the line has no text; it must be text<TAB>label",
        "test.tsv:10": "the line has 3 columns; it must be text<TAB>label",
        "test.tsv:11": "the line is empty; it must be text<TAB>label",
    }
    assert [one.label for one in findings.items[-2:]] == [None, "fine"]
    assert any("does not know the label fine" in note for note in findings.notes())
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["kind"], summary["items"], summary["explained"]) == ("text", 13, 10)
    assert summary["classes"] == list(CLASSES)


def test_a_text_has_all_characters_of_its_line(tmp_path: Path) -> None:
    """Neither line separators of Unicode end a line, nor does a long text stop the survey."""
    data = tmp_path / "test.tsv"
    text = '\ufeffa good\u2028film\t1\r\n"bad\x85film\t0\n' + "film " * 30_000 + "\t1\n"
    data.write_bytes(text.encode())
    findings = surveyed(data, tmp_path / "out")
    assert [(one.read(), one.label) for one in findings.items] == [
        ("a good\u2028film", "positive"),
        ('"bad\x85film', "negative"),
    ]
    (failure,) = findings.failures
    assert failure.name == "test.tsv:3"
    assert "over 10000 characters" in failure.reason


def test_texts_are_identical_if_all_of_their_tokens_are(tmp_path: Path) -> None:
    """The id of unknown words is 0."""
    rows = [("good film", "1"), ("good film wonder", "1"), ("good film sequel", "0"), ("Good  film", "1")]
    findings = surveyed(write(tmp_path / "test.tsv", rows), tmp_path / "out")
    assert findings.duplicates == [[0, 3], [1, 2]]


def test_what_was_explained_is_not_computed_again(tmp_path: Path) -> None:
    data, model = write(tmp_path / "test.tsv"), Counted()
    surveyed(data, tmp_path / "out", model)
    mistakes = 3  # "A film", "good bad", "good good not bad": contrasts are computed each time
    assert model.explained == len(TEXTS) + mistakes
    surveyed(data, tmp_path / "out", model)
    assert model.explained == len(TEXTS) + 2 * mistakes
    write(data, TEXTS[1:])
    with pytest.raises(DataError, match="another survey, with another items"):
        surveyed(data, tmp_path / "out", model)


def test_a_contrast_is_the_difference_of_the_contributions(tmp_path: Path) -> None:
    findings = surveyed(write(tmp_path / "test.tsv"), tmp_path / "out")
    row = [text for text, _ in TEXTS].index("good bad")
    ids = ids_of("good bad")
    np.testing.assert_allclose(findings.contrasts[row], WEIGHTS[ids, 0] - WEIGHTS[ids, 1], rtol=1e-5)


def test_a_folder_has_a_file_for_each_split(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    write(data / "dev.tsv", TEXTS[:3])
    write(data / "test.tsv", TEXTS[3:])
    every = surveyed(data, tmp_path / "all")
    assert [one.name for one in every.items[2:4]] == ["dev.tsv:3", "test.tsv:1"]
    split = survey_of("text", FakeTextModel(), options_of(data, tmp_path / "dev", split="dev"))
    assert len(split.items) == 3
    with pytest.raises(DataError, match=r"no text in valid.tsv"):
        survey_of("text", FakeTextModel(), options_of(data, tmp_path / "none", split="valid"))


def test_words_and_names_are_escaped_in_the_report(tmp_path: Path) -> None:
    name = "<img>.tsv"
    rows = [("</script><script>alert(1)</script> good", "1"), ("<b>bad</b> <!-- film", "<i>")] * 2
    surveyed(write(tmp_path / name, rows), tmp_path / "out")
    report = (tmp_path / "out" / "report.html").read_text()
    assert report.count("</script>") == 2
    assert "<script>alert" not in report
    assert "<b>bad" not in report
    assert "<img>" not in report
    assert "<i>" not in report.replace("<i>Labelled", "")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"split": "test"}, "--split: is not for a single file; leave it out"),
        ({"method": "hdbscan"}, "--cluster: is not for texts"),
        ({"exported": ("positive:1",)}, "--export-cluster: is not for texts"),
        ({"masks": Path()}, "--masks: is not for texts"),
    ],
)
def test_options_for_pictures_are_refused(tmp_path: Path, asked: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        survey_of("text", FakeTextModel(), options_of(write(tmp_path / "a.tsv"), tmp_path / "out", **asked))
    assert not (tmp_path / "out").exists()
