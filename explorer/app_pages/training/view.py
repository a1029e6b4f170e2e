"""The page Training: SI of every recorded epoch as an animation, with loss and accuracy."""

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from core.report.charts.training_charts import loss_chart, network_chart, training_chart
from core.training.recording.epochs import INTERRUPTED, RUNNING
from explorer.app_pages.training.live_view import recording_state, show_interrupted, show_running
from explorer.app_pages.training.tables import Training, cached_training, cost_text, describe_training, epoch_text
from explorer.controls.downloads import picture_of, save_menu
from explorer.controls.layer_table import without_minus_zero
from explorer.controls.page_header import show_notes, show_provenance
from explorer.controls.phone_order import chart_first, controls_after_chart
from explorer.controls.study_picker import open_chosen_study
from explorer.controls.terms import show_terms
from explorer.runs.study_list import known_studies
from explorer.server.page_errors import guarded
from explorer.state.address import current_view, keep_view
from explorer.studies.loading import OpenStudy, cached_tables

PAGE, NETWORK, EPOCHS = "training", "training_network", "training_epochs"
STEP_S = 0.7  # for which the animation shows an epoch
RECORDING_EXAMPLE = """\
import core

recorder = core.SeparationCallback((test_images, test_labels), out="training-study")
model.fit(images, labels, epochs=10, callbacks=[recorder])"""
FINE_TUNE_EXAMPLE = "python -m core fine-tune photos --out tuned --separation training-study"
TEXTS = {"layer": 95, "verdict": 130, "interval": 105}  # widths in pixels of the table's columns: half a page has 600
NUMBERS = {"difference": 64, "q_value": 60, "before": 80, "after": 80}
BEFORE_TRAINING = "Epoch 0 is the network before training."
TRAINED_DEMO = "digits-training"


def render() -> None:
    """Draw the page: what changed, the animation and the table."""
    study = open_chosen_study()
    if study is None:
        return
    stamp, state = study.stamp, recording_state(study.path)
    if state == RUNNING:
        show_running(study)
        return
    training = cached_training(study.path, stamp, cached_tables(study.path, stamp))
    if state == INTERRUPTED:
        show_interrupted(study, is_empty=training is None)
    elif training is None:
        show_how_to_record(study)
    if training is None:
        return
    finding = describe_training(training)
    st.title(finding.headline, anchor=False)
    st.markdown(finding.detail)
    show_notes(study)
    show_terms("SI", "chance", "interval", "q", "epoch", "loss")
    play(study, training)
    show_provenance(study)


def show_how_to_record(study: OpenStudy) -> None:
    """Say that the study has no recorded training, and how one is recorded."""
    st.title("No training is recorded in this study", anchor=False)
    show_notes(study)
    st.markdown(
        "A recorded training shows the SI of some layers after each epoch, beside loss and accuracy. A callback "
        "records it while a Keras model is trained. Open its folder, `training-study`, above to watch it while it runs:"
    )
    st.code(RECORDING_EXAMPLE, language="python", wrap_lines=True)
    st.markdown("Or fine-tune a network on your images from the command line:")
    st.code(FINE_TUNE_EXAMPLE, language="bash", wrap_lines=True)
    if TRAINED_DEMO in known_studies():
        st.markdown(f"Choose **{TRAINED_DEMO}** above to see one.")
    show_provenance(study)


def play(study: OpenStudy, training: Training) -> None:
    """Show the animation with its slider and button; while it plays, only this part of the page is rerun."""
    playing = f"playing {study.path}"
    st.session_state.setdefault(playing, False)
    player = st.fragment(guarded(show_epoch), run_every=STEP_S if st.session_state[playing] else None)
    player(study, training, playing)


def show_epoch(study: OpenStudy, training: Training, playing: str) -> None:
    """Show one epoch; while the animation plays, the next one."""
    key = f"epoch of {study.path}"
    epoch = st.session_state.setdefault(key, _start_epoch(training))
    if st.session_state[playing]:
        epoch = next((later for later in training.epochs if later > epoch), epoch)
        st.session_state[key] = epoch
        if epoch == training.epochs[-1]:
            st.session_state[playing] = False
            st.rerun()
    with chart_first(PAGE):
        with (
            controls_after_chart(PAGE),
            st.container(horizontal=True, vertical_alignment="bottom", gap="medium"),
        ):
            label, icon = ("Stop", "stop") if st.session_state[playing] else ("Play", "play_arrow")
            if st.button(label, icon=f":material/{icon}:", key="play"):
                _toggle(training, playing, key)
                st.rerun()  # of the whole page, because `play` sets how often this fragment runs
            epoch = st.select_slider("Epoch", training.epochs, key=key, width=420)
            st.markdown(epoch_text(training, epoch), width="content")
        keep_view(PAGE, {} if epoch == training.epochs[-1] else {"epoch": [str(epoch)]})
        show_charts(study, training, int(epoch))
    show_loss_and_table(study, training, int(epoch))


