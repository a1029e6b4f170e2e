"""Studies of transformers, from the command line to the cut network: what works with layers of tokens."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

import core
from core.cli import main
from core.data.images.loading import load_images
from core.network.models.registry import load_network
from tests.vision_transformers import small_vit, study_of_the_readme

keras = pytest.importorskip("keras")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),
]

SMALL = ["--per-class", "6", "--neighbors", "3", "--no-probe"]


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    path = tmp_path_factory.mktemp("network") / "vit.keras"
    small_vit(class_token=True).save(path)
    return path


@pytest.fixture(scope="module")
def study(vit, tmp_path_factory):
    out = tmp_path_factory.mktemp("studies") / "study"
    assert main(["study", "digits", "--model", str(vit), "--out", str(out), *SMALL]) == 0
    return core.load_study(out)


def test_a_study_says_what_was_taken_of_the_tokens(study):
    pooled = study.info["used"]["pooled"]
    assert pooled["with_class_token"] == "mean over 17 tokens"
    assert pooled["block1_attention"] == pooled["block2_add2"] == "class token, the first of 17 tokens"
    assert "patch_conv" not in pooled
    layers = study.layers.set_index("layer")
    assert layers.loc["block2_add2", ["kind", "channels", "block"]].tolist() == ["Add", 8, "block2"]
    assert layers.loc[["patch_conv", "with_class_token", "block1_add1"], "mean_of"].tolist() == [
        "positions", "tokens", "class token",
    ]  # fmt: skip
    assert layers["note"].isna().all()
    assert any("from block1_attention on" in caution for caution in study.info["cautions"])


def test_the_mean_of_all_tokens_is_another_study(vit, study, tmp_path, capsys):
    command = ["study", "digits", "--model", str(vit), *SMALL]
    assert main([*command, "--tokens", "mean", "--out", str(study.path)]) == 1
    assert "tokens: 'auto' → 'mean'" in capsys.readouterr().err
    assert main([*command, "--tokens", "mean", "--out", str(tmp_path / "means")]) == 0
    means = core.load_study(tmp_path / "means")
    assert set(means.info["used"]["pooled"].values()) == {"mean over 17 tokens"}
    assert not any("class token" in caution for caution in means.info["cautions"])
    # The two differ where there is a class token, and nowhere else.
    distances = [
        one.table("neighbors").groupby("layer", observed=True)["distance"].apply(list) for one in (study, means)
    ]
    differ = {layer for layer in distances[0].index if distances[0][layer] != distances[1][layer]}
    pooled = study.info["used"]["pooled"]
    assert differ == {layer for layer, text in pooled.items() if text.startswith("class token")}


@pytest.mark.parametrize("head", [None, "probe", "nearest"])
def test_a_network_is_cut_at_its_class_token(study, head, tmp_path):
    file = tmp_path / "cut.keras"
    options = ["--head", head] if head else []
    assert main(["cut", str(study.path), "--layer", "block1_add2", "--out", str(file), *options]) == 0
    model = keras.models.load_model(file)
    assert model.outputs[0].shape[1:] == ((10,) if head else (8,))


def test_a_transformer_is_fine_tuned_on_its_class_token_and_measured_again(vit, tmp_path):
    out = tmp_path / "tuned"
    command = ["fine-tune", "digits", "--model", str(vit), "--per-class", "8", "--out", str(out)]
    assert main([*command, "--head-epochs", "1", "--tail-epochs", "1", "--unfreeze", "block2_*"]) == 0
    tuned = load_network(None, str(out / "final.keras")).model
    before = keras.models.load_model(vit)
    name = "block1_attention"
    for kept, old in zip(tuned.get_layer(name).get_weights(), before.get_layer(name).get_weights(), strict=True):
        np.testing.assert_array_equal(kept, old)
    assert not np.array_equal(tuned.get_layer("block2_dense2").get_weights()[0],
                              before.get_layer("block2_dense2").get_weights()[0])  # fmt: skip
    assert (
        main(["study", "digits", "--weights", str(out / "final.keras"), "--out", str(tmp_path / "after"), *SMALL]) == 0
    )
    after = core.load_study(tmp_path / "after")
    assert {"block1_add1", "block2_add2", "predictions"} <= set(after.layers["layer"])
    assert after.info["used"]["pooled"]["block2_add2"] == "class token, the first of 17 tokens"


def test_transformers_are_ranked(vit, tmp_path, capsys):
    out = tmp_path / "ranking"
    models = f"{vit},pixels"
    assert main(["rank", "digits", "--models", models, "--per-class", "6", "--no-probe", "--out", str(out)]) == 0
    assert "vit" in capsys.readouterr().out


def test_blocks_are_left_out_one_by_one(study, capsys):
    assert main(["blocks", str(study.path)]) == 0
    assert "block1" in capsys.readouterr().out


def test_the_lines_of_the_readme_without_keras_hub(tmp_path, monkeypatch):
    """A network of Keras's own layers stands in for that of KerasHub, which `test_keras_hub` takes."""
    small = small_vit(class_token=True, side=224)
    hub = SimpleNamespace(models=SimpleNamespace(ViTImageClassifier=SimpleNamespace(from_preset=lambda preset: small)))
    monkeypatch.setitem(sys.modules, "keras_hub", hub)
    study = study_of_the_readme(tmp_path, monkeypatch)
    assert study.layers["note"].isna().all()
    (layer,) = study.layers["layer"][study.layers["layer"].str.endswith("block2_add2")]
    assert study.info["used"]["pooled"][layer] == "class token, the first of 17 tokens"
    # The class token of the network itself, on pixels scaled as the lines say, has the neighbors that the study stores.
    images = load_images("digits", per_class=4, split="test")
    token = keras.Model(small.inputs, small.get_layer("block2_add2").output[:, 0])
    scaled = images.load(np.arange(len(images.ids)), (224, 224)) / 127.5 - 1
    nearest = core.nearest_neighbors(token.predict(scaled, verbose=0)).indices[:, 0]
    stored = study.table("neighbors").query("layer == @layer and rank == 1 and split == nearest_split == 'test'")
    names = study.samples.query("split == 'test'").set_index("sample")["id"]
    pairs = dict(zip(stored["sample"].map(names), stored["nearest"].map(names), strict=True))
    assert pairs == {images.ids[one]: images.ids[other] for one, other in enumerate(nearest)}
