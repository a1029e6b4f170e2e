"""Studies of a user's own network: called what it is, layers by Keras's names, contradictions refused at every door."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

import core
from core.analysis.comparing import compare_studies
from core.analysis.cut.exporting import export_cut
from core.analysis.ranking.options import RankOptions
from core.analysis.ranking.ranking import rank_networks
from core.cli import main
from core.report.content import make_report
from core.report.words.formatting import plain
from core.training.fine_tuning import FineTuneOptions

keras = pytest.importorskip("keras")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),
]

SMALL = {"per_class": 4, "probe": False, "projection": "none", "neighbors": 2}


def numbered_network(path: Path) -> str:
    """A Sequential whose layers Keras names: conv2d of 4 channels, conv2d_1 of 8."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    layers = keras.layers
    keras.Sequential([layers.Input((12, 12, 3)), layers.Conv2D(4, 3, activation="relu"), layers.MaxPooling2D(),
                      layers.Conv2D(8, 3, activation="relu"), layers.GlobalAveragePooling2D(),
                      layers.Dense(3, activation="softmax")]).save(path)  # fmt: skip
    return str(path)


def two_backbones(path: Path) -> str:
    keras.utils.set_random_seed(0)
    layers = keras.layers
    pixels = layers.Input((12, 12, 3))
    sides = []
    for name in ("left", "right"):
        image = layers.Input((12, 12, 3))
        hidden = layers.Conv2D(6, 3, activation="relu", name="conv1")(image)
        backbone = keras.Model(image, layers.Conv2D(8, 3, activation="relu", name="conv2")(hidden), name=name)
        sides.append(layers.GlobalAveragePooling2D(name=f"{name}_pool")(backbone(pixels)))
    keras.Model(pixels, layers.Dense(3, name="head")(layers.Concatenate()(sides)), name="two").save(path)
    return str(path)


@pytest.fixture(scope="module")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> str:
    return numbered_network(tmp_path_factory.mktemp("network") / "flowers.keras")


@pytest.fixture(scope="module")
def study(numbered: str, tmp_path_factory: pytest.TempPathFactory) -> core.Study:
    """Of the default layers."""
    options = core.StudyOptions("digits", weights=numbered, **SMALL)
    return core.run_study(options, tmp_path_factory.mktemp("studies") / "study")


def test_the_default_layers_are_the_main_ones_the_last_pooling_and_the_output(study):
    assert study.layers["layer"].tolist() == ["conv2d", "conv2d_1", "global_average_pooling2d", "dense"]
    assert study.layers["channels"].tolist() == [4, 8, 8, 3]


def test_a_name_is_the_layer_that_keras_finds(numbered, tmp_path, capsys):
    arguments = ["study", "digits", "--weights", numbered, "--layers", "conv2d_1", "--per-class", "4", "--no-probe"]
    assert main([*arguments, "--out", str(tmp_path / "study")]) == 0
    layers = core.load_study(tmp_path / "study").layers
    assert layers[["layer", "channels"]].values.tolist() == [["conv2d_1", 8]]
    assert keras.models.load_model(numbered).get_layer("conv2d_1").filters == 8
    file = str(tmp_path / "cut.keras")
    assert main(["cut", str(tmp_path / "study"), "--layer", "conv2d_1", "--no-timing", "--out", file]) == 0
    assert keras.models.load_model(file).output_shape == (None, 8)
    capsys.readouterr()
    assert main(["layers", numbered, "--json"]) == 0
    names = [layer["layer"] for layer in json.loads(capsys.readouterr().out)]
    assert names == ["input", "conv2d", "max_pooling2d", "conv2d_1", "global_average_pooling2d", "dense"]


def test_the_network_is_called_what_it_is(study, numbered):
    assert study.info["asked"]["model"] is None
    assert study.info["asked"]["weights"] == numbered
    name = study.info["used"]["model"]["name"]
    assert re.fullmatch(r"sequential(_\d+)?", name)
    assert make_report(study.path).caption.startswith(f"{plain(name)}, flowers.keras")
    assert "efficientnet" not in json.dumps([study.info["asked"], study.info["used"]["model"]])


@pytest.mark.parametrize("as_model", [True, False])
def test_a_file_as_model_is_the_same_study(study, numbered, as_model):
    """The study goes on, or is complete, whichever way it is asked for."""
    options = core.StudyOptions("digits", numbered if as_model else None, None if as_model else numbered, **SMALL)
    assert core.run_study(options, study.path).path == study.path
    assert options.command("out").count("flowers.keras") == 1


