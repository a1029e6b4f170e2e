"""What the page Decide says of a study, computed once for all sessions."""

import pandas as pd
import streamlit as st

from core.analysis.cut.advice import Advice, CutCandidates, with_seconds
from core.analysis.cut.blocks import Verified, separation_across_blocks
from core.analysis.cut.timings import load_timing
from core.analysis.cut.verified_blocks import load_verified
from core.report.words.class_losses import class_cost_text
from explorer.studies.loading import cached_tables


@st.cache_data(max_entries=16, show_spinner="Comparing the layers …")
def cached_advice(path: str, stamp: tuple[int, ...], samples: str, pooling: str, tolerance: float) -> Advice:
    """The recommended cut; a changed `stamp` computes it again."""
    advice = cached_candidates(path, stamp, samples, pooling).advise(tolerance)
    timing = load_timing(cached_tables(path, stamp))
    return with_seconds(advice, timing) if timing else advice


@st.cache_resource(max_entries=4, show_spinner=False)
def cached_candidates(path: str, stamp: tuple[int, ...], samples: str, pooling: str) -> CutCandidates:
    """The layers to choose from. They remember the intervals of their differences, so another tolerance needs few."""
    measure, split = ("cross", "test") if samples == "cross" else ("separation", samples)
    return CutCandidates.of(cached_tables(path, stamp), split=split, pooling=pooling, measure=measure)


@st.cache_data(max_entries=64, show_spinner=False)
def cached_class_costs(
    path: str, stamp: tuple[int, ...], samples: str, pooling: str, tolerance: float, layer: str
) -> str:
    """What a cut costs single classes, in a sentence; cached, because each class takes a while."""
    return class_cost_text(cached_tables(path, stamp), cached_advice(path, stamp, samples, pooling, tolerance), layer)


@st.cache_data(max_entries=16, show_spinner="Comparing the blocks …")
def cached_blocks(
    path: str, stamp: tuple[int, ...], samples: str, pooling: str
) -> tuple[pd.DataFrame, Verified | None]:
    """SI before and after each block, and the accuracy without it if measured; a changed `stamp` reads both again."""
    study, candidates = cached_tables(path, stamp), cached_candidates(path, stamp, samples, pooling)
    blocks = separation_across_blocks(
        study, split=candidates.split, pooling=pooling, measure=candidates.measure, compared=candidates.compared
    )
    return blocks, load_verified(study)
