"""What is asked of a new study: from the form to the address, and to the arguments of `python -m core`."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from core.data.images.loading import TEST_FRACTION
from core.network.catalogue import DEFAULT_LAYERS
from core.network.models.registry import DEFAULT_MODEL, backbones, is_model_file
from core.search.neighbors import METRICS
from core.study.plan import PIXELS
from explorer.runs.jobs import STUDY
from explorer.server.public_mode import Limits

SOURCES = {
    "digits": "Digits (scikit-learn)",
    "folder": "A folder of images",
    "tfds": "TensorFlow Datasets",
    "images": "Upload images (zip)",
    "features": "Upload features",
}
MOST_TEST = 0.9
SKIP_BROKEN, SKIP_SMALL = "Leave out unreadable images", "Leave out small classes"  # labels of the form's fields
_FIELDS = {
    "--skip-broken": f"tick “{SKIP_BROKEN}”",
    "--skip-small-classes": f"tick “{SKIP_SMALL}”",
    "--split train": "choose “Train” as the split",
    "--split test": "choose “Test” as the split",
}
USUAL_WEIGHTS = ("imagenet", "none")
FURTHER_MODELS = ("resnet50", "mobilenet-v3-small", "ConvNeXtTiny")  # of keras.applications; any other can be typed
RANGES = {"per_class": (2, 2**31 - 1), "repeats": (1, 100), "neighbors": (1, 100), "seed": (0, 2**32 - 1)}
_LONGEST = 2_000  # characters of a text in an address
_NO_ADDRESS = (
    "labels",
    "test",
    "test_labels",
    "precision",
    "allow_long_search",
)  # an upload's, or of a plan not there yet
_FLAGS = ("related_measures", "allow_long_search", "skip_broken", "skip_small_classes")
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
    cluster, cluster_storage : as in `python -m core study`. precision, allow_long_search : chosen once there is a plan.
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
    related_measures: bool = False
    metric: str = METRICS[0]
    test: str = ""
    test_labels: str = ""
    cluster: str = ""
    cluster_storage: str = ""
    precision: str = ""
    allow_long_search: bool = False
    test_fraction: float = TEST_FRACTION
    skip_broken: bool = False
    skip_small_classes: bool = False

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
        network = Path(self.model).name if is_model_file(self.model) else self.model
        if self.uses_network and is_model_file(self.weights):
            network = Path(self.weights).name
        return data if self.source == "features" else f"{data}, {network}"

    def arguments(self, out: str = STUDY) -> tuple[str, ...]:
        """Of `python -m core`. Each value is tied to its option, so that none can become another option."""
        if self.source == "features":
            options = {"labels": self.labels, "neighbors": str(self.neighbors), "metric": self._option("metric")}
            options |= {"test": self.test, "test_labels": self.test_labels}
        else:
            options = {name: str(value) for name in _STUDY_OPTIONS if (value := self._option(name))}
            options |= {"test_fraction": f"{self.test_fraction:g}"} if self.test_fraction != TEST_FRACTION else {}
            options |= {"memory": self.memory, "spool": _absolute(self.spool), "precision": self.precision}
            options |= {"cluster": self.cluster, "cluster_storage": _place(self.cluster_storage)}
        given = [f"--{name.replace('_', '-')}={value}" for name, value in options.items() if value]
        flags = [f"--{name.replace('_', '-')}" for name in self._flags() if getattr(self, name)]
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

    def _flags(self) -> tuple[str, ...]:
        """Options that are given or not."""
        return ("related_measures", "allow_long_search") if self.source == "features" else _FLAGS

    def _option(self, name: str) -> str | int:
        value: str | int = getattr(self, name)
        default = {"model": DEFAULT_MODEL}.get(name, getattr(Request(), name))
        if name == "weights" and (not self.uses_network or is_model_file(self.model)):
            return ""
        if name in ("model", "weights") and is_model_file(str(value)):
            return _absolute(str(value))  # a run works in a folder of its own
        return "" if value == default else value

    def _data(self) -> str:
        if self.source == "digits":
            return "digits"
        if self.source == "tfds":
            return f"tfds:{self.data}"
        return self.data if self.source in ("images", "features") else _absolute(self.data)


def asked_request(query: Mapping[str, Sequence[str]]) -> Request:
    """The form as the address asks for it; what it says wrongly stays at the default."""
    found: dict[str, str | float] = {}
    for field in fields(Request):
        text = next(iter(query.get(field.name, [])), None)
        if text is None or field.name in _NO_ADDRESS:
            continue
        if field.type is bool:
            found[field.name] = text == str(True)
        elif field.type is float:
            found[field.name] = _fraction(text)
        elif field.type is int:
            least, most = RANGES[field.name]
            if text.isascii() and text.isdecimal() and len(text) <= 10 and least <= int(text) <= most:
                found[field.name] = int(text)
        elif text in _CHOICES.get(field.name, [text]) and text.isprintable() and len(text) <= _LONGEST:
            found[field.name] = text
    usual = usual_model(str(found.get("source", "digits")))
    return replace(Request(), **({"model": usual} | found))  # type: ignore[arg-type]


def _fraction(text: str) -> float:
    """A number from 0 to 0.9; what is none is the usual test fraction."""
    try:
        value = float(text)
    except ValueError:
        return TEST_FRACTION
    return value if 0 <= value <= MOST_TEST else TEST_FRACTION


def in_form_words(text: str) -> str:
    """A message of the command line, with the form's fields in place of its options."""
    for pattern, field in _FIELDS.items():
        text = re.sub(rf"(?<![\w-]){pattern}(?![\w-])", field, text)
    return text.replace("” tick “", "” and “").replace("\n", "\n\n")  # Markdown needs the empty lines


def usual_model(source: str) -> str:
    """The network that the form starts with: photographs need one, digits and features do not."""
    return PIXELS if source in ("digits", "features") else DEFAULT_MODEL


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
    """The names of a network's weights; a file's are its own."""
    if is_model_file(model):
        return ()
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
    texts = {field.name: getattr(request, field.name) for field in fields(request) if field.type is str}
    damaged = [name for name, text in texts.items() if "\0" in text]
    if damaged:
        raise ValueError(f"{damaged[0]} must not hold NUL characters. Type it again.")
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


def _check_numbers(request: Request) -> None:
    """The ranges of the form's fields, which a client need not keep to; no `per_class` means all samples."""
    ranges = RANGES | {"test_fraction": (0, MOST_TEST)}
    outside = []
    for name, (least, most) in ranges.items():
        value = getattr(request, name)
        is_left_out = name == "per_class" and value == 0
        if not is_left_out and not least <= value <= most:
            outside.append(f"{name} must be between {least:,} and {most:,}; got {value:,}.")
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
    try:
        return str(Path(path).expanduser().resolve()) if path else ""
    except (ValueError, OSError, RuntimeError):  # NUL characters, a loop of links, no such user
        return path


def _place(address: str) -> str:
    """A folder, absolute, or an address such as s3://bucket."""
    return address if "://" in address else _absolute(address)
