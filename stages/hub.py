"""Snapshots of Hugging Face hub repositories in the hub's local cache."""

from collections.abc import Sequence
from pathlib import Path

from stages.errors import StageError


def fetch_snapshot(key: str, name: str, files: Sequence[str], revision: str = "") -> Path:
    """Folder of a repository in the cache, with the files of these patterns fetched where they are not there yet.

    Args:
        key: config key that names it, for messages.
        revision: branch, tag or commit; empty: the main branch.

    Raises:
        StageError: there is none of that name, or the hub cannot be reached.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=list(files)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise StageError(f"{key}: cannot fetch {name} ({reason}); check the name and the network") from None


def cached_snapshot(name: str, revision: str = "") -> Path | None:
    """Folder of a repository in the cache, whole or not, without asking the hub; None where there is none."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, revision=revision or None, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        return None
