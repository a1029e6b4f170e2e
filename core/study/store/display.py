"""How a study shows itself: a short text, and in notebooks its finding, chart and table; and its charts.

A study stands below the words and charts of `core.report`, which are made from studies. Yet a person who has a study in
hand looks for its charts at the study. So the methods here import `core.report` when they are called, and only then:
`import core` and reading tables load neither words nor charts. This is the only module that may import a room above
its own; `tests/test_architecture.py` names it, and checks that no such import happens before a method is called.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from core.study.store.study_json import look_up

if TYPE_CHECKING:
    from core.report.charts.frame import UncheckedChart
    from core.study.store.opening import Study


class StudyDisplay:
    """The part of `Study` that shows it to a person."""

    path: Path
    info: Mapping[str, Any]

    @property
    def _study(self) -> "Study":
        """The study, as which mypy does not know this part of it."""
        return cast("Study", self)

    def __repr__(self) -> str:
        network, data = look_up(self.info, "used.model.name"), look_up(self.info, "used.data.name")
        parts = [str(part) for part in (network, data, self.info.get("state")) if part]
        return f"Study({str(self.path)!r}: {', '.join(parts)})"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        """What a notebook shows: finding, chart and table; only the text for a study without values of SI."""
        from core.report.plots import study_html

        try:
            return {"text/plain": repr(self), "text/html": study_html(self._study)}
        except ValueError as error:  # StudyError is one
            return {"text/plain": f"{self!r}: {error}"}

    def plot(self, *, samples: str | None = None, pooling: str | None = None) -> "UncheckedChart":
        """Draw SI through the layers with interval and chance, and below it kNN, depth (channels) and parameters.

        Parameters
        ----------
        samples : {"test", "train", "cross"}, optional
            By default each split by itself. "cross" is SI of test samples among the training samples.
        pooling : {"mean", "flat"}, optional
            By default channel means where there are any.

        Returns
        -------
        altair.LayerChart
            Its numbers are those of the table `measurements`; `.save("chart.html")` writes it.

        Raises
        ------
        ValueError
            The study has no such values.
        ImportError
            Altair is not installed.
        """
        from core.report.plots import layers_plot

        return layers_plot(self._study, samples=samples, pooling=pooling)

    def plot_against(
        self, layer_property: str, *, samples: str | None = None, pooling: str | None = None
    ) -> "UncheckedChart":
        """Draw SI of each layer versus one of its properties.

        Parameters
        ----------
        layer_property : {"parameters", "channels", "cumulative_parameters", "position", "knn", "linear_probe"}
            "channels" is what the original work calls depth; "knn" and "linear_probe" are accuracies. Layers for which
            the study does not know it, such as sums, which have no parameters, are left out.
        samples, pooling : str, optional
            As in `plot`; one set of samples: by default test samples where there are any.

        Returns
        -------
        altair.LayerChart

        Raises
        ------
        ValueError
            The study does not know this property, or has no such values.
        ImportError
            Altair is not installed.
        """
        from core.report.plots import against_plot

        return against_plot(self._study, layer_property, samples=samples, pooling=pooling)

    def plot_classes(
        self, layer: str | None = None, *, samples: str | None = None, pooling: str | None = None
    ) -> "UncheckedChart":
        """Draw SI of each class at a layer, the hardest classes first, at most 40.

        Parameters
        ----------
        layer : str, optional
            By default the layer of the highest SI.
        samples, pooling : str, optional
            As in `plot_against`.

        Returns
        -------
        altair.LayerChart

        Raises
        ------
        ValueError
            The study has no values of classes at this layer.
        ImportError
            Altair is not installed.
        """
        from core.report.plots import classes_plot

        return classes_plot(self._study, layer, samples=samples, pooling=pooling)
