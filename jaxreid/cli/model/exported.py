"""Models without their code on the command line: how they are made, used and shown."""

import dataclasses
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxreid.cli.model.loaded import LoadedModel, Surroundings
from jaxreid.cli.model.pipelines import pipeline_card, size_text
from jaxreid.errors import InputError

if TYPE_CHECKING:  # at run time these import JAX, which starts only once the options are right
    from jaxreid.models.weights import Conversion

__all__ = ["export_model", "exported_card", "open_exported"]


def export_model(source: str, target: Path, options: dict[str, Any]) -> "Conversion":
    """Checks a checkpoint as `jaxreid convert` does, and writes the model it holds to target."""
    from jaxreid.models import Pipeline, embedding, weights
    from jaxreid.models.exporting import export_embedding

    with tempfile.TemporaryDirectory() as folder:
        checked = Path(folder) / "checked.safetensors"
        done = weights.convert(source, checked, **{**options, "target_layout": None})
        model = weights.load(checked)
    size = model.config.size
    if size is None:
        raise InputError(f"{source}: nothing says the size of its images; --size does")
    pipeline = model.config.pipeline or Pipeline()
    embed = embedding(model, normalize=pipeline.unit_length, flip=pipeline.flip)
    export_embedding(embed, target, config=model.config, size=size)
    return done._replace(target_layout="exported")


def open_exported(path: Path, dtype: str, around: Surroundings) -> LoadedModel:
    """MODEL as a file that `export_model` wrote."""
    from jaxreid.models import Pipeline
    from jaxreid.models.exported import load_exported
    from jaxreid.models.weights.storage import file_digest

    if dtype != "float32":
        raise InputError(f"{path}: --dtype is for networks; an exported one computes as it was")
    embed = load_exported(path)
    own = embed.config.pipeline or Pipeline()
    for name in ("flip", "unit_length"):
        asked, made = getattr(around, name), getattr(own, name)
        if asked is not None and asked != made:
            word = name.replace("_", "-")
            words = (f"--{word}", f"--no-{word}") if asked else (f"--no-{word}", f"--{word}")
            raise InputError(f"{path} was exported with {words[1]}; export it anew with {words[0]}")
    _, digest = file_digest(path)
    facts: dict[str, Any] = {
        "exported": str(path),
        "features": embed.card.features,
        "sha256": digest,
        "training_size": list(embed.card.size),
        "pipeline": dataclasses.asdict(own),
    }
    return LoadedModel(embed, facts, path.stem, embed.card.size, embed.config, fixed_size=True)


def exported_card(path: Path) -> dict[str, str]:
    """What `jaxreid inspect` says of such a file, all of which is read: label -> text."""
    from jaxreid.models.exported import check_exported
    from jaxreid.models.kinds import architecture_name

    card, config = check_exported(path)
    return {
        "file": f"{path}, {path.stat().st_size / 1e6:.3g} MB, a model without its code",
        "for": f"{' and '.join(card.programs)}; by jax {card.jax}",
        "network": f"{architecture_name(config.backbone)}; {card.features} numbers",
        "takes": f"images of {size_text(card.size)}, {card.batch} at a time",
        **pipeline_card(config),
    }
