"""What a tuned checkpoint's artefact says beside its weights: which checkpoint they are updates of."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from stages.diffusion.pretrained.checkpoint import KEY
from stages.errors import StageError

FILE = "base.json"


@dataclass(frozen=True)
class Base:
    """The checkpoint that low-rank updates belong to."""

    name: str
    """Folder or hub name."""
    revision: str
    """Commit of the hub name; empty for a folder."""
    sha256: dict[str, str]
    """Component -> digest of its files, as `Checkpoint.digests`."""
    picture_side: int
    """Side of the pictures that it paints, pixels."""
    image_size: int
    """Side of the data set's pictures, to which they are brought, pixels."""

    def save(self, directory: Path) -> None:
        """Writes `base.json`."""
        (directory / FILE).write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n")

    @classmethod
    def load(cls, directory: Path) -> "Base":
        """Reads `base.json`.

        Raises:
            StageError: it is missing or damaged.
        """
        path = directory / FILE
        try:
            return cls(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise StageError(f"{path} cannot be read ({error}); run: make diffusion") from None

    def verify(self, folder: Path, sha256: dict[str, str], said_in: Path) -> None:
        """Makes sure that a checkpoint is this one.

        Args:
            folder, sha256: where the checkpoint is, and its digests.
            said_in: folder of this description, for the message.

        Raises:
            StageError: a component has other files.
        """
        for component, found in sha256.items():
            expected = self.sha256.get(component)
            if found != expected:
                what = f"{folder / component} is not what was tuned"
                digests = f"sha256 {found} there, {expected} in {said_in / FILE}"
                raise StageError(f"{KEY}: {what} ({digests}); restore it, or remove {said_in} and run: make diffusion")
