"""What is asked of a new study: from the form to the address, and to the arguments of `python -m core`."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from core.network.models.registry import DEFAULT_MODEL, DEFAULT_WEIGHTS, backbones, is_model_file, is_weights_path
from core.search.neighbors import METRICS
from core.study.options import PIXELS, RUN_OPTIONS, STUDY_OPTIONS, Option, RunChoices, StudyChoices
from core.study.store.description import MOST_NAME
from explorer.runs.background.jobs import STUDY
from explorer.server.public_mode import Limits

SOURCES = {
    "digits": "Digits (scikit-learn)",
    "folder": "A folder of images",
    "tfds": "TensorFlow Datasets",
    "images": "Upload images (zip)",
    "features": "Upload features",
}
FORM_OPTIONS = {  # those with a field
    name: option for name, option in (STUDY_OPTIONS | RUN_OPTIONS).items() if option.label
}
AT_THE_PLAN = ("precision", "pilot")  # chosen at each plan anew
HIDDEN_OPTIONS = {  # without a field; a study that is run again may have other values than the defaults
    name: option
    for name, option in STUDY_OPTIONS.items()
    if not option.label and option.recorded and name not in ("data", *AT_THE_PLAN)
}
_SWITCHES = [option for option in FORM_OPTIONS.values() if option.kind is bool]
_FIELDS = {option.flag: f"tick “{option.label}”" for option in _SWITCHES} | {
    "--split train": "choose “Train” as the split",
    "--split test": "choose “Test” as the split",
    "with --labels COLUMN": "in the field for the column that holds them",
}
USUAL_WEIGHTS = ("imagenet", "none")
FURTHER_MODELS = ("resnet50", "mobilenet-v3-small", "ConvNeXtTiny")  # of keras.applications; any other can be typed
_LONGEST = 2_000  # characters of a text in an address
_TEXTS = ("source", "data", "metric", "name")  # of the address, beside options
_ADDRESSED = (*_TEXTS, *FORM_OPTIONS, *HIDDEN_OPTIONS)


@dataclass(frozen=True)
class Request(StudyChoices, RunChoices):
    """What the form says: the choices of a study, and what else a run needs. The command line is what judges them.

    Attributes
    ----------
    source : one of `SOURCES`.
    data : a folder, the name of a TensorFlow data set, or the path of what was uploaded.
    sizes : as typed.
    labels : a column of the uploaded table, or the path of the uploaded file of labels.
    test, test_labels : the paths of the test samples' uploaded features and labels.
    name : what the run and its study are called; empty for data and network.
    metric : of features.
    """

    data: str = ""
    model: str = PIXELS
    weights: str = DEFAULT_WEIGHTS
    sizes: str = ""  # type: ignore[assignment]
    source: str = "digits"
    labels: str = ""
    metric: str = METRICS[0]
    test: str = ""
    test_labels: str = ""
    name: str = ""

    @property
    def command(self) -> str:
        """ "study" or "measure"."""
        return "measure" if self.source == "features" else "study"

    @property
    def uses_network(self) -> bool:
        return self.source != "features" and self.model != PIXELS

    @property
    def title(self) -> str:
        """The name, else data and network, for people."""
        return self.name or self._contents()

    def _contents(self) -> str:
        """Data and network."""
        data = {"digits": "digits", "tfds": self.data}.get(self.source, Path(self.data).stem)
        network = Path(self.model).name if is_model_file(self.model) else self.model
        if self.uses_network and is_model_file(self.weights):
            network = Path(self.weights).name
        return data if self.source == "features" else f"{data}, {network}"

    def arguments(self, out: str = STUDY) -> tuple[str, ...]:
        """Of `python -m core`. Each value is tied to its option, so that none can become another option."""
        options = self._feature_options() if self.source == "features" else self._study_options()
        given = [f"--{name.replace('_', '-')}={value}" for name, value in options.items() if value]
        flags = [option.flag for option in self._switches() if getattr(self, option.name) != option.default]
        return (self.command, self._data(), f"--out={out}", *given, *flags)

    def repeated_by(self, names: Mapping[str, str] | None = None) -> str:
        """The command that computes the same by hand. names : those of uploaded files, in place of their paths."""
        paths = {name: getattr(self, name) for name in ("data", "labels", "test", "test_labels")}
        displayed = replace(self, **{name: (names or {}).get(path, path) for name, path in paths.items()})
        slug = re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-") or "my"
        return shlex.join(["python", "-m", "core", *displayed.arguments(out=f"{slug}-study")])

    def query(self) -> dict[str, list[str]]:
        """The form in the address: what differs from the defaults. Uploads have no address."""
        uploaded = self.source in ("images", "features")
        usual = replace(Request(), model=usual_model(self.source))
        names = [name for name in _ADDRESSED if not (uploaded and name == "data")]
        return {name: [str(getattr(self, name))] for name in names if getattr(self, name) != getattr(usual, name)}

    def _feature_options(self) -> dict[str, str]:
        """The options of `measure` that have a value."""
        metric = "" if self.metric == METRICS[0] else self.metric
        options = {"labels": self.labels, "neighbors": str(self.neighbors), "metric": metric}
        return options | {"test": self.test, "test_labels": self.test_labels}

    def _study_options(self) -> dict[str, str]:
        """The options of `study` that have a value: "" where it is the default."""
        options = [*STUDY_OPTIONS.values(), *RUN_OPTIONS.values()]
        return {
            option.name: self._value(option) for option in options if option.kind is not bool and option.name != "data"
        }

    def _switches(self) -> list[Option]:
        """The options without a value that the command has."""
        names = ("related_measures",) if self.source == "features" else STUDY_OPTIONS
        return [STUDY_OPTIONS[name] for name in names if STUDY_OPTIONS[name].kind is bool]

    def _value(self, option: Option) -> str:
        """An option's value as the command line takes it; "" where it is the default."""
        value = getattr(self, option.name)
        if option.name == "weights" and (not self.uses_network or is_model_file(self.model)):
            return ""
        is_path = {"model": is_model_file, "weights": is_weights_path}.get(option.name)
        if is_path is not None and is_path(str(value)):
            return _absolute(str(value))  # a run works in a folder of its own
        usual = {"model": DEFAULT_MODEL}.get(option.name, getattr(Request(), option.name))
        if value in (usual, None):
            return ""
        if option.name == "spool":
            return _absolute(str(value))
        if option.name == "cluster_storage":
            return _place(str(value))
        return f"{value:g}" if option.kind is float else str(value)

    def _data(self) -> str:
        if self.source == "digits":
            return "digits"
        if self.source == "tfds":
            return f"tfds:{self.data}"
        return self.data if self.source in ("images", "features") else _absolute(self.data)


