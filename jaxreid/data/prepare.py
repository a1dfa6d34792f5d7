"""One call from a folder or archive to a prepared dataset."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxreid.data.archives import Progress
from jaxreid.data.catalogue import DATASETS
from jaxreid.data.finding import default_data_dir, near_names
from jaxreid.data.locking import clear_litter, make_folder
from jaxreid.data.report import PrepareReport, read_report
from jaxreid.data.source import ReidSplit
from jaxreid.errors import InputError

__all__ = ["prepare_dataset"]

_CONFIG_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,199}")
_LONGEST = 100  # of a wrong name, as shown
# Options that reports leave out where they are not used.
_DEFAULTS = {"orientation": "upright", "first_identity": 1}


def _split_name(name: str, root: Path) -> tuple[str, str]:
    base, slash, config = name.partition("/")
    if base not in DATASETS:
        near = near_names(name[:_LONGEST], root)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise InputError(
            f"unknown dataset {base[:_LONGEST]!r}; expected one of: {', '.join(DATASETS)}{hint}"
        )
    configs = DATASETS[base].configs
    if not slash:
        return base, configs[0] if configs else ""
    if base == "reid_folder":
        if _CONFIG_NAME.fullmatch(config) is None:
            raise InputError(
                f"{config[:_LONGEST]!r} cannot name a dataset; expected letters, digits, '_', '-' "
                "and '.', 200 at most"
            )
    elif config not in configs:
        known = ", ".join(f"{base}/{c}" for c in configs) or f"{base} (it has no configs)"
        raise InputError(f"unknown dataset {name!r}; expected one of: {known}")
    return base, config


def _check_reuse(report: PrepareReport, wanted: Mapping[str, Any], source: str) -> None:
    """What is prepared already must be what is asked for now."""
    differing = []
    for option in {**report.options, **wanted}:
        value = wanted.get(option, _DEFAULTS.get(option))
        have = report.options.get(option, _DEFAULTS.get(option))
        # Data that passed the stricter test passes the laxer one.
        if have != value and not (have is False and value is True):
            differing.append(f"{option} was {have!r} and is {value!r}")
    free_content = report.name.startswith("reid_folder") or report.options.get("subset")
    if free_content and report.source != source:
        differing.append(f"it was made from {report.source}")
    if differing:
        raise InputError(
            f"{report.name} is prepared already in {report.directory}, otherwise than asked for "
            f"now ({'; '.join(differing)}); prepare it anew with --force"
        )


def _is_there(folder: Path) -> bool:
    try:
        return folder.exists()
    except OSError:  # a name that is too long, or above it a folder that nobody may look into
        return False


def prepare_dataset(
    name: str,
    *,
    manual_dir: str | os.PathLike[str] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    force: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> PrepareReport:
    """Prepares a dataset for `jaxreid.data.source.open_split` and for TFDS.

    Args:
        name: a key of `DATASETS`, with a config after a slash if it has several:
            `cuhk03_np/labeled`, or a name of your choice: `reid_folder/shop`.
        manual_dir: the dataset's folder, one that holds it, or the original zip or tar file; not
            needed for generated datasets.
        data_dir: where prepared datasets are kept; `default_data_dir()` by default.
        force: prepare again what is prepared already.
        progress: called with what is being done, items done, items in all.
        **options: those of the builder: `subset`, `skip_corrupt`, `orientation`; for `reid_folder`
            also `pattern`, `first_camera` and `first_identity`; for `synthetic_reid` also
            `workers`.

    Returns:
        What was found and written; for a dataset that was prepared before, the report of then.

    Raises:
        InputError: the dataset is missing, incomplete or damaged, or was prepared before with
            other options; nothing half-prepared is left.
    """
    root = Path(data_dir or default_data_dir()).expanduser().absolute()
    base, config = _split_name(name, root)
    card = DATASETS[base]
    if card.placement and manual_dir is None:
        raise InputError(
            f"{base} is not downloaded for you; name with --manual-dir: {card.placement}"
        )

    if "\0" in str(manual_dir):
        raise InputError(f"{str(manual_dir)!r} cannot be a path; expected {card.placement}")
    if not card.placement and manual_dir is not None:
        raise InputError(f"{base} is generated; expected no --manual-dir, got {manual_dir}")

    import tensorflow_datasets as tfds

    from jaxreid.data.builders import BUILDERS

    tfds.disable_progress_bar()
    if progress is not None:
        options["progress"] = progress
    if config:
        options["config"] = config
    if force or not _is_there(root):
        make_folder(root, purpose="prepared datasets")
    builder = BUILDERS[base](data_dir=root, anew=force, **options)
    source = str(Path(manual_dir).expanduser().absolute()) if manual_dir else ""
    had = builder.target.exists() and not force
    if not had:
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(
                manual_dir=source or None, try_download_gcs=False
            )
        )
    report = read_report(builder.target)
    if not force:
        _check_reuse(report, builder.options(), source)
    if had:
        # Of a preparation with --force that was killed.
        clear_litter(builder.target.parent)
        for split in report.splits:
            ReidSplit(builder.target, split)  # complains if anything is missing or damaged
    return report
