"""The card's accuracy holds through the API, on real test pictures."""

import math
import os
import zipfile
from pathlib import Path

import pytest
from starlette.testclient import TestClient

COUNT = 1000


def some_pictures(source: Path) -> list[tuple[str, bytes]]:
    """(class, file), evenly from all of the zip or folder."""
    if source.is_dir():
        paths = sorted(source.glob("**/*.png"))
        return [(p.parent.name, p.read_bytes()) for p in paths[:: len(paths) // COUNT]]
    with zipfile.ZipFile(source) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".png"))
        return [(n.split("/")[-2], archive.read(n)) for n in names[:: len(names) // COUNT]]


@pytest.mark.cifar10
@pytest.mark.skipif("LRP_CIFAR10" not in os.environ, reason="LRP_CIFAR10 is not set")
def test_accuracy_through_the_api_is_the_cards(client: TestClient) -> None:
    expected = client.get("/model").json()["accuracy"]
    pictures = some_pictures(Path(os.environ["LRP_CIFAR10"]))
    right = 0
    for label, content in pictures:
        answer = client.post(
            "/predict?top_k=1", content=content, headers={"Content-Type": "image/png"}
        ).json()
        right += answer["prediction"]["label"] == label
    assert len(pictures) >= COUNT
    error = 3 * math.sqrt(expected * (1 - expected) / len(pictures))
    assert abs(right / len(pictures) - expected) <= error
