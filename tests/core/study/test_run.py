"""Studies of networks on images: the numbers do not depend on memory or interruptions, and nothing is left unsaid."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import core
from core.network.kernels import THREADS, current_kernels
from core.study.plan import Plan, Progress, StudyOptions, parse_bytes, plan_study
from core.study.run import run_study
from core.study.store.opening import SCHEMAS, StudyError, load_study

# Keras's own model.save copies variables in a way that NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")

LAYERS = "main,last_pool,output"
ONE_PASS = 1 << 30
FOUR_PASSES = 36 * 4 * (16 * 16 * 4 + 4)  # bytes of one of the three widest layers of 36 images, flat and mean


def save_images(root: Path, classes: tuple[str, ...] = ("blue", "green", "red"), count: int = 6) -> Path:
    """train/ and test/ of coloured noise; a class is a tint, weak enough that no layer separates all of it."""
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for channel, name in enumerate(classes):
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 200, (40, 40, 3), dtype=np.uint8)
                pixels[..., channel % 3] += rng.integers(0, 12, dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def tints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_images(tmp_path_factory.mktemp("images") / "tints")


@pytest.fixture(scope="module")
def network_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny network with layers called as in EfficientNet-B0, of 16 x 16 pixels."""
    layers = keras.layers

    def conv(filters: int, name: str) -> keras.layers.Layer:
        return layers.Conv2D(
            filters, 3, padding="same", activation="relu", name=name,
            kernel_initializer=keras.initializers.GlorotUniform(seed=len(name)),
        )  # fmt: skip

    image = keras.Input((16, 16, 3), name="image")
    stem = conv(4, "stem_conv")(layers.Rescaling(1 / 255, name="rescaling")(image))
    expand = conv(4, "block1a_expand_conv")(stem)
    added = layers.Add(name="block1a_add")([stem, expand])
    top = conv(6, "top_conv")(layers.MaxPooling2D(name="pool")(added))
    pooled = layers.GlobalAveragePooling2D(name="avg_pool")(top)
    head = layers.Dense(3, name="predictions", kernel_initializer=keras.initializers.GlorotUniform(seed=7))
    path = tmp_path_factory.mktemp("network") / "tiny.keras"
    keras.Model(image, head(pooled)).save(path)
    return str(path)


@pytest.fixture(scope="module")
def options(tints: Path, network_file: str) -> StudyOptions:
    return StudyOptions(str(tints), None, network_file, LAYERS, pooling="both", neighbors=4, batch_size=8)


@pytest.fixture(scope="module")
def whole(options: StudyOptions, tmp_path_factory: pytest.TempPathFactory) -> core.Study:
    """The study in one pass, not interrupted."""
    return run_study(options, tmp_path_factory.mktemp("studies") / "whole", memory=ONE_PASS)


def assert_same_tables(study: core.Study, other: core.Study) -> None:
    for name in SCHEMAS:
        pd.testing.assert_frame_equal(study.table(name), other.table(name), check_exact=True)
        if study.state == other.state == "complete" and (study.path / f"{name}.parquet").exists():
            assert (study.path / f"{name}.parquet").read_bytes() == (other.path / f"{name}.parquet").read_bytes()


def stop_when(reached: Callable[[Progress], bool]) -> Callable[[Progress], None]:
    """A report that does what Ctrl-C does at a certain point."""

    def report(progress: Progress) -> None:
        if reached(progress):
            raise KeyboardInterrupt

    return report


# What a study holds


def test_layers_and_poolings(whole: core.Study):
    assert whole.state == "complete"
    names = ["stem_conv", "block1a_expand_conv", "block1a_add", "top_conv", "avg_pool", "predictions"]
    assert whole.layers["layer"].tolist() == names
    separation = whole.measurements.query("measure == 'separation' and split == 'train'")
    got = list(zip(separation["layer"].astype(str), separation["pooling"].astype(str), strict=True))
    both = [(name, pooling) for name in names[:4] for pooling in ("flat", "mean")]
    assert got == [*both, ("avg_pool", "flat"), ("predictions", "flat")]  # without space there is nothing to average
    assert whole.layers["parameters"].tolist() == [112, 148, 0, 222, 0, 21]
    assert whole.layers["channels"].tolist() == [4, 4, 4, 6, 6, 3]


