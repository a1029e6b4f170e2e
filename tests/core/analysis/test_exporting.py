"""A study's network cut and saved, with and without a head, on digits and a network of two small blocks."""

import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import core
from core.analysis.cut import exporting
from core.analysis.cut.advice import advise
from core.analysis.cut.exporting import export_cut, usage_lines
from core.analysis.cut.time_saved import WIDEST_RANGE
from core.analysis.cut.timings import load_timing
from core.cli import main
from core.report.words.cut import enough_tolerance, headline
from core.study.reopening import reopen_network, reopen_plan
from core.study.store.opening import Study, StudyError, load_study
from explorer.studies.loading import DEMO
from tests.documents import ROOT, code_blocks

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _handlers_as_before() -> Iterator[None]:
    """The command takes over SIGTERM, as a process of its own may."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def save_network(path: Path, seed: int = 0) -> Path:
    """Two convolutions with a sum around the second, and a head, of 16 x 16 pixels."""
    layers = keras.layers

    def conv(name: str) -> keras.Layer:
        initializer = keras.initializers.GlorotUniform(seed=seed + len(name))
        return layers.Conv2D(6, 3, padding="same", activation="relu", name=name, kernel_initializer=initializer)

    image = keras.Input((16, 16, 3), name="image")
    stem = conv("stem_conv")(layers.Rescaling(1 / 255)(image))
    total = layers.Add(name="block1a_add")([conv("block1a_conv")(stem), stem])
    pooled = layers.GlobalAveragePooling2D(name="avg_pool")(total)
    head = layers.Dense(10, name="predictions", kernel_initializer=keras.initializers.GlorotUniform(seed=seed))
    keras.Model(image, head(pooled), name="tiny").save(path)
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    return save_network(tmp_path_factory.mktemp("network") / "tiny.keras")


@pytest.fixture(scope="module")
def study(tmp_path_factory, weights) -> Study:
    options = core.StudyOptions("digits", weights=str(weights), per_class=6, neighbors=1)
    return core.run_study(options, tmp_path_factory.mktemp("study") / "study")


def loaded(path: Path) -> keras.Model:
    return keras.models.load_model(path, compile=False)


@pytest.mark.parametrize(("pooling", "shape"), [("mean", (6,)), ("flat", (16 * 16 * 6,)), ("none", (16, 16, 6))])
def test_the_file_gives_the_features_and_says_so(study, tmp_path, pooling, shape):
    export = export_cut(study, "block1a_add", tmp_path / "deep" / "cut.keras", pooling=pooling)
    assert export.shape == shape == loaded(export.path).outputs[0].shape[1:]
    assert export.largest_difference <= 1e-5
    assert "random pixels" in export.checked_on
    record = json.loads((tmp_path / "deep" / "cut.json").read_text(encoding="utf-8"))
    assert (record["layer"], record["pooling"], record["head"], record["accuracy"]) == (
        "block1a_add",
        pooling,
        None,
        None,
    )
    assert record["expects"].startswith("raw RGB pixels")


@pytest.mark.parametrize(("head", "measure"), [("probe", "linear_probe"), ("nearest", "cross")])
def test_a_head_is_as_accurate_as_the_study_says(study, tmp_path, head, measure):
    export = export_cut(study, "avg_pool", tmp_path / "cut.keras", head=head)
    rows = study.measurements.query("measure == @measure and split == 'test' and layer == 'avg_pool'")
    assert export.accuracy == pytest.approx(rows["value"].item())
    assert export.low < export.accuracy < export.high
    assert (export.num_train, export.num_test) == (60, 60)


@pytest.mark.parametrize("head", ["probe", "nearest"])
def test_the_file_alone_names_the_images(study, tmp_path, head):
    export = export_cut(study, "block1a_add", tmp_path / "cut.keras", head=head)
    plan = reopen_plan(study)
    rows = plan.samples.rows("test")
    scores = np.asarray(loaded(export.path)(plan.images.load(rows, (16, 16)), training=False))
    classes = json.loads(export.path.with_suffix(".json").read_text(encoding="utf-8"))["classes"]
    named = [classes[at] for at in scores.argmax(axis=1)]
    known = [plan.samples.class_names[label] for label in plan.samples.labels[rows]]
    assert np.mean([one == other for one, other in zip(named, known, strict=True)]) == pytest.approx(export.accuracy)


def test_other_activations_are_refused(study, tmp_path, monkeypatch):
    different = reopen_network(study).model
    different.layers[-1].bias.assign_add(np.full(10, 0.5, np.float32))
    monkeypatch.setattr(exporting, "cut_network", lambda model, layer, pooling, tokens: different)
    with pytest.raises(RuntimeError, match=r"gives other numbers than the network: they differ by up to 0\.5"):
        export_cut(study, "predictions", tmp_path / "cut.keras")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layer": "block1_add"}, "Did you mean block1a_add"),
        ({"head": "forest"}, "head must be one of probe, nearest; got 'forest'"),
        ({"head": "probe", "pooling": "none"}, "pooling must be mean or flat where there is a head"),
        ({"out": "cut.h5"}, "out must be a file that ends in .keras; got 'cut.h5'"),
        ({"weights": "gone.keras"}, "no file gone.keras. Say with --weights"),
        ({"weights": "gone.keras", "head": "probe"}, "no file gone.keras. Say with --weights"),
        ({"data": "gone", "head": "probe"}, "Say with --data"),
    ],
)
def test_what_cannot_be_exported_is_said(study, tmp_path, arguments, message):
    options = {"layer": "avg_pool", "out": "cut.keras"} | arguments
    layer, out = options.pop("layer"), tmp_path / options.pop("out")
    with pytest.raises(ValueError, match=message):
        export_cut(study, layer, out, **options)


def test_other_weights_than_the_study_measured_are_refused(study, tmp_path):
    other = save_network(tmp_path / "other.keras", seed=5)
    with pytest.raises(StudyError, match=r"other.keras holds others by now"):
        reopen_network(study, weights=str(other))


def test_the_weights_may_have_moved(study, weights, tmp_path):
    moved = shutil.copy(weights, tmp_path / "moved.keras")
    assert reopen_network(study, weights=str(moved)).input_size == (16, 16)


def test_features_and_pixels_have_no_network(tmp_path):
    features = core.study_from_features({"a": np.eye(4)}, [0, 0, 1, 1], out=tmp_path / "features")
    pixels = core.run_study(core.StudyOptions("digits", model="pixels", per_class=4), tmp_path / "pixels")
    for one in (features, pixels):
        with pytest.raises(StudyError, match="has no network: it was made from features or from pixels"):
            export_cut(one, "a", tmp_path / "cut.keras")


# the command


def test_the_command_chooses_cuts_and_says_what_it_saves(study, tmp_path, capsys):
    out = tmp_path / "cut.keras"
    tolerance = enough_tolerance(advise(study))
    command = ["cut", str(study.path), "--out", str(out), "--head", "probe", "--tolerance", str(tolerance)]
    advice = advise(study, tolerance=tolerance)
    assert main(command) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"Cut at {advice.recommended}")
    assert text.startswith(f"{headline(advice)}: ")  # which the reasons do not say again
    assert text.count("SI is highest") == 1
    assert "same activations as the network on 8 of the study's images" in text
    assert "ms an image are left" in text
    assert "probe head of 60 training images: accuracy" in text
    assert loaded(out).outputs[0].shape == (None, 10)


def test_the_command_cuts_nowhere_where_the_samples_cannot_decide(study, tmp_path, capsys):
    out = tmp_path / "cut.keras"
    assert main(["cut", str(study.path), "--out", str(out)]) == 1
    text = capsys.readouterr().err
    assert "cannot decide where to cut." in text
    assert "or --tolerance 0." in text
    assert f"--layer {advise(study).best}, the one of the highest SI" in text
    assert not out.exists()


def test_the_command_tells_machines_that_nothing_is_recommended(study, capsys):
    assert main(["cut", str(study.path), "--no-timing", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["recommended"], told["tolerance"]) == (None, 0.03)
    assert told["layer"] == told["best"]
    assert "cannot decide where to cut" in told["conclusion"]


def test_the_head_is_called_so_and_not_one_that_was_not_measured(study, capsys):
    assert main(["cut", str(study.path), "--no-timing", "--layer", "predictions"]) == 0
    text = capsys.readouterr().out
    assert "predictions is the network's own head: below it is the whole network, and nothing is saved" in text
    assert "was not measured" not in text


def test_the_tables_alone_answer_without_the_network(study, capsys, monkeypatch):
    monkeypatch.setattr("core.commands.cut.reopen_network", lambda *_, **__: pytest.fail("the network was built"))
    assert main(["cut", str(study.path), "--no-timing", "--layer", "stem_conv"]) == 0
    text = capsys.readouterr().out
    assert "costs: SI " in text
    assert "Seconds an image, and a file (--out), need the network, tiny (weights: " in text


@pytest.fixture
def lost(study, tmp_path) -> Path:
    """A copy of the study that records weights which are not there."""
    copy = shutil.copytree(study.path, tmp_path / "lost")
    text = (copy / "study.json").read_text(encoding="utf-8").replace("tiny.keras", "lost.keras")
    (copy / "study.json").write_text(text, encoding="utf-8")
    return copy


def test_without_the_weights_the_tables_answer_what_they_can(lost, tmp_path, capsys):
    assert main(["cut", str(lost)]) == 0
    text = capsys.readouterr().out
    assert "saves, of the network up to predictions: " in text
    assert "seconds an image are left out. The weights of the study are not there any more: no file" in text
    assert main(["cut", str(lost), "--json"]) == 0
    told = capsys.readouterr()
    assert {row["seconds"] for row in json.loads(told.out)["layers"]} == {None}
    assert "seconds an image are left out. The weights" in told.err
    gone = ["--weights", "gone.keras"]
    for arguments in (["--out", str(tmp_path / "cut.keras")], gone, [*gone, "--no-timing"]):
        assert main(["cut", str(lost), *arguments]) == 1
        assert capsys.readouterr().err.count("Say with --weights where it lies now.") == 1


def test_a_layer_of_neither_the_study_nor_its_network_is_refused(study, lost, capsys):
    assert main(["cut", str(study.path), "--layer", "stem_con", "--no-timing"]) == 2
    assert "layer must be a layer of the network; got 'stem_con'. Did you mean stem_conv?" in capsys.readouterr().err
    assert main(["cut", str(study.path), "--layer", "input", "--no-timing"]) == 0
    assert "input was not measured: what cutting there costs is not known" in capsys.readouterr().out
    assert main(["cut", str(lost), "--layer", "stem_con", "--no-timing"]) == 1
    text = capsys.readouterr().err
    assert "got 'stem_con'. Did you mean 'stem_conv'?" in text
    assert "its network cannot be loaded. The weights of the study are not there any more" in text


def test_without_a_file_the_command_only_looks_and_keeps_the_seconds(study, tmp_path, capsys):
    copy = shutil.copytree(study.path, tmp_path / "copy")
    assert load_timing(load_study(copy)) == {}
    assert main(["cut", str(copy)]) == 0
    text = capsys.readouterr().out
    assert "ms an image are left" in text
    assert ("of the time (" in text) != ("a share of the time that cannot be told (" in text)
    assert "written to" not in text
    kept = load_timing(load_study(copy))
    assert list(kept["seconds"]) == study.layers["layer"].tolist()
    assert min(kept["seconds"].values()) > 0
    assert kept["batch_size"] == 8
    assert {layer: min(rounds) for layer, rounds in kept["rounds"].items()} == kept["seconds"]
    assert main(["cut", str(copy), "--json", "--layer", "stem_conv"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["advice"]["layer"] == "stem_conv"
    for row in found["layers"]:
        share, low, high = (row[f"seconds_saved{end}"] for end in ("", "_low", "_high"))
        assert low <= high
        assert (share is None) == (high - low > WIDEST_RANGE)
        assert row["timing_rounds"] == 5
        assert row["time_saved"].endswith("% in 5 rounds)")
    (copy / "timing.json").write_text("[", encoding="utf-8")
    assert load_timing(load_study(copy)) == {}


def test_the_command_for_machines(study, tmp_path, capsys):
    arguments = ["cut", str(study.path), "--out", str(tmp_path / "cut.keras"), "--layer", "stem_conv"]
    assert main([*arguments, "--no-timing", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["layer"] == "stem_conv"
    assert found["accuracy"] is None
    assert found["advice"]["parameters"] == 3 * 9 * 6 + 6
    names = {str(name) for name in load_study(study.path).samples["class_name"]}
    assert {row["class_name"] for row in found["classes"]} == names
    assert all(row["low"] <= row["difference"] <= row["high"] for row in found["classes"])
    assert found["advice"]["flop"] == 2 * (3 * 9 * 6 + 6) * 16 * 16


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--layer", "stem_con"], 2, "Did you mean stem_conv"),
        (["--weights", "gone.keras"], 1, "no file gone.keras"),
        (["--layer", "avg_pool", "--out", "cut.h5"], 2, "ends in .keras"),
        (["--tolerance", "0"], 2, "tolerance must lie above 0 and below 1"),
    ],
)
def test_the_command_says_what_is_wrong(study, tmp_path, capsys, arguments, status, message):
    assert main(["cut", str(study.path), "--out", str(tmp_path / "cut.keras"), *arguments]) == status
    assert message in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_told_before_the_network_is_built(study, tmp_path, capsys, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr("core.commands.cut.reopen_network", lambda *_, **__: pytest.fail("the network was built"))
    assert main(["cut", str(study.path), "--out", str(tmp_path / "file" / "cut.keras")]) == 1
    assert f"{tmp_path / 'file'}, which is a file" in capsys.readouterr().err


def test_a_head_needs_a_file(study, capsys):
    assert main(["cut", str(study.path), "--head", "probe"]) == 2
    assert "head must go with --out, the file that it is part of; got 'probe' alone" in capsys.readouterr().err


@pytest.mark.shared
def test_a_bundled_network_is_cut_with_its_real_weights(tmp_path):
    demo = load_study(DEMO / "dogs")
    export = export_cut(demo, "block4c_add", tmp_path / "cut.keras")
    assert export.shape == (80,)
    assert export.largest_difference <= 1e-5 * max(1.0, export.largest_activation)


def readme_lines() -> str:
    """The block in the README that uses a cut network."""
    document = (ROOT / "core" / "analysis" / "README.md").read_text(encoding="utf-8")
    (block,) = [block for block in code_blocks(document) if "test_exporting" in block.mark]
    return block.text


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    """Plain images of three colors, larger than the network's, with a little noise; classes in no usual order."""
    folder, rng = tmp_path_factory.mktemp("photographs"), np.random.default_rng(0)
    for number, name in enumerate(("zebra", "ant", "mule")):
        for split, count in (("train", 8), ("test", 3)):
            (folder / split / name).mkdir(parents=True)
            for copy in range(count):
                pixels = rng.integers(0, 60, (40, 30, 3))
                pixels[..., number] += 150
                Image.fromarray(pixels.astype(np.uint8)).save(folder / split / name / f"{copy}.png")
    return folder


