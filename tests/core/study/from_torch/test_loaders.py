"""Samples keep their labels, names and pictures, whatever order a loader yields them in."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

if os.environ.get("REQUIRE_TORCH") != "1":
    pytest.importorskip("torch", reason="torch is not installed, and no requirement")
import torch
from PIL import Image
from torch import nn
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
)
from torchvision.datasets import ImageFolder
from torchvision.transforms.v2 import Compose, ToDtype, ToImage

import core
from core.study.from_torch import collecting

pytestmark = pytest.mark.torch
CLASSES = ("cat", "dog", "eel")
TO_TENSOR = Compose([ToImage(), ToDtype(torch.float32, scale=True)])


class Brightness(nn.Module):
    """Its channel means are those of the image, so that a sample is known by them."""

    def __init__(self) -> None:
        super().__init__()
        self.same = nn.AvgPool2d(1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.same(images).mean(dim=(1, 2, 3))


def number_of(features: np.ndarray) -> list[int]:
    """The number of each sample, which its red channel shows."""
    return (features[:, 0] * 255).round().astype(int).tolist()


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The numbers of the samples whose activations studies measure, in the order of the rows."""
    numbers: list[list[int]] = []
    take = collecting.Collector.take

    def noting(collector: Any, layer: Any) -> dict[str, np.ndarray]:
        activations = take(collector, layer)
        numbers.append(number_of(activations["mean"]))
        return activations

    monkeypatch.setattr(collecting.Collector, "take", noting)
    return numbers


def make_folder(root: Path, per_class: int = 8, *, classes: tuple[str, ...] = CLASSES, first: int = 0) -> ImageFolder:
    """A folder of images; the red value of each is its number in the folder's order."""
    for label, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for place in range(per_class):
            color = (first + label * per_class + place, 40 * label, 0)
            Image.new("RGB", (8, 8), color).save(root / name / f"{place}.png")
    return ImageFolder(root, transform=TO_TENSOR)


def measure(loader: Any, out: Path, **options: Any) -> core.Study:
    return core.study_from_torch(Brightness(), loader, out, layers="same", **options)


LOADERS = {
    "in order": lambda data: DataLoader(data, batch_size=5),
    "shuffled": lambda data: DataLoader(data, batch_size=5, shuffle=True),
    "with workers": lambda data: DataLoader(data, batch_size=5, shuffle=True, num_workers=2),
    "batch sampler": lambda data: DataLoader(data, batch_sampler=BatchSampler(RandomSampler(data), 7, False)),
}


@pytest.mark.parametrize("name", LOADERS)
@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")  # where there are fewer cores
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # that it has threads and forks
def test_samples_of_a_folder_have_its_order_names_and_files(tmp_path: Path, seen: list, name: str):
    torch.manual_seed(3)
    folder = make_folder(tmp_path / "images")
    study = measure(LOADERS[name](folder), tmp_path / "study")
    assert seen == [list(range(24))]
    assert study.samples["id"].tolist() == [f"{kind}/{place}.png" for kind in CLASSES for place in range(8)]
    assert study.samples["source"].tolist() == study.samples["id"].tolist()
    assert study.samples["class_name"].astype(str).tolist() == [kind for kind in CLASSES for _ in range(8)]
    assert study.info["used"]["data"]["sources_folder"] == str(tmp_path / "images")
    assert study.info["used"]["data"]["name"] == "ImageFolder"


def open_file(worker: int) -> None:
    """As functions do that open a file for each worker."""
    torch.utils.data.get_worker_info().dataset.opened = True


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_may_set_attributes_of_the_data_set(tmp_path: Path, seen: list, context: str):
    loader = DataLoader(
        NeedsFile(), batch_size=3, num_workers=1, worker_init_fn=open_file, multiprocessing_context=context
    )
    measure(loader, tmp_path / "study")
    assert seen == [list(range(6))]


def test_a_data_set_may_have_no_size(tmp_path: Path, seen: list):
    class Endless(Dataset):
        def __getitem__(self, item: int) -> Any:
            return torch.full((3, 4, 4), item / 255), item % 2

    study = measure(DataLoader(Endless(), batch_sampler=[[4, 2], [7, 1]]), tmp_path / "study")
    assert seen == [[1, 2, 4, 7]]
    assert study.samples["id"].tolist() == ["1", "2", "4", "7"]


def test_a_study_does_not_depend_on_the_order(tmp_path: Path):
    folder = make_folder(tmp_path / "images")
    in_order = measure(LOADERS["in order"](folder), tmp_path / "in-order")
    shuffled = measure(LOADERS["shuffled"](folder), tmp_path / "shuffled")
    assert shuffled.samples.equals(in_order.samples)
    assert shuffled.neighbors.equals(in_order.neighbors)


