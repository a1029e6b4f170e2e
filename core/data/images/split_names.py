"""The usual names of split folders, and the split that each folder name means."""

import re
import unicodedata
from collections.abc import Iterable

TRAIN, TEST, VALIDATION = "train", "test", "validation"
_NAMES = {
    "train": TRAIN,
    "training": TRAIN,
    "trn": TRAIN,
    "test": TEST,
    "testing": TEST,
    "tst": TEST,
    "holdout": TEST,
    "val": VALIDATION,
    "valid": VALIDATION,
    "validate": VALIDATION,
    "validation": VALIDATION,
    "dev": VALIDATION,
    "eval": VALIDATION,
    "evaluation": VALIDATION,
}
_OTHER_LANGUAGES = {
    TRAIN: (
        *("entrenamiento", "entraînement", "entrainement", "apprentissage", "treinamento", "treino"),
        *("addestramento", "trainingsdaten", "训练", "训练集", "学習", "обучение"),
    ),
    TEST: ("prueba", "pruebas", "teste", "testdaten", "测试", "测试集", "テスト", "тест"),
    VALIDATION: (
        *("validación", "validacion", "validação", "validacao", "validazione", "validierung"),
        *("验证", "验证集", "検証", "валидация"),
    ),
}
_NAMES |= {name: role for role, names in _OTHER_LANGUAGES.items() for name in names}
# Words that do not matter for the split, as in "training_set", "test images" and "seg_train".
_FILLERS = {"set", "data", "dataset", "images", "image", "img", "imgs", "pictures", "photos", "split", "samples", "seg"}


def split_role(folder: str) -> str | None:
    """Return what a folder of this name usually is: "train", "test" or "validation"; None for any other name.

    Case, separators, trailing numbers, and words such as "set" and "images" are ignored.

    >>> [split_role(name) for name in ("Training", "test_set", "val2017", "ValidationImages", "trainset", "trains")]
    ['train', 'test', 'validation', 'validation', 'train', None]
    """
    composed = unicodedata.normalize("NFC", folder)  # macOS may store letters and accents separately
    words = re.split(r"[\W_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", composed).lower())
    words = [re.sub(r"\d+$", "", word) for word in words]
    words = [word for word in words if word and word not in _FILLERS]
    if len(words) != 1:
        return None
    return _NAMES.get(words[0]) or _NAMES.get(re.sub(r"(set|data|images|imgs)$", "", words[0]))


def split_and_rest(folder: str) -> tuple[str, str] | None:
    """Split a name into the split that one of its words means, and the remaining words.

    Case and numbers are ignored. None if the number of words that mean a split is not one, or if no other word remains.

    >>> [split_and_rest(name) for name in ("X_train", "test-cat 2", "trainA", "test", "train_test_cat", "contest")]
    [('train', 'x'), ('test', 'cat'), ('train', 'a'), None, None, None]
    """
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", folder)  # "trainCats" is two words
    words = [word for word in re.split(r"[\W\d_]+", spaced.lower()) if word]
    splits = [_NAMES[word] for word in words if word in _NAMES]
    remaining = "_".join(word for word in words if word not in _NAMES and word not in _FILLERS)
    return (splits[0], remaining) if len(splits) == 1 and remaining else None


def roles_of(folders: Iterable[str]) -> dict[str, list[str]]:
    """Group folder names by their role, in the given order; folders that are not splits are left out."""
    roles: dict[str, list[str]] = {}
    for folder in folders:
        role = split_role(folder)
        if role is not None:
            roles.setdefault(role, []).append(folder)
    return roles