@pytest.mark.parametrize("source", ["README", "file"])
@pytest.mark.parametrize("head", ["probe", "nearest"])
def test_five_lines_of_keras_name_the_class(photographs, weights, tmp_path, monkeypatch, capsys, source, head):
    options = core.StudyOptions(str(photographs), weights=str(weights), layers="block1a_add", projection="none")
    study = core.run_study(options, tmp_path / "study")
    monkeypatch.chdir(tmp_path)
    export = export_cut(study, "block1a_add", "classifier.keras", head=head)
    record = json.loads(Path("classifier.json").read_text(encoding="utf-8"))
    lines = readme_lines() if source == "README" else "\n".join(record["usage"])
    assert len(lines.splitlines()) == 6  # the first one imports
    assert export.accuracy == 1
    for name in ("zebra", "ant", "mule"):
        shutil.copy(photographs / "test" / name / "1.png", "photo.jpg")
        capsys.readouterr()
        exec(compile(lines, "usage", "exec"), {})
        assert capsys.readouterr().out.splitlines()[-1] == name


def test_the_lines_of_the_readme_are_those_of_the_file():
    assert readme_lines().splitlines() == usage_lines(Path("classifier.keras"), has_head=True)


def test_lines_without_a_head_give_the_features_of_the_study(photographs, weights, tmp_path, monkeypatch):
    options = core.StudyOptions(str(photographs), weights=str(weights), layers="block1a_add", projection="none")
    study = core.run_study(options, tmp_path / "study")
    monkeypatch.chdir(tmp_path)
    export_cut(study, "block1a_add", "features.keras")
    shutil.copy(photographs / "test" / "ant" / "0.png", "photo.jpg")
    variables: dict = {}
    exec("\n".join(json.loads(Path("features.json").read_text(encoding="utf-8"))["usage"]), variables)
    plan = reopen_plan(study)
    row = list(plan.samples.ids).index("test/ant/0.png")
    pixels = plan.images.load([row], plan.network.input_size)
    expected = loaded(Path("features.keras"))(pixels)
    assert np.abs(variables["output"] - np.asarray(expected)[0]).max() <= 1e-5
