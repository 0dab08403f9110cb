"""Accuracy through the API agrees with the model card, on test images of CIFAR-10."""

import math
import os
import zipfile
from pathlib import Path

import pytest
from starlette.testclient import TestClient

COUNT = 1000


def sample_images(source: Path) -> list[tuple[str, bytes]]:
    """Return (class, file content) of every n-th image of a folder or zip, at least ``COUNT`` in total."""
    if source.is_dir():
        paths = sorted(source.glob("**/*.png"))
        return [(p.parent.name, p.read_bytes()) for p in paths[:: len(paths) // COUNT]]
    with zipfile.ZipFile(source) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".png"))
        return [(n.split("/")[-2], archive.read(n)) for n in names[:: len(names) // COUNT]]


@pytest.mark.cifar10
@pytest.mark.skipif("LRP_CIFAR10" not in os.environ, reason="LRP_CIFAR10 is not set")
def test_accuracy_through_the_api_agrees_with_the_card(client: TestClient) -> None:
    expected = client.get("/model").json()["accuracy"]
    pictures = sample_images(Path(os.environ["LRP_CIFAR10"]))
    correct = 0
    for label, content in pictures:
        answer = client.post(
            "/predict?top_k=1", content=content, headers={"Content-Type": "image/png"}
        ).json()
        correct += answer["prediction"]["label"] == label
    assert len(pictures) >= COUNT
    error = 3 * math.sqrt(expected * (1 - expected) / len(pictures))
    assert abs(correct / len(pictures) - expected) <= error
