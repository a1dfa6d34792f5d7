"""One call from a folder or archive to a prepared dataset."""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from jaxreid.data.catalogue import DATASETS, ORIENTATIONS
from jaxreid.data.prepare.archives import Progress
from jaxreid.data.prepare.locking import clear_unfinished, make_folder
from jaxreid.data.prepare.report import Options, PrepareReport, read_report
from jaxreid.data.prepared import default_data_dir, expected_names
from jaxreid.data.source import ReidSplit
from jaxreid.errors import InputError

if TYPE_CHECKING:
    from jaxreid.data.prepare.builder import ReidBuilder

__all__ = ["PrepareOptions", "prepare_dataset"]

_CONFIG_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,199}")
_LONGEST = 100  # of a wrong name, as shown
# Options that reports leave out where they are not used.
_DEFAULTS: Options = {"orientation": ORIENTATIONS[0], "first_identity": 1}


class PrepareOptions(TypedDict, total=False):
    """How a dataset is prepared; what is left out is as the builders have it.

    Attributes:
        subset: accept fewer images than the full dataset has.
        skip_corrupt: leave out images that do not decode.
        orientation: one of `jaxreid.data.catalogue.ORIENTATIONS`.
        pattern: of `reid_folder` only: regular expression for file names.
        first_camera: of `reid_folder` only: the number of the first camera in names.
        first_identity: of `reid_folder` only: the number of the first person in names.
        workers: of `synthetic_reid` only: processes that draw.
    """

    subset: bool
    skip_corrupt: bool
    orientation: str
    pattern: str
    first_camera: int
    first_identity: int
    workers: int


def _split_name(name: str, root: Path) -> tuple[str, str]:
    base, slash, config = name.partition("/")
    if base not in DATASETS:
        raise InputError(f"unknown dataset {base[:_LONGEST]!r}; {expected_names(name, root)}")
    configs = DATASETS[base].configs
    if not slash:
        return base, DATASETS[base].default_config
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


def _check_reuse(report: PrepareReport, wanted: Options, source: str) -> None:
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
    except OSError:  # a name that is too long, or a parent that may not be searched
        return False


def prepare_dataset(
    name: str,
    *,
    manual_dir: str | os.PathLike[str] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    force: bool = False,
    progress: Progress | None = None,
    **options: Unpack[PrepareOptions],
) -> PrepareReport:
    """Prepares a dataset for `jaxreid.data.open_split` and for TFDS.

    Args:
        name: a key of `DATASETS`, with a config after a slash if it has several:
            `cuhk03_np/labeled`, or a name of your choice: `reid_folder/shop`.
        manual_dir: the dataset's folder, one that holds it, or the original zip or tar file; not
            needed for generated datasets.
        data_dir: where prepared datasets are kept; `default_data_dir()` by default.
        force: prepare again what is prepared already.
        progress: called with what is being done, items done, items in all.
        **options: see `PrepareOptions`.

    Returns:
        What was found and written; for a dataset that was prepared before, the report of then.

    Raises:
        InputError: the dataset is missing, incomplete or damaged, or was prepared before with
            other options; nothing half-prepared is left.
    """
    root = Path(data_dir or default_data_dir()).expanduser().absolute()
    base, config = _split_name(name, root)
    source = _source(base, manual_dir)
    if force or not _is_there(root):
        make_folder(root, purpose="prepared datasets")
    builder = _builder(base, config, data_dir=root, anew=force, progress=progress, **options)
    had = builder.target.exists() and not force
    if not had:
        _run(builder, source)
    report = read_report(builder.target)
    if not force:
        _check_reuse(report, builder.options(), source)
    if had:
        # Of a preparation with --force that was killed.
        clear_unfinished(builder.target.parent)
        for split in report.splits:
            ReidSplit(builder.target, split)  # complains if anything is missing or damaged
    return report


def _source(base: str, manual_dir: str | os.PathLike[str] | None) -> str:
    """The absolute path of what is prepared; "" for a dataset that is drawn."""
    placement = DATASETS[base].placement
    if placement and manual_dir is None:
        raise InputError(f"{base} is not downloaded for you; name with --manual-dir: {placement}")
    if "\0" in str(manual_dir):
        raise InputError(f"{str(manual_dir)!r} cannot be a path; expected {placement}")
    if not placement and manual_dir is not None:
        raise InputError(f"{base} is generated; expected no --manual-dir, got {manual_dir}")
    return str(Path(manual_dir).expanduser().absolute()) if manual_dir else ""


def _builder(base: str, config: str, **options: Any) -> "ReidBuilder":
    # TFDS takes a second to import.
    from jaxreid.data.prepare.builders import BUILDERS

    if config:
        options["config"] = config
    return BUILDERS[base](**options)


def _run(builder: "ReidBuilder", source: str) -> None:
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(
            manual_dir=source or None, try_download_gcs=False
        )
    )
