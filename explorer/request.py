"""What is asked of a new study: from the form to the address, and to the arguments of `python -m core`."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from core.measures.neighbors import METRICS
from core.network.backbones import backbones
from core.study.plan import DEFAULT_LAYERS, PIXELS
from explorer.jobs import STUDY
from explorer.public import Limits

SOURCES = {
    "digits": "Digits (scikit-learn)",
    "folder": "A folder of images",
    "tfds": "TensorFlow Datasets",
    "images": "Upload images (zip)",
    "features": "Upload features",
}
RANGES = {"repeats": (1, 100), "neighbors": (1, 100), "seed": (0, 2**32 - 1)}  # of the form's numbers
USUAL_WEIGHTS = ("imagenet", "none")
FURTHER_MODELS = ("resnet50", "mobilenet-v3-small", "ConvNeXtTiny")  # of keras.applications; any other can be typed
_MOST_DIGITS = 12  # of a number in the address
_FIRST_MODEL = "efficientnet-lite0"  # the command line's default
_NO_ADDRESS = ("labels", "test", "test_labels", "precision", "exact")  # an upload's, or of a plan not there yet
_STUDY_OPTIONS = (
    "model",
    "weights",
    "layers",
    "pooling",
    "split",
    "per_class",
    "sizes",
    "repeats",
    "neighbors",
    "seed",
)


@dataclass(frozen=True)
class Request:
    """What the form says; the texts are as typed, and the command line is what judges them.

    Attributes
    ----------
    source : one of `SOURCES`.
    data : a folder, the name of a TensorFlow data set, or the path of what was uploaded.
    labels : a column of the uploaded table, or the path of the uploaded file of labels.
    test, test_labels : the paths of the test samples' uploaded features and labels. metric : of features.
    cluster, cluster_storage : as in `python -m core study`. precision, exact : chosen once there is a plan.
    The rest as in `core.study.plan.StudyOptions`; "" or 0 leaves an option out.
    """

    source: str = "digits"
    data: str = ""
    labels: str = ""
    model: str = PIXELS
    weights: str = "imagenet"
    layers: str = DEFAULT_LAYERS
    pooling: str = "mean"
    split: str = "both"
    per_class: int = 0
    sizes: str = ""
    repeats: int = 5
    neighbors: int = 10
    memory: str = ""
    spool: str = ""
    seed: int = 0
    geometry: bool = False
    metric: str = METRICS[0]
    test: str = ""
    test_labels: str = ""
    cluster: str = ""
    cluster_storage: str = ""
    precision: str = ""
    exact: bool = False

    @property
    def command(self) -> str:
        """ "study" or "measure"."""
        return "measure" if self.source == "features" else "study"

    @property
    def uses_network(self) -> bool:
        return self.source != "features" and self.model != PIXELS

    @property
    def title(self) -> str:
        """Data and network, for people."""
        data = {"digits": "digits", "tfds": self.data}.get(self.source, Path(self.data).stem)
        return data if self.source == "features" else f"{data}, {self.model}"

    def arguments(self, out: str = STUDY) -> tuple[str, ...]:
        """Of `python -m core`. Each value is tied to its option, so that none can become another option."""
        if self.source == "features":
            options = {"labels": self.labels, "neighbors": str(self.neighbors), "metric": self._option("metric")}
            options |= {"test": self.test, "test_labels": self.test_labels}
        else:
            options = {name: str(value) for name in _STUDY_OPTIONS if (value := self._option(name))}
            options |= {"memory": self.memory, "spool": _absolute(self.spool), "precision": self.precision}
            options |= {"cluster": self.cluster, "cluster_storage": _place(self.cluster_storage)}
        given = [f"--{name.replace('_', '-')}={value}" for name, value in options.items() if value]
        flags = [f"--{name}" for name in ("geometry", "exact") if getattr(self, name)]
        return (self.command, self._data(), f"--out={out}", *given, *flags)

    def repeated_by(self, upload: str = "") -> str:
        """The command that computes the same by hand. upload : the name of what was uploaded, in place of its path."""
        shown = replace(self, data=upload or self.data)
        slug = re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")
        return shlex.join(["python", "-m", "core", *shown.arguments(out=f"{slug}-study")])

    def query(self) -> dict[str, list[str]]:
        """The form in the address: what differs from the defaults. Uploads have no address."""
        there = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in _NO_ADDRESS}
        uploaded = self.source in ("images", "features")
        usual = replace(Request(), model=usual_model(self.source))
        return {
            name: [str(value)]
            for name, value in there.items()
            if value != getattr(usual, name) and not (uploaded and name == "data")
        }

    def _option(self, name: str) -> str | int:
        value: str | int = getattr(self, name)
        default = {"model": _FIRST_MODEL}.get(name, getattr(Request(), name))
        if name == "weights" and not self.uses_network:
            return ""
        return "" if value == default else value

    def _data(self) -> str:
        if self.source == "digits":
            return "digits"
        if self.source == "tfds":
            return f"tfds:{self.data}"
        return self.data if self.source in ("images", "features") else _absolute(self.data)


def asked_request(query: Mapping[str, Sequence[str]]) -> Request:
    """The form as the address asks for it; what it says wrongly stays at the default."""
    found: dict[str, str | int] = {}
    for field in fields(Request):
        text = next(iter(query.get(field.name, [])), None)
        if text is None or field.name in _NO_ADDRESS:
            continue
        if field.type is bool:
            found[field.name] = text == str(True)
        elif field.type is int:
            if text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS and _in_range(field.name, int(text)):
                found[field.name] = int(text)
        elif field.name not in _CHOICES or text in _CHOICES[field.name]:
            found[field.name] = text
    usual = usual_model(str(found.get("source", "digits")))
    return replace(Request(), **({"model": usual} | found))  # type: ignore[arg-type]


def usual_model(source: str) -> str:
    """The network that the form starts with: photographs need one, digits and features do not."""
    return PIXELS if source in ("digits", "features") else _FIRST_MODEL


_CHOICES = {
    "source": tuple(SOURCES),
    "pooling": ("mean", "flat", "both"),
    "split": ("both", "train", "test"),
    "metric": METRICS,
}


def models(limits: Limits) -> list[str]:
    """The networks to choose from."""
    known = [backbone.name for backbone in backbones()]
    if not limits.networks:
        return [PIXELS]
    return [PIXELS, *known] if limits.public else [PIXELS, *known, *FURTHER_MODELS]


def weights_of(model: str) -> tuple[str, ...]:
    """The names of a network's weights."""
    return next((backbone.weights for backbone in backbones() if backbone.name == model), USUAL_WEIGHTS)