def test_subsets_and_joined_sets_are_looked_through(tmp_path: Path, seen: list):
    first = make_folder(tmp_path / "images" / "first", 2)
    second = make_folder(tmp_path / "images" / "second", 2, first=6)
    data = Subset(ConcatDataset([first, Subset(second, [5, 0, 1])]), [8, 1, 6, 0, 2])
    study = measure(DataLoader(data, batch_size=2, shuffle=True), tmp_path / "study")
    assert seen == [[7, 1, 11, 0, 2]]
    names = ["second/cat/1.png", "first/cat/1.png", "second/eel/1.png", "first/cat/0.png", "first/dog/0.png"]
    assert study.samples["id"].tolist() == names
    assert study.samples["class_name"].astype(str).tolist() == ["cat", "cat", "eel", "cat", "dog"]


def test_names_of_classes_are_those_of_the_labels_that_the_data_set_lists(tmp_path: Path):
    """A data set that turns its labels around has names for others."""

    class Turned(ImageFolder):
        def __getitem__(self, item: int) -> Any:
            image, label = super().__getitem__(item)
            return image, len(self.classes) - 1 - label

    make_folder(tmp_path / "images", 3)
    loader = DataLoader(Turned(tmp_path / "images", transform=TO_TENSOR), batch_size=4, shuffle=True)
    study = measure(loader, tmp_path / "study")
    assert study.samples["class_name"].astype(str).tolist() == ["2"] * 3 + ["1"] * 3 + ["0"] * 3
    assert study.samples["source"].tolist()[0] == "cat/0.png"

    class InMemory(TensorDataset):  # as CIFAR10
        classes = ("owl", "yak")
        targets = (1, 0, 1, 0)

    data = InMemory(torch.rand(4, 3, 4, 4), torch.tensor([1, 0, 1, 0]))
    study = measure(DataLoader(data, batch_size=4), tmp_path / "memory")
    assert study.samples["class_name"].astype(str).tolist() == ["yak", "owl", "yak", "owl"]


def test_only_classes_with_samples_are_in_the_study(tmp_path: Path):
    folder = make_folder(tmp_path / "images", 3)
    study = measure(DataLoader(Subset(folder, [8, 0, 7, 1]), batch_size=4), tmp_path / "study")
    assert study.samples["class_name"].astype(str).tolist() == ["eel", "cat", "eel", "cat"]
    assert study.info["used"]["data"]["num_classes"] == 2
    assert study.info["used"]["data"]["name"] == "ImageFolder"


class Reordered(ImageFolder):
    """Hands out its samples from the end, unlike its list of files."""

    def __getitem__(self, item: int) -> Any:
        return super().__getitem__(len(self) - 1 - item)


def test_files_of_another_order_are_not_trusted(tmp_path: Path):
    make_folder(tmp_path / "images", 3, classes=("cat", "dog"))
    folder = Reordered(tmp_path / "images", transform=TO_TENSOR)
    folder.samples[2:3], folder.samples[5:6] = folder.samples[5:6], folder.samples[2:3]
    study = measure(DataLoader(folder, batch_size=4), tmp_path / "study")
    assert "sources_folder" not in study.info["used"]["data"]
    assert study.samples["id"].tolist() == [str(item) for item in range(6)]
    assert any("has other labels than its samples" in caution for caution in study.info["cautions"])


def test_sources_and_ids_are_in_the_order_of_the_data_set(tmp_path: Path, seen: list):
    folder = make_folder(tmp_path / "images", 2)
    data = TensorDataset(torch.stack([folder[item][0] for item in range(6)]), torch.tensor(folder.targets))
    study = measure(
        DataLoader(data, batch_size=4, shuffle=True),
        tmp_path / "study",
        sources=[path for path, _ in folder.samples],
        ids=[f"sample {item}" for item in range(6)],
        class_names=CLASSES,
    )
    assert seen == [list(range(6))]
    assert study.samples["id"].tolist() == [f"sample {item}" for item in range(6)]
    assert study.samples["source"].tolist()[4:] == ["eel/0.png", "eel/1.png"]
    assert study.info["used"]["data"]["sources_folder"] == str(tmp_path / "images")


def test_training_and_test_folders(tmp_path: Path, seen: list):
    loaders = {
        split: DataLoader(make_folder(tmp_path / "images" / split, 3, first=first), batch_size=4, shuffle=True)
        for split, first in (("train", 0), ("test", 9))
    }
    study = measure(loaders, tmp_path / "study")
    assert seen == [list(range(18))]
    assert study.samples["id"].tolist()[8:10] == ["train/eel/2.png", "test/cat/0.png"]


