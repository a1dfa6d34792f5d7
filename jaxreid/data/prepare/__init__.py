"""Once per dataset: from a folder or archive to records that are checked, and back to folders."""

from jaxreid.data.prepare.dataset import prepare_dataset

__all__ = ["prepare_dataset"]