def parse_request(query: Mapping[str, Sequence[str]]) -> Request:
    """The form as the address asks for it; what it says wrongly stays at the default."""
    values: dict[str, Any] = {}
    for name in _ADDRESSED:
        text = next(iter(query.get(name, [])), None)
        if text is None:
            continue
        value = _read(text, (FORM_OPTIONS | HIDDEN_OPTIONS).get(name))
        if value is not None and value in _CHOICES.get(name, [value]):
            values[name] = value
    usual = usual_model(str(values.get("source", "digits")))
    return replace(Request(), **({"model": usual} | values))


def _read(text: str, option: Option | None) -> str | float | None:
    """A value of the address; None where the form cannot show it. option : None for what is none of a study."""
    kind = str if option is None else option.kind
    if kind is bool:
        return text == str(True)
    if option is None or kind not in (int, float):
        is_choice = option is None or not option.choices or text in option.choices
        return text if is_choice and text.isprintable() and len(text) <= _LONGEST else None
    if kind is int and not (text.isascii() and text.isdecimal() and len(text) <= 10):
        return None
    try:
        number = kind(text)
    except ValueError:
        return None
    least, most = option.form_limits
    return number if least <= number <= most else None


def in_form_words(text: str) -> str:
    """A message of the command line, with the form's fields in place of its options."""
    text = re.sub(r"\bargument --([\w-]+): (?=\1 )", "", text)  # the sentence names the option itself
    for pattern, field in _FIELDS.items():
        text = re.sub(rf"(?<![\w-]){pattern}(?![\w-])", field, text)
    return text.replace("” tick “", "” and “").replace("\n", "\n\n")  # Markdown needs the empty lines


def usual_model(source: str) -> str:
    """The network that the form starts with: photographs need one, digits and features do not."""
    return PIXELS if source in ("digits", "features") else DEFAULT_MODEL


_CHOICES = {
    "source": tuple(SOURCES),
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
    damaged = [name for name, value in vars(request).items() if isinstance(value, str) and "\0" in value]
    if damaged:
        raise ValueError(f"{damaged[0]} must not hold NUL characters. Type it again.")
    if request.source in ("folder", "tfds", "images", "features") and not request.data:
        what = {"folder": "the path of a folder of images", "tfds": "a name such as stanford_dogs"}
        raise ValueError(f"data must be given: {what.get(request.source, 'a file to upload')}.")
    if len(request.name) > MOST_NAME:
        raise ValueError(f"name must have at most {MOST_NAME} characters; got {len(request.name):,}. Shorten it.")
    _check_numbers(request)
    if not limits.public:
        return
    changed = [name for name, option in HIDDEN_OPTIONS.items() if getattr(request, name) != option.default]
    if changed:
        raise ValueError(
            f"{' and '.join(changed)} must be the default on this server. Run the app on your own computer."
        )
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
    """The ranges of the form's fields, which a client need not keep to."""
    outside = []
    for name, option in FORM_OPTIONS.items():
        value, (least, most) = getattr(request, name), option.form_limits
        if option.kind in (int, float) and value is not None and not least <= value <= most:
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