def test_a_class_that_one_folder_lacks_is_told(tmp_path: Path):
    loaders = {
        "train": DataLoader(make_folder(tmp_path / "train", 3), batch_size=4),
        "test": DataLoader(make_folder(tmp_path / "test", 3, classes=("cat", "eel")), batch_size=4),
    }
    with pytest.raises(ValueError, match=r"have different classes, 'dog' and 'eel' for the same label"):
        measure(loaders, tmp_path / "study")


class Pictures(Dataset):
    """Samples as mappings, or as (image, label, path)."""

    def __init__(self, *, as_mapping: bool) -> None:
        self.as_mapping = as_mapping

    def __len__(self) -> int:
        return 6

    def __getitem__(self, item: int) -> Any:
        image, label, path = torch.full((3, 4, 4), item / 255), item % 2, f"picture-{item}"
        return {"pixel_values": image, "labels": label, "path": path} if self.as_mapping else (image, label, path)


class NeedsFile(Pictures):
    opened = False

    def __init__(self) -> None:
        super().__init__(as_mapping=False)

    def __getitem__(self, item: int) -> Any:
        assert self.opened
        return super().__getitem__(item)


class Keyword(Brightness):
    """As networks of Hugging Face: the input has a name, further parts of the batch are arguments."""

    def forward(self, pixel_values: torch.Tensor, head_mask: Any = None) -> Any:  # type: ignore[override]
        return SimpleNamespace(logits=super().forward(pixel_values))


@pytest.mark.parametrize(("as_mapping", "key"), [(True, "path"), (False, 2)])
def test_mappings_and_further_parts(tmp_path: Path, seen: list, as_mapping: bool, key: Any):
    loader = DataLoader(Pictures(as_mapping=as_mapping), batch_size=4, shuffle=True)
    study = core.study_from_torch(Keyword(), loader, tmp_path / "study", layers="same", ids=key)
    assert seen == [list(range(6))]
    assert study.samples["id"].tolist() == [f"picture-{item}" for item in range(6)]
    assert study.samples["label"].tolist() == [0, 1, 0, 1, 0, 1]


def test_parts_are_named_where_they_have_other_names(tmp_path: Path):
    batches = [{"photo": torch.rand(4, 3, 4, 4), "breed": ["cat", "dog", "cat", "dog"]}]
    study = measure(batches, tmp_path / "study", input_key="photo", label_key="breed")
    assert study.samples["class_name"].astype(str).tolist() == ["cat", "dog", "cat", "dog"]
    with pytest.raises(ValueError, match=r"input_key must name the part .* a batch has 'photo', 'breed'"):
        measure(batches, tmp_path / "other")
    with pytest.raises(ValueError, match=r"label_key must name a part of the batch; got 'race'"):
        measure(batches, tmp_path / "other", input_key="photo", label_key="race")


class Stream(IterableDataset):
    def __iter__(self) -> Any:
        yield from ((torch.full((3, 4, 4), item / 255), item % 2, f"s{item}") for item in (3, 0, 2, 1))


@pytest.mark.parametrize(
    "make",
    [
        lambda: DataLoader(Stream(), batch_size=3),
        lambda: (batch for batch in DataLoader(Stream(), batch_size=1)),
        lambda: list(DataLoader(Stream(), batch_size=2)),
    ],
    ids=["stream", "generator", "list"],
)
def test_samples_of_other_loaders_are_in_the_order_in_which_they_come(tmp_path: Path, seen: list, make: Any):
    study = measure(make(), tmp_path / "study", ids=2)
    assert seen == [[3, 0, 2, 1]]
    assert study.samples["id"].tolist() == ["s3", "s0", "s2", "s1"]
    assert study.samples["label"].tolist() == [1, 0, 0, 1]


def test_names_are_not_matched_to_samples_of_unknown_order(tmp_path: Path):
    with pytest.raises(ValueError, match=r"ids must come with each batch where the order .* such as ids=2"):
        measure(DataLoader(Stream(), batch_size=2), tmp_path / "study", ids=["a", "b", "c", "d"])
    study = measure(list(DataLoader(Stream(), batch_size=2)), tmp_path / "study", ids=["a", "b", "c", "d"])
    assert study.samples["id"].tolist() == ["a", "b", "c", "d"]
    with pytest.raises(ValueError, match=r"sources must have one entry for each sample .* 6; got 5"):
        measure(DataLoader(Pictures(as_mapping=False), batch_size=2), tmp_path / "other", sources=["x"] * 5)


