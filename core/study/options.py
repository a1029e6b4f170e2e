"""The options of a study, each declared once, as a field of `StudyChoices` or `RunChoices`.

From a field follow the flag of `python -m core study`, its help, default and limits; what `StudyOptions` refuses; the
type that study.json may record; the field of the page New study and its key in the address; and the docstring.
"""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from math import isinf
from types import MappingProxyType, UnionType
from typing import Any, TypeVar, get_args, get_type_hints

from core.data.images.loading import TEST_FRACTION
from core.network.catalogue import DEFAULT_LAYERS
from core.network.models.registry import DEFAULT_MODEL, DEFAULT_WEIGHTS
from core.network.tokens import TOKEN_CHOICES

PIXELS = "pixels"  # the model that is none: the values of the images themselves
PROTOCOLS = ("separation", "notebook")
POOLINGS: Mapping[str, tuple[str, ...]] = {"flat": ("flat",), "mean": ("mean",), "both": ("flat", "mean")}
PROJECTIONS = ("pca", "tsne", "none")
LARGEST_COUNT = 2**31 - 1  # tables hold counts as int32
_METADATA = "option"
_Class = TypeVar("_Class", bound=type)


@dataclass(frozen=True)
class Option:
    """An option as it is declared.

    Attributes
    ----------
    help : str
        What it is, a sentence that stands alone. That of a switch is a command: "Leave out ...".
    group : str
        Title of the group of options that the command's help lists it in.
    metavar : str, optional
        Name of its value in the command's help.
    choices : tuple of str
        The values that it may have; empty where any text may be given.
    least, most : float
        Limits of a number.
    excludes_least, excludes_most : bool
        Whether the number must be more than `least`, or less than `most`; otherwise the limits are included.
    advice : str
        A sentence that follows where a number is out of its limits, such as what is usual.
    default_text : str
        The default in words, where its value does not say it.
    label : str
        Label of the field in the form of the page New study; empty where the form has none.
    most_in_form : float, optional
        Largest number that the form takes, where it is less than `most`.
    recorded : bool
        Whether study.json records it, as it does what the tables depend on.
    name : str
        Name of the field of the dataclass, and key in study.json and in the address.
    kind : type
        Type of its value: `str`, `int`, `float`, `bool` or `tuple`; beside it, the value may be None.
    default : object
        Value where it is left out; `dataclasses.MISSING` where it must be given.
    """

    help: str
    group: str
    metavar: str | None = None
    choices: tuple[str, ...] = ()
    least: float = 0
    most: float = LARGEST_COUNT
    excludes_least: bool = False
    excludes_most: bool = False
    advice: str = ""
    default_text: str = ""
    label: str = ""
    most_in_form: float | None = None
    recorded: bool = True
    name: str = ""
    kind: type = str
    default: Any = None

    @property
    def flag(self) -> str:
        """The flag of the command line; a switch that is on by default is turned off, as by --no-probe."""
        return f"--{'no-' if self.default is True else ''}{self.name.replace('_', '-')}"

    @property
    def default_in_words(self) -> str:
        """The default as help and docstring say it."""
        return self.default_text or str(self.default)

    @property
    def form_limits(self) -> tuple[float, float]:
        """The least and the largest number that the form takes."""
        return self.least, self.most if self.most_in_form is None else self.most_in_form

    @property
    def json_types(self) -> tuple[type, ...]:
        """The types that its value may have in study.json."""
        types: Mapping[type, tuple[type, ...]] = {
            bool: (bool,),
            tuple: (list,),
            float: (float, int, type(None)),
        }
        return types.get(self.kind, (self.kind, type(None)))

    def fault(self, value: Any) -> str | None:
        """What is wrong with a value by the choices and limits of the option; None where nothing is."""
        if self.choices and value not in self.choices:
            return f"{self.name} must be one of {', '.join(self.choices)}; got {value!r}."
        if value is None or self.kind not in (int, float) or self._is_within(value):
            return None
        advice = f" {self.advice}" if self.advice else ""
        return f"{self.name} must {self._limits(value)}; got {value:,}.{advice}"

    def _is_within(self, number: float) -> bool:
        """Whether a number is within the limits; NaN is not."""
        is_enough = number > self.least if self.excludes_least else number >= self.least
        return is_enough and (number < self.most if self.excludes_most else number <= self.most)

    def _limits(self, number: float) -> str:
        """The limits that a number is not within, in words that follow "must"."""
        if self.kind is int:
            return f"be at least {self.least:,}" if number < self.least else f"be at most {self.most:,}"
        if self.excludes_least and isinf(self.most):
            return f"be a finite number of more than {self.least:,}"
        if self.excludes_most and not self.excludes_least:
            return f"be at least {self.least:,} and less than {self.most:,}"
        return f"lie between {self.least:,} and {self.most:,}"


