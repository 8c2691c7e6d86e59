"""The desk: the recipe that is being prepared (`desk`), what has been read of its data (`readings`), and what can be known of it
before a run (`outlook`). It knows nothing about how a page looks, and imports no torch."""

from studio.desk.desk import Desk, files_of
from studio.desk.outlook import Outlook

__all__ = ["Desk", "Outlook", "files_of"]
