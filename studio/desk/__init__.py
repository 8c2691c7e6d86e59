"""The draft recipe (`desk`), the cached reading of its data (`readings`), and its validation and forecast before a run
(`outlook`). Independent of the user interface; does not import torch.
"""

from studio.desk.desk import Desk, files_of
from studio.desk.outlook import Outlook

__all__ = ["Desk", "Outlook", "files_of"]
