"""``relevance.h5`` as CoRelAy reads it, and the project as ViRelAy's documentation describes it."""

import json

import h5py
import numpy as np
import pytest
import yaml
from corelay.io.storage import HDF5Storage
from corelay.pipeline.spectral import SpectralEmbedding
from corelay.processor.affinity import SparseKNN
from corelay.processor.base import FunctionProcessor
from corelay.processor.embedding import EigenDecomposition
from surveyed import surveyed, write_all

from app.survey.image.findings import ImageFindings


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> ImageFindings:
    folder = tmp_path_factory.mktemp("virelay")
    data = write_all(folder / "data", 30)
    (data / "top-left" / "broken.png").write_bytes(b"none")
    return surveyed(data, folder / "out")


def test_corelay_reads_the_maps(findings: ImageFindings) -> None:
    with HDF5Storage(findings.store.path, mode="r", data_key="attribution") as storage:
        maps = storage.read()
    assert maps.shape == (121, 1, 48, 64)
    assert maps.dtype == np.float16
    assert np.abs(maps[findings.rows]).max(axis=(1, 2, 3)).tolist() == [1] * 120
    np.testing.assert_array_equal(
        maps[findings.rows[5]] * findings.store.scale[findings.rows[5]], findings.relevance(5)
    )


def test_a_pipeline_of_corelay_runs_on_them(findings: ImageFindings) -> None:
    with HDF5Storage(findings.store.path, mode="r", data_key="attribution") as storage:
        maps = storage.read().astype(np.float32)[findings.rows]
    pipeline = SpectralEmbedding(
        preprocessing=FunctionProcessor(
            processing_function=lambda data: data.reshape(len(data), -1), bind_method=False
        ),
        affinity=SparseKNN(n_neighbors=5, symmetric=True),
        embedding=EigenDecomposition(n_eigval=4, is_output=True),
    )
    eigenvalues, vectors = pipeline(maps)
    assert len(eigenvalues) == 4
    assert vectors.shape == (120, 4)


def test_the_file_is_a_database_of_pictures_and_of_attributions(findings: ImageFindings) -> None:
    with h5py.File(findings.store.path) as file:
        count = len(file["index"])
        assert file["index"][:].tolist() == list(range(count))
        assert file["data"].dtype == np.uint8
        assert file["data"].shape == file["attribution"].shape == (count, 1, 48, 64)
        assert file["prediction"].shape == (count, 4)
        assert [file["label"][row] for row in findings.rows] == findings.predictions.labels.tolist()


def test_the_project_leads_to_its_files(findings: ImageFindings) -> None:
    folder = findings.store.path.parent / "virelay"
    project = yaml.safe_load((folder / "project.yaml").read_text())["project"]
    assert (folder / project["dataset"]["path"]).resolve() == findings.store.path.resolve()
    assert project["attributions"]["sources"] == [project["dataset"]["path"]]
    labels = json.loads((folder / project["label_map"]).read_text())
    assert [one["name"] for one in labels] == ["top-left", "top-right", "bottom-left", "bottom-right"]
    (analyses,) = project["analyses"][0]["sources"]
    with h5py.File(folder / analyses) as file:
        assert set(file) == {one["word_net_id"] for one in labels}
        for one in findings.strategies:
            group = file[labels[one.target]["word_net_id"]]
            assert group["index"][:].tolist() == findings.rows[one.embedded].tolist()
            assert group["embedding/tsne"].shape == (len(one.embedded), 2)
            assert group["cluster/clusters"].shape == (len(one.embedded),)