def test_every_layer_has_separation_knn_and_cross(whole: core.Study):
    table = whole.measurements
    for measure, split in [("separation", "train"), ("separation", "test"), ("knn", "train"), ("cross", "test")]:
        rows = table[(table["measure"] == measure) & (table["split"] == split)]
        assert set(rows["layer"]) == set(whole.layers["layer"]), (measure, split)
        assert rows["value"].between(0, 1).all()
    assert set(table.query("measure == 'separation'")["chance"].round(12)) == {round(5 / 17, 12)}
    assert set(table.query("measure == 'cross'")["chance"].round(12)) == {round(1 / 3, 12)}


def test_samples_are_the_files(whole: core.Study, tints: Path):
    samples = whole.samples
    assert sorted(samples["id"]) == sorted(path.relative_to(tints).as_posix() for path in tints.rglob("*.png"))
    assert [name.split("/")[0] for name in samples["id"]] == samples["split"].astype(str).tolist()
    assert [name.split("/")[1] for name in samples["id"]] == samples["class_name"].astype(str).tolist()
    assert samples["split"].astype(str).tolist() == ["train"] * 18 + ["test"] * 18
    graphs = whole.neighbors.groupby(["layer", "pooling", "split", "nearest_split"], observed=True)
    assert graphs.size().tolist() == [18 * 4] * 10 * 3


def test_separation_is_that_of_the_activations(whole: core.Study, tints: Path, network_file: str):
    """The same layer through Keras, image by image, without streams, batches or passes."""
    model = keras.models.load_model(network_file)
    top = keras.Model(model.inputs[0], model.get_layer("top_conv").output)
    files = [tints / name for name in whole.samples["id"]]
    images = np.stack([np.asarray(Image.open(file).resize((16, 16), Image.Resampling.BILINEAR)) for file in files])
    features = np.asarray(top(images.astype(np.float32)))
    for split in ("train", "test"):
        rows = whole.samples["split"].to_numpy() == split
        for pooling, array in (("flat", features), ("mean", features.mean(axis=(1, 2)))):
            expected = core.separation_index(array[rows], whole.samples["label"].to_numpy()[rows]).value
            table = whole.measurements.query("measure == 'separation' and layer == 'top_conv'")
            found = table[(table["split"] == split) & (table["pooling"] == pooling)]
            assert found["value"].item() == expected


def test_study_json_says_what_was_asked_and_used(whole: core.Study, options: StudyOptions, network_file: str):
    info = whole.info
    assert info["asked"] == options.asked()
    assert info["used"]["data"]["num_samples"] == 36
    assert info["used"]["data"]["name"] == "tints"
    assert info["used"]["model"]["weights"] == network_file
    assert len(info["used"]["model"]["weights_sha256"]) == 64
    assert info["used"]["batches"] == {"batch_size": 8, "last_batch": "padded"}
    assert {"python", "numpy", "keras"} <= set(info["used"]["versions"])
    assert info["skipped"] == []
    assert info["cautions"] == []
    assert info["command"].startswith(f"python -m core study {options.data} --out ")
    assert info["command"].endswith(f"--weights {network_file} --pooling both --neighbors 4 --batch-size 8")


def test_it_says_which_kernels_tensorflow_computed_with(whole: core.Study):
    here = current_kernels()
    assert here is not None
    assert whole.info["used"]["kernels"] == asdict(here)
    assert here.threads >= 1


def test_without_a_network_there_are_no_kernels(tmp_path: Path):
    options = StudyOptions("digits", "pixels", per_class=3, split="train", projection="none", probe=False)
    assert run_study(options, tmp_path / "study").info["used"]["kernels"] is None


def test_a_study_begun_with_other_kernels_goes_on_only_where_nothing_would_be_mixed(
    options: StudyOptions, whole: core.Study, tmp_path: Path
):
    out, plan = tmp_path / "study", plan_study(options, memory=ONE_PASS)
    for num_layers in (0, 1):
        with pytest.raises(KeyboardInterrupt):
            run_study(plan, out, progress=stop_when(lambda progress, done=num_layers: _has_come_to(progress, done)))
        info = json.loads((out / "study.json").read_text())
        assert info["used"]["kernels"] == whole.info["used"]["kernels"]
        info["used"]["kernels"]["threads"] += 1
        (out / "study.json").write_text(json.dumps(info))
    with pytest.raises(StudyError, match=rf"begun with other kernels of TensorFlow.*{THREADS}=.*another folder"):
        run_study(options, out)
    del info["used"]["kernels"]  # as studies were begun before there were these
    (out / "study.json").write_text(json.dumps(info))
    assert_same_tables(run_study(options, out), whole)


