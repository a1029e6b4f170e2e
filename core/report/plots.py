"""A study in a notebook: its charts, and its finding, chart and table as HTML.

`Study.plot`, `Study.plot_against`, `Study.plot_classes` and the display of a `Study` come here; Altair is imported when
the first chart is drawn.
"""

from base64 import b64encode
from html import escape
from typing import TYPE_CHECKING

import pandas as pd

from core.analysis.curves import measured_layers, tidy_curves
from core.analysis.layer_properties import known_properties, layer_properties, probe_accuracies
from core.analysis.separation_level import best_layer, lead_curve
from core.report.chart_files import chart_file
from core.report.html import inline, table_html
from core.report.lead_values import chosen_curves, chosen_lead, classes_at
from core.report.tables import layer_table
from core.report.words.findings import describe
from core.report.words.formatting import plain
from core.report.words.provenance import caption_parts
from core.study.store.lookup import check_layers, did_you_mean
from core.study.store.opening import Study

if TYPE_CHECKING:
    from core.report.charts.frame import UncheckedChart

MOST_CLASSES = 40  # in the chart of classes
_SCROLLED = "max-height: 20rem; overflow: auto; white-space: nowrap"


def layers_plot(study: Study, *, samples: str | None = None, pooling: str | None = None) -> "UncheckedChart":
    """SI through the layers with interval and chance, and below it kNN, depth (channels) and parameters.

    Parameters
    ----------
    study : Study
    samples, pooling : str, optional
        As in `core.report.lead_values.chosen_curves`.

    Raises
    ------
    ValueError
        The study has no such values.
    ImportError
        Altair is not installed.
    """
    from core.report.charts.frame import NOTEBOOK
    from core.report.charts.layer_chart import layers_chart
    from core.report.charts.theme import themed

    curves = chosen_curves(study, samples=samples, pooling=pooling)
    best = best_layer(lead_curve(curves))
    return themed(layers_chart(curves, _layers_of(study, curves), marked={best: "best"}, size=NOTEBOOK))


def against_plot(
    study: Study, layer_property: str, *, samples: str | None = None, pooling: str | None = None
) -> "UncheckedChart":
    """SI of each layer versus one of its properties, a key of `core.analysis.layer_properties.PROPERTIES`.

    Parameters, errors as of `layers_plot`; a property that the study does not know is a ValueError, too.
    """
    from core.report.charts.frame import NOTEBOOK
    from core.report.charts.property_chart import property_chart
    from core.report.charts.theme import themed

    table = properties_of(study, chosen_lead(study, samples=samples, pooling=pooling))
    known = known_properties(table)
    if layer_property not in known:
        names = ", ".join(map(repr, known)) or "none, for its layers do not differ in any"
        hint = " Depth is 'channels'." if layer_property == "depth" else did_you_mean(layer_property, known)
        raise ValueError(f"layer_property must be one that this study knows ({names}); got {layer_property!r}.{hint}")
    return themed(property_chart(table, layer_property, size=NOTEBOOK))


def classes_plot(
    study: Study, layer: str | None = None, *, samples: str | None = None, pooling: str | None = None
) -> "UncheckedChart":
    """SI of each class at a layer, the hardest first; by default at the layer of the highest SI.

    Parameters, errors as of `layers_plot`; a layer without values of classes is a ValueError, too.
    """
    from core.report.charts.class_chart import class_chart
    from core.report.charts.frame import NOTEBOOK
    from core.report.charts.theme import themed

    lead = chosen_lead(study, samples=samples, pooling=pooling)
    chosen_layer = best_layer(lead) if layer is None else layer
    if chosen_layer not in lead["layer"].tolist():
        check_layers(study, [chosen_layer])
        raise ValueError(f"layer must be a measured layer, such as {best_layer(lead)!r}; got {layer!r}.")
    classes = classes_at(study, lead, chosen_layer)
    if classes.empty:
        raise ValueError(f"study must have values of SI by class at {chosen_layer!r}; it has none.")
    chart = themed(class_chart(classes.head(MOST_CLASSES), size=NOTEBOOK))
    chart.title = _class_title(chosen_layer, len(classes))
    return chart


def _class_title(layer: str, num_classes: int) -> str:
    which = "" if num_classes <= MOST_CLASSES else f", the {MOST_CLASSES} hardest of {num_classes:,} classes"
    return f"SI of each class at {layer}{which}"


def properties_of(study: Study, lead: pd.DataFrame) -> pd.DataFrame:
    """Return SI and the properties of each layer, for the samples and the pooling of the lead curve."""
    layers = measured_layers(study)
    return layer_properties(
        layers,
        tidy_curves(layers, study.measurements),
        probe_accuracies(study.measurements),
        pooling=str(lead["pooling"].iloc[0]),
        samples=str(lead["samples"].iloc[0]),
    )


def study_html(study: Study) -> str:
    """Return finding, chart and table of a study for a notebook; without the chart where Altair is not installed.

    Raises
    ------
    ValueError
        The study has no value of SI.
    """
    curves = chosen_curves(study)
    lead = lead_curve(curves)
    best = best_layer(lead)
    finding = describe(lead)
    table = layer_table(study, curves, _layers_of(study, curves), {best: "best"})
    caption = " · ".join(map(plain, caption_parts(study.info, curves)))
    return (
        f"<h3>{inline(finding.headline)}</h3><p>{inline(finding.detail)}</p><p><small>{inline(caption)}</small></p>"
        f"{_chart_html(study)}<p><small>{escape(table.title)}, {len(table.frame)} rows, also as tables: "
        f'<code>study.layers</code>, <code>study.measurements</code></small></p><div style="{_SCROLLED}">'
        f"{table_html(table)}</div>"
    )


def _chart_html(study: Study) -> str:
    """The chart as a picture, which needs no internet; without vl-convert-python, as Altair draws it in notebooks.

    A hint where Altair is not installed.
    """
    try:
        chart = layers_plot(study)
    except ImportError as error:
        return f"<p><small>{escape(str(error))}</small></p>"
    from core.report.charts.frame import notebook_html

    try:
        picture = chart_file(chart.to_dict(), "svg")
    except ImportError:
        return notebook_html(chart)
    return f'<img alt="Separation Index by layer" src="data:image/svg+xml;base64,{b64encode(picture).decode()}">'


def _layers_of(study: Study, curves: pd.DataFrame) -> pd.DataFrame:
    layers = measured_layers(study)
    return layers[layers["layer"].isin(curves["layer"])].reset_index(drop=True)