def declare(default: Any = MISSING, **declaration: Any) -> Any:
    """Declare an option: a dataclass field whose metadata hold the rest of the declaration.

    Parameters
    ----------
    default : its default; left out where it must be given.
    declaration : attributes of `Option`, but name, kind and default, which are the field's own.
    """
    return field(default=default, metadata={_METADATA: Option(**declaration)})


def options_of(declaring: type) -> dict[str, Option]:
    """The options that a dataclass declares, by name, in their order."""
    hints = get_type_hints(declaring)
    declared = [one for one in fields(declaring) if _METADATA in one.metadata]
    return {
        one.name: replace(one.metadata[_METADATA], name=one.name, kind=_kind(hints[one.name]), default=one.default)
        for one in declared
    }


def check_kind(name: str, given: object, kind: type, *others: type) -> None:
    """Refuse what is given in place of options, such as the name of the data alone.

    Raises
    ------
    ValueError
        With how the options are made.
    """
    if not isinstance(given, (kind, *others)):
        content = repr(given) if isinstance(given, str) else "..."
        raise ValueError(
            f"{name} must be a core.{kind.__name__}; got {type(given).__name__}. Pass core.{kind.__name__}({content})."
        )


def check_options(values: Any) -> None:
    """Refuse values that are none of an option's choices, or beyond its limits.

    Parameters
    ----------
    values : an instance of a dataclass that declares options.

    Raises
    ------
    ValueError
        All that is wrong, a sentence each.
    """
    faults = [option.fault(getattr(values, name)) for name, option in options_of(type(values)).items()]
    if any(faults):
        raise ValueError(" ".join(fault for fault in faults if fault))


def flags_of(values: Any, usual: Mapping[str, Any] = MappingProxyType({})) -> list[str]:
    """The words of the command line that ask for values, where they are not the defaults.

    Parameters
    ----------
    values : an instance of a dataclass that declares options.
    usual : by name, a value that stands for the default, too.
    """
    words = []
    for name, option in options_of(type(values)).items():
        value = getattr(values, name)
        if option.default is MISSING or value in (option.default, usual.get(name, option.default)):
            continue
        words.append(option.flag)
        if option.kind is not bool:
            words.append(",".join(map(str, value)) if option.kind is tuple else str(value))
    return words


def with_parameters(declaring: _Class) -> _Class:
    """Append a section that describes each declared option to a dataclass's docstring."""
    lines = ["Parameters", "----------"]
    for name, option in options_of(declaring).items():
        default = "" if option.default is MISSING else f", default {option.default_in_words}"
        lines += [f"{name} : {option.kind.__name__}{default}", f"    {option.help}"]
    declaring.__doc__ = "\n".join([f"{declaring.__doc__}", *(f"    {line}" for line in lines), "    "])
    return declaring


def _kind(annotation: Any) -> type:
    """The type of an option's value without None: int for `int | None`, tuple for `tuple[int, ...]`."""
    if isinstance(annotation, UnionType):
        (annotation,) = [part for part in get_args(annotation) if part is not type(None)]
    kind: type = getattr(annotation, "__origin__", annotation)
    return kind