def _has_come_to(progress: Progress, num_layers: int) -> bool:
    return progress.unit == ("layers" if num_layers else "images") and progress.done >= num_layers


# Memory, interruptions, other options


def test_tables_do_not_depend_on_the_memory(options: StudyOptions, whole: core.Study, tmp_path: Path):
    plan = plan_study(options, memory=FOUR_PASSES)
    assert len(plan.passes()) == 4
    assert_same_tables(run_study(plan, tmp_path / "passes"), whole)


@pytest.mark.parametrize(
    ("memory", "reached", "finished"),
    [
        (ONE_PASS, lambda progress: progress.unit == "images", 0),
        (ONE_PASS, lambda progress: progress.unit == "layers" and progress.done == 2, 2),
        (FOUR_PASSES, lambda progress: progress.stage == "pass 3 of 4, activations", 2),
        (FOUR_PASSES, lambda progress: progress.stage.startswith("pass 4 of 4, neighbors in"), 4),
    ],
    ids=["in the first pass", "between layers", "in the third pass", "between layers of the last pass"],
)
def test_an_interrupted_study_is_valid_and_goes_on(
    options: StudyOptions, whole: core.Study, tmp_path: Path, memory: int, reached: Callable, finished: int
):
    out = tmp_path / "study"
    plan = plan_study(options, memory=memory)
    with pytest.raises(KeyboardInterrupt):
        run_study(plan, out, progress=stop_when(reached))
    assert json.loads((out / "study.json").read_text())["state"] == "partial"
    partial = load_study(out)
    assert partial.layers["layer"].tolist() == whole.layers["layer"].tolist()[:finished]
    done = set(partial.layers["layer"])
    expected = whole.measurements[whole.measurements["layer"].isin(done)].reset_index(drop=True)
    assert partial.measurements["value"].tolist() == expected["value"].tolist()
    computed: list[str] = []
    finished_study = run_study(options, out, memory=memory, progress=lambda p: computed.append(p.stage))
    assert_same_tables(finished_study, whole)
    assert not [stage for stage in computed for layer in done if stage.endswith(f"in {layer}")]  # nothing done twice


def test_a_complete_study_is_not_computed_again(options: StudyOptions, whole: core.Study):
    before = {path: path.stat().st_mtime_ns for path in whole.path.iterdir() if path.suffix == ".parquet"}
    stages: list[str] = []
    again = run_study(options, whole.path, memory=ONE_PASS, progress=lambda progress: stages.append(progress.stage))
    assert again.state == "complete"
    assert set(stages) == {"checking images"}
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"neighbors": 3}, "neighbors: 4 → 3"),
        ({"layers": "main"}, "layers: 'main,last_pool,output' → 'main'"),
        ({"per_class": 5}, "per_class: None → 5"),
        ({"seed": 1}, "seed: 0 → 1"),
    ],
)
def test_other_options_are_refused_by_name(options: StudyOptions, whole: core.Study, change: dict, difference: str):
    with pytest.raises(StudyError, match=difference):
        run_study(replace(options, **change), whole.path, memory=ONE_PASS)


def test_other_images_are_refused(tmp_path: Path):
    data = save_images(tmp_path / "data", count=2)
    options = StudyOptions(str(data), model="pixels")
    run_study(options, tmp_path / "study")
    Image.new("RGB", (40, 40)).save(data / "train" / "red" / "0.png")
    with pytest.raises(StudyError, match=r"data\.fingerprint"):
        run_study(options, tmp_path / "study")


# Without a network


