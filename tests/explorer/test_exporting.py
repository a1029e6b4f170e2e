"""What the page Decide hands on: commands, whether they can run here, and the runs of them."""

import json
import shutil

import numpy as np
import pytest

import core
from core.study.store.opening import load_study
from explorer.runs.background import jobs
from explorer.runs.commands import Cut, cannot_cut, missing_text, shown_path, verify_arguments
from explorer.studies.loading import DEMO

INFO = {"asked": {"model": "efficientnet-lite0", "data": "images", "weights": "tuned.keras"}}


def said(page):
    return " ".join(element.value for element in [*page.markdown, *page.caption, *page.info])


def test_the_command_and_the_arguments_of_a_run(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "tuned.keras").touch()
    cut = Cut(tmp_path / "my study", "block 1/add", "flat", "probe")
    assert cut.file == "my-study-block-1-add-probe.keras"
    assert cut.command().endswith(
        "--layer 'block 1/add' --pooling=flat --head=probe --out my-study-block-1-add-probe.keras"
    )
    found = cut.arguments(INFO, [tmp_path / "elsewhere", tmp_path])
    assert found[:4] == ("cut", str(tmp_path / "my study"), "--layer=block 1/add", f"--out={cut.file}")
    assert set(found[4:]) == {
        *("--pooling=flat", "--head=probe", f"--weights={tmp_path / 'tuned.keras'}"),
        *(f"--data={tmp_path / 'images'}", "--progress=json"),
    }
    plain = Cut(tmp_path / "s", "top").arguments({"asked": {"model": "x", "data": "digits"}}, [tmp_path])
    assert plain == ("cut", str(tmp_path / "s"), "--layer=top", "--out=s-top.keras", "--progress=json")
    assert f"--data={tmp_path / 'images'}" in verify_arguments(tmp_path / "s", INFO, [tmp_path])


@pytest.mark.parametrize(
    ("asked", "there", "data", "reason"),
    [
        (INFO["asked"], (), False, "The study's weights, tuned.keras, are not here. Run the command with --weights"),
        (INFO["asked"], ("tuned.keras",), True, "The study's data, images, are not here. Run the command with --data"),
        (INFO["asked"], ("tuned.keras",), False, ""),
        (INFO["asked"], ("tuned.keras", "images"), True, ""),
        ({"model": "efficientnet-lite0", "data": "digits", "weights": "imagenet"}, (), True, ""),
    ],
)
def test_what_is_in_the_way(tmp_path, asked, there, data, reason):
    for name in there:
        (tmp_path / name).touch()
    found = cannot_cut({"asked": asked}, [tmp_path], data=data)
    assert found.startswith(reason) if not reason else reason in found
    assert bool(found) == bool(reason)


