"""The usual names of split folders, and which folder serves as which split."""

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
# Words that say nothing about the split, as in "training_set", "test images" and "seg_train".
_FILLERS = {"set", "data", "dataset", "images", "image", "img", "imgs", "pictures", "photos", "split", "samples", "seg"}


def split_role(folder: str) -> str | None:
    """What a folder of this name usually is: "train", "test" or "validation"; None for any other name.

    Case, separators, numbers at the end, and words such as "set" and "images" do not count.

    >>> [split_role(name) for name in ("Training", "test_set", "val2017", "ValidationImages", "trainset", "trains")]
    ['train', 'test', 'validation', 'validation', 'train', None]
    """
    composed = unicodedata.normalize("NFC", folder)  # macOS may name files in decomposed letters
    words = re.split(r"[\W_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", composed).lower())
    words = [re.sub(r"\d+$", "", word) for word in words]
    words = [word for word in words if word and word not in _FILLERS]
    if len(words) != 1:
        return None
    return _NAMES.get(words[0]) or _NAMES.get(re.sub(r"(set|data|images|imgs)$", "", words[0]))


def split_and_rest(folder: str) -> tuple[str, str] | None:
    """The split that one word of a name means, and the other words; None where no word or several do, or no other is.

    Case and numbers do not count.

    >>> [split_and_rest(name) for name in ("X_train", "test-cat 2", "trainA", "test", "train_test_cat", "contest")]
    [('train', 'x'), ('test', 'cat'), ('train', 'a'), None, None, None]
    """
    words = [word for word in re.split(r"[\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", folder).lower()) if word]
    splits = [_NAMES[word] for word in words if word in _NAMES]
    rest = "_".join(word for word in words if word not in _NAMES and word not in _FILLERS)
    return (splits[0], rest) if len(splits) == 1 and rest else None


def roles_of(folders: Iterable[str]) -> dict[str, list[str]]:
    """The folders of each role, in the order given; folders that are no splits are left out."""
    roles: dict[str, list[str]] = {}
    for folder in folders:
        role = split_role(folder)
        if role is not None:
            roles.setdefault(role, []).append(folder)
    return roles