def test_pixels_of_digits(tmp_path: Path):
    study = run_study(StudyOptions("digits", model="pixels", per_class=20), tmp_path / "digits")
    assert study.layers["layer"].tolist() == ["input"]
    assert study.layers["num_features"].tolist() == [64]
    digits = load_digits()
    for split in ("train", "test"):
        samples = study.samples[study.samples["split"] == split]
        assert samples["class_name"].value_counts().tolist() == [20] * 10
        rows = [int(name.removeprefix("digits/")) for name in samples["id"]]
        assert samples["label"].tolist() == digits.target[rows].tolist()
        expected = core.separation_index(digits.data[rows], digits.target[rows])
        found = study.measurements.query("measure == 'separation' and split == @split")
        assert found["value"].item() == expected.value
        assert found["chance"].item() == pytest.approx(expected.chance)


@pytest.mark.parametrize("split", ["train", "test"])
def test_one_split_only(tints: Path, tmp_path: Path, split: str):
    study = run_study(StudyOptions(str(tints), model="pixels", split=split), tmp_path / "study")
    assert set(study.samples["split"]) == {split}
    assert "cross" not in set(study.measurements["measure"])


def test_broken_images_are_recorded(tmp_path: Path):
    data = save_images(tmp_path / "data", count=3)
    (data / "train" / "red" / "1.png").write_bytes(b"no image")
    options = StudyOptions(str(data), model="pixels")
    with pytest.raises(ValueError, match=r"'train/red/1\.png'.*skip_broken=True"):
        run_study(options, tmp_path / "study")
    assert not (tmp_path / "study").exists()
    study = run_study(replace(options, skip_broken=True), tmp_path / "study")
    assert "One image is left out, which cannot be read: 'train/red/1.png'." in study.info["cautions"]
    assert study.info["skipped"] == [{"id": "train/red/1.png", "reason": "no image in a format known here"}]
    assert len(study.samples) == 17
    assert "train/red/1.png" not in set(study.samples["id"])
    assert json.loads((tmp_path / "study" / "study.json").read_text())["asked"]["skip_broken"] is True


# The plan


def test_per_class(options: StudyOptions):
    plan = plan_study(replace(options, per_class=2), memory=ONE_PASS)
    assert len(plan.samples) == 12
    assert np.bincount(plan.samples.labels[plan.samples.rows("test")]).tolist() == [2, 2, 2]


def test_layers_that_do_not_match(options: StudyOptions):
    with pytest.raises(ValueError, match="blok1"):
        plan_study(replace(options, layers="main,blok1*"), memory=ONE_PASS)


def test_too_little_memory_names_the_layer_the_need_and_the_ways_out(options: StudyOptions, tmp_path: Path):
    with pytest.raises(ValueError, match=r"stem_conv needs 144\.6 KiB for 36 samples, got 100 KiB") as error:
        run_study(options, tmp_path / "study", memory=100 * 1024)
    for way in ("raise --memory", "--pooling mean (576 bytes)", "--per-class"):
        assert way in str(error.value)
    assert not (tmp_path / "study").exists()


def test_pixels_have_no_other_layers():
    with pytest.raises(ValueError, match="layers must be left out or be 'input' with model 'pixels'; got 'stem_conv'"):
        plan_study(StudyOptions("digits", model="pixels", layers="stem_conv"))


def test_an_unknown_model():
    with pytest.raises(ValueError, match=r"Did you mean efficientnet-lite\d"):
        plan_study(StudyOptions("digits", model="efficientnet-lite", weights="none"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pooling": "max"}, "pooling must be one of flat, mean, both; got 'max'"),
        ({"neighbors": 0}, "neighbors must be at least 1; got 0"),
        ({"batch_size": 0}, "batch_size must be at least 1; got 0"),
    ],
)
def test_bad_options(change: dict, message: str):
    with pytest.raises(ValueError, match=message):
        StudyOptions("digits", **change)


@pytest.mark.parametrize(
    ("names", "weights", "warning"),
    [
        (("n02085620-Chihuahua", "n02085782"), "imagenet", "a network with ImageNet weights has probably been"),
        (("n02085620-Chihuahua", "n02085782"), "tuned/final.keras", "or fine-tuned from such weights, it has probably"),
        (("n02085620-Chihuahua", "n02085782"), "noisy-student", "if the network was trained on ImageNet"),
        (("n02085620-Chihuahua", "n02085782"), "none", None),
        (("n02085620-Chihuahua", "mine"), "imagenet", None),
        (("n020856201", "n02085782"), "imagenet", None),
        (("mine", "yours"), "tuned/final.keras", None),
    ],
)
def test_images_that_imagenet_weights_have_seen(options: StudyOptions, names: tuple, weights: str, warning: str | None):
    plan = plan_study(options, memory=ONE_PASS)
    named = replace(plan, images=replace(plan.images, class_names=names), options=replace(options, weights=weights))
    cautions = named.cautions()
    assert len(cautions) == (warning is not None)
    assert warning is None or warning in cautions[0]
    assert replace(named, network=None).cautions() == []