def test_without_tensorflow_there_is_no_export(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    asked = {"model": "efficientnet-lite0", "data": "digits", "weights": "imagenet"}
    assert "needs TensorFlow" in cannot_cut({"asked": asked}, [tmp_path], data=False)


def test_the_page_lists_blocks_and_the_command(open_view, monkeypatch, tmp_path):
    monkeypatch.setenv("SI_EXPLORER_STUDIES", str(tmp_path))
    page = open_view("decide", DEMO / "digits")
    assert "The accuracy without each residual block has not been measured." in said(page)
    assert "python -m core blocks explorer/demo/digits --verify" in [code.value for code in page.code]
    assert any("core cut" in code.value and "--layer" in code.value for code in page.code)
    assert {button.key for button in page.button} >= {"run_export", "run_verify"}
    page.segmented_control(key=next(one.key for one in page.segmented_control if " top of " in one.key)).set_value(
        "nearest"
    ).run()
    assert any("--head=nearest" in code.value for code in page.code)


def test_the_page_shows_what_was_measured_without_each_block(open_view, monkeypatch, tmp_path):
    monkeypatch.setenv("SI_EXPLORER_STUDIES", str(tmp_path))
    page = open_view("decide", DEMO / "dogs")
    assert "The whole network's accuracy on 1,200 test images is **0.873**." in said(page)
    assert "1,200 test images cannot decide this for **9**" in said(page)
    table = next(one.value for one in page.dataframe if "Accuracy without it" in one.value)
    assert table["Verdict"].tolist() == ["cannot be decided"] * 9
    assert table["Block"].iloc[0] == "block2b"  # the first that has a shortcut
    assert any(len(one.value) == 17 and "SI before" in one.value for one in page.dataframe)
    assert "run_verify" not in {button.key for button in page.button}
    page.number_input(key=next(one.key for one in page.number_input if "block_tolerance" in one.key)).set_value(
        0.1
    ).run()
    assert not page.exception
    assert "**9** of its 9 residual blocks can be left out" in said(page)
    assert "What several of them cost at once was not measured" in said(page)


def test_blocks_measured_with_another_network_are_not_shown(open_view, monkeypatch, tmp_path):
    monkeypatch.setenv("SI_EXPLORER_STUDIES", str(tmp_path))
    copy = shutil.copytree(DEMO / "dogs", tmp_path / "dogs")
    file = copy / "blocks.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps(content | {"weights_sha256": "0" * 64}), encoding="utf-8")
    page = open_view("decide", copy)
    assert "has not been measured" in said(page)
    assert "0.873" not in said(page)


def test_in_public_there_are_only_tables_and_commands(open_view, monkeypatch, tmp_path):
    monkeypatch.setenv("SI_EXPLORER_STUDIES", str(tmp_path))
    monkeypatch.setenv("SI_EXPLORER_PUBLIC", "1")
    page = open_view("decide", "digits")
    assert not {button.key for button in page.button} & {"run_export", "run_verify"}
    assert "If you run the app on your own computer, a button here runs the command." in said(page)
    assert any("core cut explorer/demo/digits" in code.value for code in page.code)
    shown = said(page) + " ".join([*(code.value for code in page.code), *(one.help or "" for one in page.metric)])
    assert str(DEMO.parent.parent) not in shown
    assert shown_path(tmp_path / "run" / "study", public=True) == "my-study"
    assert shown_path(tmp_path / "run" / "study", public=False) == str(tmp_path / "run" / "study")


def test_features_have_nothing_to_export(open_view, tmp_path):
    features = {"a": np.eye(4), "b": 2 * np.eye(4)}
    core.study_from_features(features, [0, 0, 1, 1], out=tmp_path / "made")
    page = open_view("decide", tmp_path / "made")
    assert "has no network" in said(page)
    assert "must have layers of at least two blocks" in said(page)
    assert not {button.key for button in page.button} & {"run_export", "run_verify"}


def test_a_pytorch_network_is_cut_in_its_own_program(open_view, tmp_path, monkeypatch):
    monkeypatch.setenv("SI_EXPLORER_PUBLIC", "")
    core.study_from_features({"a": np.eye(4), "b": 2 * np.eye(4)}, [0, 0, 1, 1], out=tmp_path / "made")
    record = tmp_path / "made" / "study.json"
    info = json.loads(record.read_text(encoding="utf-8"))
    info["used"]["versions"] = {"torch": "2.5.0"}  # as study_from_torch records it
    record.write_text(json.dumps(info), encoding="utf-8")
    page = open_view("decide", tmp_path / "made")
    assert "is of a PyTorch network, which is not stored with it" in said(page)
    shown = [code.value for code in page.code]
    assert any('create_feature_extractor(model.eval(), {"' in code for code in shown)
    assert not any("core cut" in code or "core blocks" in code for code in shown)
    assert "`ranking/A`" in said(page)


@pytest.mark.parametrize(
    ("factors", "share", "sentence"),
    [
        ((1,), "{0}%", "{0}% of the time (measured without a range)"),
        ((1, 1, 1), "{0}% ({0} to {0}%)", "{0}% of the time ({0} to {0}% in 3 rounds)"),
        ((1, 5, 1), "unknown", "a share of the time that cannot be told (0 to {0}% in 3 rounds)"),
    ],
)
def test_kept_seconds_are_shown_with_their_range(open_view, tmp_path, factors, share, sentence):
    """All layers but the last take a fifth of the network's time, and in a disturbed round all of it."""
    shutil.copytree(DEMO / "digits", tmp_path / "digits")
    layers = load_study(DEMO / "digits").layers["layer"].tolist()
    seconds = dict.fromkeys(layers, 0.002) | {layers[-1]: 0.01}
    rounds = {layer: [0.002 * factor for factor in factors] for layer in layers} | {layers[-1]: [0.01] * len(factors)}
    timing = {"seconds": seconds, "rounds": rounds}
    (tmp_path / "digits" / "timing.json").write_text(json.dumps(timing), encoding="utf-8")
    page = open_view("decide", tmp_path / "digits", tolerance="0.1")
    assert not page.exception
    (metric,) = [metric for metric in page.metric if metric.label == "Time saved"]
    assert metric.value == share.format(80)
    assert "The cut network takes 2 ms per image in the fastest round" in metric.help
    assert sentence.format(80) in said(page)


def test_a_run_exports_a_network_that_can_be_downloaded(open_view, monkeypatch, tmp_path):
    monkeypatch.setenv("SI_EXPLORER_STUDIES", str(tmp_path / "runs"))
    cut = Cut(DEMO / "digits", "stem_conv")
    info = load_study(cut.study).info
    job = jobs.new_job(tmp_path / "runs", (*cut.arguments(info, []), "--no-timing"), title="a cut")
    assert not job.makes_study
    assert job.exported is None
    (job.folder / cut.file).write_bytes(b"a network")
    (job.folder / "exit").write_text("0", encoding="ascii")
    assert job.exported == job.folder / cut.file
    page = open_view("new_study", run=job.id)
    assert "measured" not in said(page)
    assert [button.label for button in page.get("download_button")] == [f"Download {cut.file}"]


def test_paths_of_a_study_that_lie_nowhere_are_named(tmp_path):
    info = {"asked": {"data": "photos", "model": "efficientnet-lite0", "weights": "tuned/final.keras"}}
    text = missing_text(info, [tmp_path])
    assert text == "`tuned/final.keras` and `photos` are not here: replace them by their present paths."
    assert missing_text(info, [tmp_path], ("data",)) == "`photos` is not here: replace it by its present path."
    (tmp_path / "photos").mkdir()
    assert missing_text(info, [tmp_path], ("data",)) == ""
    assert missing_text({"asked": {"data": "digits"}}, [tmp_path]) == ""
    assert missing_text({}, [tmp_path]) == ""