def sources(limits: Limits) -> list[str]:
    """Where data may come from."""
    if not limits.public:
        return list(SOURCES)
    return ["digits", "features", *(["images"] if limits.networks else [])]


def check_request(request: Request, limits: Limits) -> None:
    """Refuse what strangers may not ask for, whatever a browser sends.

    Raises
    ------
    ValueError
        With what may be asked for instead.
    """
    if request.source in ("folder", "tfds", "images", "features") and not request.data:
        what = {"folder": "the path of a folder of images", "tfds": "a name such as stanford_dogs"}
        raise ValueError(f"data must be given: {what.get(request.source, 'a file to upload')}.")
    _check_numbers(request)
    if not limits.public:
        return
    if request.source not in sources(limits):
        raise ValueError("data must be digits or an uploaded file on this server. Run the app on your own computer.")
    if request.model not in models(limits) or (
        request.uses_network and request.weights not in weights_of(request.model)
    ):
        raise ValueError(
            f"model must be one of {', '.join(models(limits))} on this server, with its own weights; got "
            f"{request.model!r}. Upload features, or run the app on your own computer."
        )
    if request.cluster or request.cluster_storage:
        raise ValueError("cluster must be empty on this server. Run the app on your own computer to use a cluster.")
    if request.spool:
        raise ValueError("spool must be empty on this server. Run the app on your own computer for large layers.")


def _in_range(name: str, number: int) -> bool:
    """Whether the form can show this number."""
    if name == "per_class":
        return number != 1
    least, most = RANGES.get(name, (0, number))
    return least <= number <= most


def _check_numbers(request: Request) -> None:
    """The ranges of the form's fields, which a client need not keep to."""
    outside = [
        f"{name} must be between {least:,} and {most:,}; got {value:,}."
        for name, (least, most) in RANGES.items()
        if not least <= (value := int(getattr(request, name))) <= most
    ]
    if request.per_class < 0 or not _in_range("per_class", request.per_class):
        outside.append(f"per_class must be at least 2, or 0 for all; got {request.per_class:,}.")
    if outside:
        raise ValueError(" ".join(outside))


def check_plan(plan: Mapping[str, object], limits: Limits) -> None:
    """Refuse a study that is too large for a server that others use, too.

    Raises
    ------
    ValueError
        With how to make it smaller.
    """
    samples, layers = int(str(plan["samples"])), len(plan["layers"])  # type: ignore[arg-type]
    if limits.samples and samples > limits.samples:
        raise ValueError(
            f"a study must have at most {limits.samples:,} samples on this server; got {samples:,}. Take fewer a class."
        )
    if limits.layers and layers > limits.layers:
        raise ValueError(
            f"a study must have at most {limits.layers} layers on this server; got {layers}. Choose some of them."
        )


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().resolve()) if path else ""


def _place(address: str) -> str:
    """A folder, absolute, or an address such as s3://bucket."""
    return address if "://" in address else _absolute(address)
