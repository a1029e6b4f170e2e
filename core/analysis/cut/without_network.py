"""Studies whose network cannot be loaded again: why, and lines of Python that cut a PyTorch network."""

import pandas as pd

from core.study.reopening import has_network, is_of_torch
from core.study.store.opening import Study


def why_no_network(study: Study) -> str:
    """Return why the study's network cannot be cut or timed, as a sentence; "" where it can be loaded again."""
    if has_network(study.info):
        return ""
    if is_of_torch(study.info):
        return "The study is of a PyTorch network, which is not stored with it."
    return "The study is of features or of pixels, and has no network."


def torch_cut_lines(study: Study, layer: str) -> list[str]:
    """Return lines of Python that cut a PyTorch network, called `model`, after a layer; none for other studies.

    The lines use torchvision, and run for networks that `torch.fx` can trace, as those of torchvision and timm.

    Parameters
    ----------
    study : Study
    layer : str
        A layer of the study that is a module; "input" and "output" are none.
    """
    if not is_of_torch(study.info) or layer in ("input", "output"):
        return []
    row = study.layers[study.layers["layer"] == layer].iloc[0]
    return [
        "from torchvision.models.feature_extraction import create_feature_extractor",
        f'cut = create_feature_extractor(model.eval(), {{"{layer}": "features"}})',
        f'features = cut(images)["features"]{_mean(row)}',
    ]


def _mean(row: pd.Series) -> str:
    """What makes the features that the study measures with channel means, as it follows the output in Python."""
    if row["mean_of"] == "class token":
        return "[:, 0]"
    if row["mean_of"] not in ("positions", "tokens"):
        return ""
    shape = [int(size) for size in row["output_shape"]]
    axes = range(1, len(shape) + 1)
    channel_axis = 1 if row["mean_of"] == "positions" and shape[0] == row["channels"] else len(shape)
    averaged = [axis for axis in axes if axis != channel_axis]
    return f".mean(dim={tuple(averaged) if len(averaged) > 1 else averaged[0]})"