def test_each_sample_is_measured_once(tmp_path: Path, seen: list):
    data = Pictures(as_mapping=False)
    drawn = [0, 3, 3, 5, 0, 1]
    study = measure(DataLoader(data, batch_size=4, sampler=drawn), tmp_path / "study")
    assert seen == [[0, 1, 3, 5]]
    assert study.samples["id"].tolist() == ["0", "1", "3", "5"]
    assert any("2 further draws are left out" in caution for caution in study.info["cautions"])
    weighted = WeightedRandomSampler([1.0] * 6, 20, generator=torch.Generator().manual_seed(0))
    study = measure(DataLoader(data, batch_size=4, sampler=weighted), tmp_path / "weighted")
    assert study.samples["id"].is_unique
    study = measure(DataLoader(data, batch_size=4, drop_last=True), tmp_path / "dropped")
    assert any("(drop_last=True): 2 samples are missing" in caution for caution in study.info["cautions"])


def leave_out_one(samples: list) -> Any:
    """As functions do that leave out broken images."""
    return torch.utils.data.default_collate(samples[1:])


class Endless(BatchSampler):
    def __init__(self) -> None:
        pass

    def __iter__(self) -> Any:
        while True:
            yield [0, 1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: 5, "loader must yield batches, or be a mapping of 'train' and 'test' to loaders; got int"),
        (lambda: torch.zeros(2, 3), "loader must yield batches of inputs and labels; got a tensor"),
        (lambda: Pictures(as_mapping=False), "Pictures looks like a data set, of single samples"),
        (list, "loader must yield at least one batch; the train loader yields none"),
        (lambda: {"train": [], "val": []}, "got 'train', 'val'. Call validation samples 'test'"),
        (dict, "loader must be a mapping of 'train' and 'test' to loaders; got none"),
        (lambda: [torch.zeros(2, 3, 4, 4)], "got Tensor, without labels. Make the data set return (image, label)"),
        (lambda: DataLoader(TensorDataset(torch.zeros(2, 3, 4, 4))), "got batches of one part, without labels"),
        (lambda: [{"pixel_values": torch.zeros(2, 3, 4, 4)}], "label_key must name the part of a batch"),
        (lambda: [(["a", "b"], [0, 1])], "loader must yield a tensor as part 0 of each batch; got list"),
        (lambda: [(torch.zeros(2, 3, 4, 4), [0, 1, 1])], "got 3 labels beside 2 inputs"),
        (lambda: [(torch.zeros(0, 3, 4, 4), [])], "got an empty one"),
        (lambda: [(torch.zeros(3, 4, 4), 1)], "loader must yield batches; got a single sample with one label"),
        (lambda: DataLoader(Pictures(as_mapping=False), 4, collate_fn=leave_out_one), "got 3 rows for 4 samples"),
        (lambda: [((torch.zeros(2, 3), torch.zeros(2, 3)), [0, 1])], "Several inputs must come as a mapping"),
        (lambda: DataLoader(Pictures(as_mapping=False), batch_sampler=Endless()), "loader must end; its sampler has"),
    ],
)
def test_loaders_that_yield_something_else_are_refused(tmp_path: Path, make: Any, message: str):
    with pytest.raises(ValueError, match=r"must|looks") as error:
        measure(make(), tmp_path / "study")
    assert message in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ids": ["a", "b"] * 3}, "ids must be distinct; got 4 repeated"),
        ({"sources": [f"nowhere-{item}.png" for item in range(6)]}, "sources must be files that exist, or no paths"),
        ({"ids": {"test": ["a"] * 6}}, "ids must be given by split, as loader is; got 'test'"),
    ],
)
def test_names_of_samples_are_checked_before_the_network_runs(tmp_path: Path, options: dict, message: str):
    network = Brightness()
    network.same.register_forward_hook(lambda *_: pytest.fail("the network has run"))
    with pytest.raises(ValueError, match="must be") as error:
        core.study_from_torch(network, DataLoader(Pictures(as_mapping=False), batch_size=4), tmp_path / "s", **options)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.eye(4), "one-hot rows. Pass labels.argmax(axis=1)"),
        (torch.tensor([0.0, 1, 0, 1]), "whole numbers stored as floats. Convert them with"),
        (torch.tensor([[0], [1], [0], [1]]), "a column. Pass labels.reshape(-1)"),
        (torch.tensor([[1, 1], [0, 1], [1, 0], [0, 0]]), "several labels a sample (multi-label)"),
        (torch.rand(4), "targets of a regression. Measure such targets with core.smoothness_index"),
    ],
)
def test_labels_that_are_no_classes_are_named_as_what_they_are(tmp_path: Path, labels: torch.Tensor, message: str):
    with pytest.raises(ValueError, match="labels that loader yields must be integers or strings") as error:
        measure([(torch.zeros(4, 3, 4, 4), labels)], tmp_path / "study")
    assert message in str(error.value)