@with_parameters
@dataclass(frozen=True)
class StudyChoices:
    """What is chosen of a study, not checked yet: `StudyOptions` checks it. A new option is one more field here."""

    data: str = declare(
        help="Labelled images: a folder (train/CLASS/..., test/CLASS/..., or CLASS/...), tfds:NAME, or digits.",
        group="data",
        metavar="DATA",
    )
    model: str | None = declare(
        None,
        help="Network to measure: its name, a .keras or .h5 file, or pixels for the images themselves.",
        group="network",
        metavar="MODEL",
        default_text=f"{DEFAULT_MODEL}, or the network in the file given as weights",
        label="Network",
    )
    weights: str | None = declare(
        None,
        help="Weights of the network: imagenet, noisy-student (of efficientnet-b0), none, or a .keras or .h5 file of "
        "the network; with a model also a file of its weights (.h5, .weights.h5, .tar.gz), or a folder that holds one.",
        group="network",
        metavar="WEIGHTS",
        default_text=DEFAULT_WEIGHTS,
        label="Weights",
    )
    layers: str = declare(
        DEFAULT_LAYERS,
        help="Layers to measure, separated by commas: main, last_pool (the last global pooling), output, all, blocks, "
        "names, and patterns such as 'block*_add'.",
        group="layers",
        metavar="LAYERS",
        default_text=f"{DEFAULT_LAYERS}, as far as the network has them",
        label="Layers",
    )
    pooling: str = declare(
        "mean",
        help="Features of a layer: flat takes all activations, mean the mean of each channel, both measures each.",
        group="layers",
        choices=tuple(POOLINGS),
        label="Pooling",
    )
    tokens: str = declare(
        "auto",
        help="What pooling mean takes of a transformer's tokens: auto takes the class token where the head reads one, "
        "from the first attention on, and else the mean over tokens; mean takes that mean everywhere, class the first "
        "token.",
        group="layers",
        choices=TOKEN_CHOICES,
        label="Tokens of transformers",
    )
    split: str = declare(
        "both",
        help="Split of the data to measure.",
        group="data",
        choices=("train", "test", "both"),
        label="Split",
    )
    per_class: int | None = declare(
        None,
        help="Number of samples to draw from each class of each split.",
        group="data",
        metavar="K",
        least=2,
        default_text="all",
        label="Samples a class",
    )
    sizes: tuple[int, ...] = declare(
        (),
        help="Sizes of stratified subsamples of each split, such as 100,200,400, for SI over sample size.",
        group="measures",
        metavar="N,N,...",
        default_text="none",
        label="Sample sizes",
    )
    repeats: int = declare(
        5,
        help="Number of subsamples to draw of each size.",
        group="measures",
        metavar="R",
        least=1,
        label="Draws of each size",
        most_in_form=100,
    )
    neighbors: int = declare(
        10,
        help="Number of nearest neighbors to store for each sample.",
        group="layers",
        metavar="K",
        least=1,
        label="Neighbors stored",
        most_in_form=100,
    )
    neighbor_layers: str = declare(
        "all",
        help="Layers whose neighbors are stored, written as the layers to measure are.",
        group="layers",
        metavar="LAYERS",
    )
    seed: int = declare(
        0,
        help="Seed of splits, subsamples and cross-validation. The permutations behind p-values are always the same.",
        group="data",
        metavar="N",
        most=2**32 - 1,
        label="Seed",
    )
    test_fraction: float = declare(
        TEST_FRACTION,
        help="Share of the samples that becomes the test split where the data have no splits; 0 measures all samples "
        "as one split.",
        group="data",
        metavar="F",
        most=1,
        excludes_most=True,
        advice="0 measures all samples as one split; 0.2 is usual.",
        label="Test fraction",
        most_in_form=0.9,
    )
    skip_broken: bool = declare(
        False,
        help="Leave out images that cannot be read, and record them, instead of stopping.",
        group="data",
        label="Leave out unreadable images",
    )
    skip_small_classes: bool = declare(
        False,
        help="Leave out classes that are empty, too small, or missing in a split, and record them, instead of "
        "stopping.",
        group="data",
        label="Leave out small classes",
    )
    input_size: int | None = declare(
        None,
        help="Height and width that images are scaled to for the network.",
        group="network",
        metavar="PIXELS",
        least=1,
        default_text="the network's own",
    )
    batch_size: int | None = declare(
        None,
        help="Number of images in a forward pass.",
        group="network",
        metavar="N",
        least=1,
        default_text="8, or 32 on a GPU",
    )
    protocol: str = declare(
        "separation",
        help="Measures to compute: notebook adds the class-center measures of the original notebook and their permuted "
        "controls, and takes its choice of layers, pooling and samples.",
        group="measures",
        choices=PROTOCOLS,
    )
    related_measures: bool = declare(
        False,
        help="Compute related separability measures, intrinsic dimension and hubness of each layer, too, and CKA "
        "between layers.",
        group="measures",
        label="Related measures",
    )
    probe: bool = declare(
        True,
        help="Compute a linear probe where activations have no space or are averaged over it.",
        group="measures",
    )
    projection: str = declare(
        "pca",
        help="Map of the samples: principal components, or a neighbor embedding (t-SNE), which takes longer.",
        label="Map of the samples",
        group="measures",
        choices=PROJECTIONS,
    )
    precision: float | None = declare(
        None,
        help="Half of the width of the 95% interval of SI to reach, such as 0.01: only as many samples are searched "
        "as that takes.",
        group="cost",
        metavar="E",
        most=0.5,
        excludes_least=True,
        excludes_most=True,
        advice="0.01 is ± one point.",
        default_text="all samples are searched",
    )
    pilot: int = declare(
        0,
        help="Number of samples of each split to search first, so that a precision takes fewer.",
        group="cost",
        metavar="M",
    )
    allow_long_search: bool = declare(
        False,
        help="Search the neighbors of all samples even where that takes more than 4 hours, instead of stopping.",
        group="cost",
        recorded=False,  # it changes no number
    )


