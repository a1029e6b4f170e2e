"""The terms of the pages, each in a sentence: the one place for definitions that stand beside a number.

A term is underlined with dots where it is explained. Its text appears under the pointer, or where the keyboard or a tap
puts the focus. The page Method lists all of them.
"""

import re
from collections.abc import Sequence
from html import escape

import streamlit as st

TERMS = {
    "SI": "Separation Index: the share of samples whose nearest other sample, in a layer's activations, has the same "
    "label. 1 means that every sample lies next to one of its own class.",
    "chance": "The value that labels without meaning would have: the exact mean over all permutations of the labels. "
    "A value at chance says that the layer does not tell the classes apart.",
    "excess": "How far a value is from chance to 1: (SI − chance) / (1 − chance). It is 0 at chance, and 1 where every "
    "nearest neighbor has the right label.",
    "interval": "The 95% interval: the range in which the SI of a fresh sample of the same size and classes is "
    "expected. Two values whose intervals overlap widely may not differ at all.",
    "nearest neighbor": "The other sample whose activations at this layer differ least from those of the sample, by "
    "Euclidean distance. It is searched exactly.",
    "kNN baseline": "The accuracy of a vote of the k nearest neighbors, each sample left out of its own vote. It shows "
    "what a simple classifier makes of the same activations.",
    "depth (channels)": "The number of output channels of a layer.",
    "layer": "A step of the network that computes new values, such as a convolution. Layers are shown in network order "
    "and named as Keras or PyTorch names them.",
    "pooling": "How a layer's activations become one vector per sample: the mean of each channel, or all activations, "
    "flattened.",
    "cut": "A layer after which the network could end, because its SI is not worse than that of the best layer by more "
    "than the tolerance.",
    "tolerance": "The loss of SI against the best layer that you accept. A layer passes only where the lower end of "
    "the interval of its difference to the best lies above minus the tolerance.",
    "q": "The p-value after the correction for many tests (Benjamini and Hochberg). A change is called certain where "
    "q < 0.05.",
    "confusion": "A sample is confused with another class where its nearest neighbor is of that class.",
    "cluster": "Classes that run into each other: more of their samples have their nearest neighbor in another class "
    "of the cluster than chance explains.",
    "prediction depth": "The number of layers before the one from which on the vote of a sample's neighbors no longer "
    "changes. Samples with a large depth are hard.",
    "subsample": "Fewer samples, both as queries and as possible neighbors. SI of a subsample is lower, because "
    "neighbors are farther away; compare values of equal sizes only.",
    "queries": "The samples whose nearest neighbors are looked up. Fewer queries among all samples leave SI unbiased, "
    "and only widen its interval.",
    "epoch": "One pass of the training over its images. Epoch 0 is the network before training.",
    "loss": "What the training minimizes, computed on the training images. Lower is better.",
}
STYLE = """<style>
.si-terms {position: relative; line-height: 1.5;}
.si-term {text-decoration: underline dotted; text-underline-offset: 3px; cursor: help;}
.si-term:focus-visible {outline: 2px solid #2f80c8; outline-offset: 2px; border-radius: 2px;}
.si-tip {display: none; position: absolute; left: 0; top: 100%; z-index: 1000; max-width: min(34rem, 100%);
  padding: .5rem .7rem; border-radius: .4rem; border: 1px solid #7b8794; background: #1f2933; color: #ffffff;
  font-size: .85rem; line-height: 1.4; white-space: normal;}
.si-term:hover .si-tip, .si-term:focus .si-tip {display: block;}
.si-small {font-size: .875rem; opacity: .85;}
.si-small .si-tip {opacity: 1;}
</style>"""
_MARKED = re.compile(r"\{([^{}|]+)(?:\|([^{}]+))?\}")


def show_terms(*names: str) -> None:
    """Show one line with terms of the page, each explained under the pointer or the focus."""
    st.html(STYLE + terms_html("Terms: " + " · ".join(f"{{{name}}}" for name in names), small=True))


def terms_html(text: str, *, small: bool = False) -> str:
    """HTML of a plain text in which terms are marked by braces; the page must have `STYLE`, too.

    Parameters
    ----------
    text : str
        Plain text; "{chance}" explains the term "chance", and "{guessing|chance}" shows another word for it.
    small : bool
        Whether to set it as small as a caption.

    Raises
    ------
    KeyError
        If a marked term is not in `TERMS`.
    """
    parts, end = [], 0
    for match in _MARKED.finditer(text):
        parts += [escape(text[end : match.start()]), _term_html(match[1], match[2] or match[1])]
        end = match.end()
    parts.append(escape(text[end:]))
    small_class = " si-small" if small else ""
    return f'<div class="si-terms{small_class}">{"".join(parts)}</div>'


def glossary(names: Sequence[str] = tuple(TERMS)) -> str:
    """The terms with their definitions as a Markdown list."""
    return "\n".join(f"- **{name}**: {TERMS[name]}" for name in names)


def _term_html(shown: str, name: str) -> str:
    tip = f'<span class="si-tip" role="tooltip">{escape(TERMS[name])}</span>'
    return f'<span class="si-term" tabindex="0">{escape(shown)}{tip}</span>'