def test_layers_of_two_backbones_are_called_by_their_paths(tmp_path):
    options = core.StudyOptions("digits", two_backbones(tmp_path / "two.keras"), pooling="both", **SMALL)
    study = core.run_study(options, tmp_path / "study")
    names = {f"{side}/{conv}" for side in ("left", "right") for conv in ("conv1", "conv2")}
    assert set(study.layers["layer"]) == {*names, "left_pool", "right_pool", "head"}
    values = study.measurements.query("measure == 'separation'")
    assert set(values["layer"]) == set(study.layers["layer"])
    assert values["value"].notna().all()
    assert (compare_studies(study, study)["difference"] == 0).all()
    cut = export_cut(study, "right/conv2", tmp_path / "cut.keras", head="nearest")
    assert (cut.layer, cut.shape) == ("right/conv2", (10,))


def test_layers_in_nested_models_share_passes_and_boundaries(tmp_path):
    """The numbers do not depend on the memory: with little of it, passes start at a layer of the nested model."""
    image, pixels = keras.Input((12, 12, 3)), keras.Input((12, 12, 3))
    x = image
    for number in range(3):
        x = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name=f"conv{number}")(x)
    body = keras.Model(image, x, name="body")
    pooled = keras.layers.GlobalAveragePooling2D(name="conv0")(body(pixels))
    keras.Model(pixels, pooled).save(tmp_path / "nested.keras")
    options = core.StudyOptions("digits", str(tmp_path / "nested.keras"), pooling="flat", **SMALL)
    tables = []
    for memory in (1 << 20, 1 << 30):
        plan = core.plan_study(options, memory=memory)
        tables.append(core.run_study(plan, tmp_path / f"study of {memory}").measurements)
    assert set(tables[0]["layer"]) == {"body/conv0", "body/conv1", "body/conv2", "conv0"}
    assert np.array_equal(tables[0]["value"], tables[1]["value"], equal_nan=True)


CONTRADICTIONS = [
    (("resnet50", "FILE"), "holds another, 'sequential"),
    (("FILE", "imagenet"), "weights must be left out where model is a file"),
    (("pixels", "FILE"), "weights must be left out with model 'pixels'"),
]


@pytest.mark.parametrize(("choice", "message"), CONTRADICTIONS)
def test_contradictions_are_refused(choice, message, numbered, tmp_path, capsys):
    model, weights = (numbered if text == "FILE" else text for text in choice)
    with pytest.raises(ValueError, match=re.escape(message)):
        core.plan_study(core.StudyOptions("digits", model, weights, **SMALL))
    out = str(tmp_path / "study")
    assert main(["study", "digits", "--model", model, "--weights", weights, "--per-class", "4", "--out", out]) == 2
    assert message in capsys.readouterr().err
    assert not Path(out).exists()


def test_fine_tuning_takes_a_file_as_model_and_refuses_contradictions(numbered):
    options = FineTuneOptions("digits", numbered)
    assert (options.model, options.weights) == (None, numbered)
    with pytest.raises(ValueError, match="weights must be left out where model is a file"):
        FineTuneOptions("digits", numbered, "none")


def test_ranking_takes_files(numbered, tmp_path):
    options = RankOptions("digits", (numbered, "pixels"), layers="conv*", per_class=4, probe=False, neighbors=1)
    ranking = rank_networks(options, tmp_path / "ranking")
    assert set(ranking.networks["network"]) == {"flowers", "pixels"}
    assert set(ranking.study("flowers").layers["layer"]) == {"conv2d", "conv2d_1"}


def test_layers_that_were_called_otherwise_are_not_mixed(study, numbered, tmp_path):
    """A study that was begun when names went by position, and did not end."""
    from core.study.store.writing import write_layer

    options = core.StudyOptions("digits", weights=numbered, **SMALL)
    folder = tmp_path / "begun"

    def stop(progress: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        core.run_study(core.plan_study(options), folder, progress=stop)
    write_layer(folder, 1, {"layers": study.layers.head(1).assign(layer="conv2d_9")})
    with pytest.raises(core.StudyError, match=r"conv2d_9, which this network does not have .*Choose another folder"):
        core.run_study(options, folder)


def test_the_callback_uses_kerass_names(tmp_path):
    keras.backend.clear_session()
    layers = keras.layers
    model = keras.Sequential([layers.Input((8, 8, 1)), layers.Conv2D(4, 3), layers.MaxPooling2D(), layers.Conv2D(8, 3),
                              layers.GlobalAveragePooling2D(), layers.Dense(2)])  # fmt: skip
    model.compile("sgd", "mse")
    rng = np.random.default_rng(0)
    images, labels = rng.random((20, 8, 8, 1), dtype=np.float32), np.tile([0, 1], 10)
    callback = core.SeparationCallback((images, labels), out=tmp_path / "study", layers=["conv2d_1", "dense"])
    model.fit(images, np.eye(2, dtype=np.float32)[labels], epochs=1, verbose=0, callbacks=[callback])
    rows = core.load_study(tmp_path / "study").layers
    assert rows[["layer", "channels"]].values.tolist() == [["conv2d_1", 8], ["dense", 2]]