def test_the_command_asks_for_the_same_study():
    options = StudyOptions("my pets", per_class=5, skip_broken=True, layers="block*_add")
    words = "python -m core study 'my pets' --out out --layers 'block*_add' --per-class 5 --skip-broken"
    assert options.command("out") == words


@pytest.mark.parametrize(
    ("text", "num_bytes"),
    [
        ("1", 1),
        ("1073741824", 1 << 30),
        ("2GiB", 2 << 30),
        ("2gib", 2 << 30),
        ("2GB", 2 * 10**9),
        ("2G", 2 * 10**9),
        ("500 MB", 500 * 10**6),
        ("1.5KiB", 1536),
        (" 3 TiB ", 3 << 40),
        ("7B", 7),
    ],
)
def test_parse_bytes(text: str, num_bytes: int):
    assert parse_bytes(text) == num_bytes


@pytest.mark.parametrize("text", ["", "lots", "-1GiB", "1 PiB", "GiB", "1e9", "2GiBs", "1,5GiB"])
def test_text_that_is_no_number_of_bytes(text: str):
    with pytest.raises(ValueError, match="memory must be a number of bytes such as 2GiB"):
        parse_bytes(text)


@pytest.mark.parametrize("text", ["0", "0GiB", "0.1"])
def test_less_than_a_byte(text: str):
    with pytest.raises(ValueError, match="memory must be at least one byte"):
        parse_bytes(text)


def test_a_plan_without_a_given_budget_takes_half_of_what_is_free():
    plan = plan_study(StudyOptions("digits", model="pixels", per_class=2))
    assert isinstance(plan, Plan)
    assert (1 << 20) < plan.budget_bytes < (1 << 42)


# Real dogs


@pytest.mark.shared
def test_imagenet_features_separate_real_dogs_and_the_stem_does_not(dogs_dir: Path, tmp_path: Path):
    data = tmp_path / "dogs"
    breeds = sorted(path.name for path in (dogs_dir / "train").iterdir() if path.is_dir())[::35][:4]
    for split in ("train", "test"):
        (data / split).mkdir(parents=True)
        for breed in breeds:
            (data / split / breed).symlink_to(dogs_dir / split / breed, target_is_directory=True)
    layers = "stem_conv,block5c_add,avg_pool,predictions"
    study = run_study(StudyOptions(str(data), layers=layers, per_class=5), tmp_path / "study", memory=ONE_PASS)
    values = study.measurements.query("measure == 'separation'").pivot_table(
        index="layer", columns="split", values="value", observed=True
    )
    chance = 4 / 19
    assert (values.loc["predictions"] >= 0.8).all()
    assert (values.loc["avg_pool"] >= 0.8).all()
    assert (values.loc["stem_conv"] <= 0.5).all()
    assert set(study.measurements.query("measure == 'separation'")["chance"].round(9)) == {round(chance, 9)}
    assert "trained on these very images" in study.info["cautions"][0]


def test_neighbors_are_stored_of_the_layers_asked_for(tints: Path, network_file: str, tmp_path: Path) -> None:
    every = StudyOptions(str(tints), weights=network_file, layers=LAYERS, probe=False)
    some = replace(every, neighbor_layers="stem_conv,avg_pool")
    whole, part = (run_study(options, tmp_path / str(n)) for n, options in enumerate((every, some)))
    assert set(part.neighbors["layer"]) == {"stem_conv", "avg_pool"} < set(whole.neighbors["layer"])
    pd.testing.assert_frame_equal(part.measurements, whole.measurements)
    with pytest.raises(ValueError, match="'nothing' in 'nothing'"):
        plan_study(replace(every, neighbor_layers="nothing"))
