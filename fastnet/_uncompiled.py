"""Import the protocol layer from its ``.py`` sources even where compiled modules lie beside them (``FASTNET_PURE=1``).

The slow run is the oracle of the fast one: the same files, stepped through by pdb, must give the same answers.
"""

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType


class SourceFinder(PathFinder):
    """Finds ``fastnet.*`` modules that have a ``.py`` source; all others are left to the next finder."""

    @classmethod
    def find_spec(
        cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if path is None or not fullname.startswith("fastnet."):
            return None
        for folder in path:
            source = Path(folder, fullname.rpartition(".")[2] + ".py")
            if source.is_file():
                return spec_from_file_location(fullname, source, loader=SourceFileLoader(fullname, str(source)))
        return None


def install() -> None:
    """Put the finder first. Called once, before any module of the protocol layer is imported."""
    sys.meta_path.insert(0, SourceFinder())
