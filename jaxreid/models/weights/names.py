"""Names that are almost those of a library: prefixes of wrappers, old names, tensors left over."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from jaxreid.errors import InputError
from jaxreid.models.weights.layouts import LAYOUTS, detect_layout, listed

__all__ = ["COUNTER", "changes_feature", "left_over", "renamed", "roots", "unwrapped"]

COUNTER = "num_batches_tracked"
"""PyTorch's count of training batches: only read when BatchNorm has no momentum, which ours has."""

# What data parallelism and torch.compile put before a module's names, wherever the module is.
_WRAPPERS = ("module", "_orig_mod")
# First tensor of a backbone -> others that a block of one does not have.
_FIRST = {
    "conv1.weight": ("bn1.weight", "layer1.0.conv1.weight"),
    "patch_embed.proj.weight": (),
    "conv1.conv.weight": ("conv1.bn.weight", "conv2.0.gate.fc1.weight"),
}
# What only training reads: losses, classifiers, counters, moving copies, the text half of CLIP.
_FOR_TRAINING = re.compile(
    r"(^|\.)(classifiers?\d*|cls_score|criterion|loss(es)?|centers?|center_loss|memory|queue"
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
    "an embedding after pooling": r"^(?!.*layer\d).*((^|\.)fc\.\d|embed|feat|proj)",
}
_NECK = "a normalisation after pooling"


def _short(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def roots(names: Iterable[str]) -> list[str]:
    """What stands before the names of each backbone among tensors, such as "backbone."."""
    known = set(names)
    return sorted(
        name.removesuffix(first)
        for name in known
        for first, others in _FIRST.items()
        if (name == first or name.endswith(f".{first}"))
        and all(name.removesuffix(first) + other in known for other in others)
    )


def unwrapped(tensors: Mapping[str, np.ndarray], layout: str | None) -> dict[str, np.ndarray]:
    """Takes off what wrappers put before every name: `module.`, Lightning's `model.`, `net.`, ...

    `layout` is whose names they are under the wrapper, if the user says so. Two networks are
    refused, and layers beside a wrapped backbone that would be lost.
    """
    tensors = _shortened(tensors, _short)
    found = [root for root in roots(tensors) if not _FOR_TRAINING.search(root)]
    if len(found) > 1:
        raise InputError(
            f"there are {len(found)} networks, whose names begin with "
            f"{', '.join(map(repr, found[:4]))}: pass the tensors of one of them"
        )
    if found:
        return _without_container(tensors, found[0], layout)
    return _without_common_beginning(tensors)


def _without_common_beginning(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Without what all names begin with, if the rest is named as a known library does."""
    rest = tensors
    while not _recognised(rest):
        beginnings = {name.partition(".")[0] for name in rest}
        if len(beginnings) != 1 or not all("." in name for name in rest):
            return tensors
        rest = {name.partition(".")[2]: value for name, value in rest.items()}
    return rest


def _recognised(tensors: Mapping[str, np.ndarray]) -> bool:
    try:
        return bool(detect_layout(tensors))
    except InputError:
        return False


def _shortened(
    tensors: Mapping[str, np.ndarray], short: Callable[[str], str]
) -> dict[str, np.ndarray]:
    """Renames all, or none where two would have one name."""
    new = {short(name): value for name, value in tensors.items()}
    return new if len(new) == len(tensors) else dict(tensors)


def _without_container(
    tensors: dict[str, np.ndarray], root: str, layout: str | None
) -> dict[str, np.ndarray]:
    tables = [LAYOUTS[layout]] if layout in LAYOUTS else list(LAYOUTS.values())
    owned = sorted({f"{table.backbone}." if table.backbone else "" for table in tables}, key=len)
    own = next(
        (one for one in reversed(owned) if root == one or root.endswith(f".{one}" if one else "")),
        None,
    )
    container = root.removesuffix(own) if own is not None else ""
    if not container:
        return tensors
    beside = [n for n in tensors if not n.startswith(container) and not _FOR_TRAINING.search(n)]
    if beside and layout is None:
        raise InputError(
            f"the backbone's names begin with {container!r}, and {listed(beside)} stand beside it, "
            f"where no known library ({', '.join(LAYOUTS)}) has them: rename them as one does"
        )
    return _shortened(tensors, lambda name: name.removeprefix(container))


def renamed(tensors: Mapping[str, np.ndarray], layout: str) -> dict[str, np.ndarray]:
    """Gives tensors that a library renamed their names of today."""
    new: dict[str, np.ndarray] = {}
    for name, value in tensors.items():
        now = name
        for old, since in LAYOUTS[layout].renamed.items():
            if name.startswith(old):
                now = since + name.removeprefix(old)
        if now != name and now in tensors:
            raise InputError(f"{name} and {now} are two names of one tensor")
        new[now] = value
    return new


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
