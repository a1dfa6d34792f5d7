"""The account of a file: every tensor has a place in the network, or a reason to be left out."""

import re
from collections.abc import Collection, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from jaxreid.errors import listed
from jaxreid.models.weights.layouts import LAYOUTS

__all__ = [
    "ALLOWED",
    "COUNTER",
    "Account",
    "Ignored",
    "account",
    "changes_feature",
    "left_over",
    "matches",
    "summary",
]

COUNTER = "num_batches_tracked"
"""PyTorch's count of training batches: only read when BatchNorm has no momentum, which ours has."""
ALLOWED = "left out by --allow-unused"
"""The reason of what the user left out."""

_CLASSIFIER = r"(classifiers?(_\w+|\d+)?|cls_score)(\.\d+)?\.(weight|bias)"
# What only training reads, at the top of a file, and why.
_OF_TRAINING = {
    rf"{_CLASSIFIER}$": "classifier of the training identities",
    r"(criterion|loss(es)?|\w+_(loss|criterion)|centers?)(\.|$)": "part of a training loss",
    r"(queue|queue_ptr|memory)$": "memory of a training",
    r"n_averaged$": "counter of averaged weights",
    r"head\.(mlp|last_layer)\.": "projection of a self-supervised training",
}
_COPY = re.compile(r"(ema|\w+_ema|ema_\w+|momentum_encoder|teacher|averaged\w*)\.(module\.)?(?=.)")
# The same wherever it stands: what may be suggested to be left out, and what is no second network.
_FOR_TRAINING = re.compile(
    rf"(^|\.){_CLASSIFIER}$"
    r"|(^|\.)(criterion|loss(es)?|centers?|center_loss|memory|queue"
    r"|optimizer|ema|ema_model|model_ema|momentum_encoder|text_encoder|prompt_learner)(\.|_|$)"
    rf"|(^|\.)({COUNTER}|n_averaged)$"
)
_LAYERS = {
    "instance normalisation (IBN)": r"\.(IN|BN)\.|(^|\.)IN\.",
    "non-local blocks": r"(^|\.)NL_?\d|non_?local",
    "generalised-mean pooling": r"\.p$|(^|\.)gem",
    "attention or squeeze-and-excitation": r"(^|\.)(se|se_module|se_layer|gate\w*|att\w*)\.",
    "camera embeddings": r"(sie|cv)_embed",
    "a normalisation after pooling": r"^(?!.*layer\d).*(bottleneck|bnneck|neck|feat_bn|^bn\d*\.)",
    "an embedding after pooling": r"^(?!.*layer\d).*((^|\.)fc\.\d|embed|feat|proj|add_block)",
}
_NECK = "a normalisation after pooling"


class Ignored(NamedTuple):
    """A tensor of a file that no network needs.

    Attributes:
        name: as in the file, without what was peeled off.
        reason: why the feature does without it.
    """

    name: str
    reason: str


class Account(NamedTuple):
    """Where the tensors without a place in the network go.

    Attributes:
        ignored: those that have a reason to be left out.
        left: those that have none, by name.
    """

    ignored: tuple[Ignored, ...]
    left: tuple[str, ...]


def account(
    names: Collection[str],
    placed: Collection[str],
    layout: str,
    *,
    allow_unused: Sequence[str] = (),
    below: Collection[str] = (),
) -> Account:
    """Gives every tensor without a place its reason to be left out, or none.

    `placed` are the names that the network has places for, by the names of `layout`. A tensor
    that allow_unused covers is left out even if it has a place. `below` are the places of the
    backbone.
    """
    heads = LAYOUTS[layout].head_names
    counters = {n.replace("running_var", COUNTER) for n in placed if n.endswith("running_var")}
    ignored, left = [], []
    for name in sorted(names):
        if matches(name, allow_unused, heads, below):
            reason: str | None = ALLOWED
        elif name in placed:
            continue
        elif name in counters:
            reason = "counter of training batches"
        else:
            reason = _reason(name, names, layout)
        if reason is None:
            left.append(name)
        else:
            ignored.append(Ignored(name, reason))
    return Account(tuple(ignored), tuple(left))


def _reason(name: str, names: Collection[str], layout: str) -> str | None:
    for pattern, reason in LAYOUTS[layout].ignorable.items():
        if fnmatchcase(name, pattern):
            return reason
    if name.rpartition(".")[0] in LAYOUTS[layout].head_names:
        return None
    for mark, reason in _OF_TRAINING.items():
        if re.match(mark, name):
            return reason
    # An attention module may be called "ema": a copy has the names of what it copies.
    copy = _COPY.match(name)
    if copy is not None and name[copy.end() :] in names:
        return f"a moving average of the weights (--network {copy[1]} takes it instead)"
    return None


def matches(
    name: str, patterns: Iterable[str], heads: set[str], below: Collection[str] = ()
) -> bool:
    """Whether one of the patterns ("head", or of names) covers a tensor.

    `heads` are the names under which heads store their tensors; `below` are places of the backbone,
    of which a library may call some by its head's name: fast-reid's pooling is heads.pool_layer.
    """
    of_head = name not in below and any(name.startswith(f"{head}.") for head in heads)
    return any(
        fnmatchcase(name, pattern) or (pattern == "head" and of_head) for pattern in patterns
    )


def summary(ignored: Iterable[Ignored]) -> list[str]:
    """One text per reason, with how many tensors have it and, where they are few, which."""
    reasons: dict[str, list[str]] = {}
    for name, reason in ignored:
        reasons.setdefault(reason, []).append(name)
    return [
        f"{len(names)} tensors ({reason})"
        if len(names) > 2
        else f"{' and '.join(names)} ({reason})"
        for reason, names in reasons.items()
    ]


def changes_feature(name: str) -> bool:
    """Whether a tensor without a place may take part in the feature.

    All do that are not known to serve training: classifiers, losses, counters, moving copies.
    """
    return not _FOR_TRAINING.search(name)


def left_over(names: Sequence[str], layout: str) -> list[str]:
    """Says what tensors without a place are, and suggests to ignore only what the feature lacks.

    Returns parts of a message, none for no names.
    """
    table = LAYOUTS[layout]
    classifiers = tuple(f"{parts.get('classifier', '?')}." for parts in table.heads.values())
    head = sorted(name for name in names if name.startswith(classifiers))
    others = [name for name in sorted(names) if name not in head]
    training = [name for name in others if not changes_feature(name)]
    layers = [name for name in others if changes_feature(name)]
    said = []
    if layers:
        kinds = [kind for kind, mark in _LAYERS.items() if any(re.search(mark, n) for n in layers)]
        what = " and ".join(kinds) or "layers that are not known here"
        neck = table.heads.get("classification", {}).get("neck")
        hint = f"; {layout} calls its neck {neck}" if _NECK in kinds and neck else ""
        said.append(
            f"{len(layers)} left over: {listed(layers)} ({what}: without them the feature is "
            f"another one{hint})"
        )
    if training:
        said.append(f"{len(training)} left over: {listed(training)} (--allow-unused leaves out)")
    if head:
        said.append(f"{len(head)} left over: {listed(head)} (--allow-unused head leaves out)")
    return said
