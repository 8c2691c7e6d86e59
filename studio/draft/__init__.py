"""The draft recipe (`editor`), the cache of its datasets (`dataset_cache`), and its validation and forecast before a
run (`preflight`). Independent of the user interface; does not import torch.
"""

from studio.draft.editor import DraftEditor, files_of
from studio.draft.preflight import Preflight

__all__ = ["DraftEditor", "Preflight", "files_of"]