def _start_epoch(training: Training) -> int:
    """The epoch in the address if it was recorded, else the last one."""
    in_address = current_view(PAGE).get("epoch", ())
    return next((epoch for epoch in training.epochs if str(epoch) in in_address[:1]), training.epochs[-1])


def _toggle(training: Training, playing: str, key: str) -> None:
    """Start or stop the animation; from the last epoch it starts over."""
    st.session_state[playing] = not st.session_state[playing]
    if st.session_state[playing] and st.session_state[key] == training.epochs[-1]:
        st.session_state[key] = training.epochs[0]


def show_charts(study: OpenStudy, training: Training, epoch: int) -> None:
    """Show SI by layer at one epoch, and SI by epoch for each layer."""
    file = f"{Path(study.path).name}_training"
    left, right = st.columns(2, gap="medium")
    with left:
        st.header("Through the network", anchor=False)
        with st.container(key=NETWORK):
            chart = network_chart(training.rows, training.layers, epoch)
            st.altair_chart(chart, width="stretch")
        text = "Band: 95% interval. Faint: the other epochs. Dashed gray: chance."
        st.caption(text)
        picture = picture_of(chart, study, f"SI through the network after epoch {epoch}", text)
        save_menu(f"{file}_network", lambda: _numbers(training), picture, info=study.info)
    with right:
        st.header("Over the epochs", anchor=False)
        with st.container(key=EPOCHS):
            chart = training_chart(training.rows, training.layers, epoch)
            st.altair_chart(chart, width="stretch")
        st.caption(f"Click a layer in the legend to see it alone. {BEFORE_TRAINING}")
        save_menu(file, lambda: _numbers(training), picture_of(chart, study, "SI over the epochs", BEFORE_TRAINING))


def show_loss_and_table(study: OpenStudy, training: Training, epoch: int) -> None:
    """Show loss and accuracy by epoch, if they were recorded, and beside them the change of each layer."""
    history = training.history
    if not (history["accuracy"].notna().any() or history["loss"].notna().any()):
        show_table(training)
        return
    left, right = st.columns(2, gap="medium")
    with left:
        st.header("Loss and accuracy", anchor=False)
        chart = loss_chart(history, epoch)
        st.altair_chart(chart, width="stretch", alt="Loss and accuracy by epoch.")
        picture = picture_of(chart, study, "Loss and accuracy over the epochs", BEFORE_TRAINING)
        save_menu(f"{Path(study.path).name}_training_loss", lambda: history, picture)
    with right:
        show_table(training)


def show_table(training: Training) -> None:
    """Show the change of each layer over the training."""
    st.header("Change of each layer", anchor=False)
    first, last = training.epochs[0], training.epochs[-1]
    table = training.change.assign(**without_minus_zero(training.change[["difference", "low", "high"]]))
    table = table.assign(interval=table["low"].map("{:.3f}".format) + " – " + table["high"].map("{:.3f}".format))
    titles = {"layer": "Layer", "verdict": "Meaning", "difference": "Change", "interval": "95%", "q_value": "q"}
    titles |= {"before": f"SI, epoch {first}", "after": f"SI, epoch {last}"}  # last: a narrow page cuts them off first
    table = table[list(titles)]
    config: dict[str, Any] = {titles[name]: st.column_config.TextColumn(width=width) for name, width in TEXTS.items()}
    config |= {
        titles[name]: st.column_config.NumberColumn(format="%.3f", width=width) for name, width in NUMBERS.items()
    }
    st.dataframe(table.rename(columns=titles), hide_index=True, column_config=config)
    paired = " The interval is paired: both epochs use the same samples." if training.change["paired"].all() else ""
    st.caption(f"Change of SI among the {training.split} samples.{paired} {cost_text(training.history)}")


def _numbers(training: Training) -> pd.DataFrame:
    """SI of every epoch and layer, with loss and accuracy."""
    return training.rows.merge(training.history, on="epoch", how="left")


guarded(render)()