@with_parameters
@dataclass(frozen=True)
class RunChoices:
    """How a study is computed, which changes no number, not checked yet. A new option is one more field here."""

    memory: str | None = declare(
        None,
        help="Memory for the activations of a pass, such as 2GiB.",
        group="cost",
        metavar="SIZE",
        default_text="half of what is free",
        label="Memory for activations",
    )
    spool: str | None = declare(
        None,
        help="Folder for the activations of layers that do not fit the memory; they are removed afterwards.",
        group="cost",
        metavar="DIR",
        default_text="none, such layers are computed in slices",
        label="Spool folder",
    )
    cluster: str | None = declare(
        None,
        help="Address of the Dask scheduler whose workers compute, such as tcp://host:8786, or local:N or local:N:2GiB "
        "for N processes of this computer; needs the extra cluster.",
        group="cluster",
        metavar="ADDRESS",
        default_text="none, this process computes",
        label="Cluster",
    )
    cluster_storage: str | None = declare(
        None,
        help="Folder or s3://... address that all workers of the cluster reach, for activations; they are removed "
        "afterwards.",
        group="cluster",
        metavar="ADDRESS",
        default_text="a folder beside the study",
        label="Cluster storage",
    )


STUDY_OPTIONS = options_of(StudyChoices)
RUN_OPTIONS = options_of(RunChoices)


def declare_as_in_study(name: str, **differences: Any) -> Any:
    """Declare an option that a study has, too, with the same default.

    Parameters
    ----------
    name : of the option of a study.
    differences : attributes of `Option` that differ, such as help.
    """
    option = STUDY_OPTIONS[name]
    return field(default=option.default, metadata={_METADATA: replace(option, **differences)})
