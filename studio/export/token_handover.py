"""Hand a secret (the Hub's token) from the window to a worker without storing it: over a private socket, once.

The job's payload, which is stored, holds the socket's address and a key that is worth nothing after that.
"""

from __future__ import annotations

import secrets
import shutil
import tempfile
import threading
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Listener
from pathlib import Path

from studio.words import StudioError


def offer(secret: str) -> dict[str, str]:
    """Wait in a thread for one worker that asks for `secret`; returns what it needs for that, to put in its payload."""
    folder = Path(tempfile.mkdtemp(prefix="delta-studio-"))  # readable by this user alone
    address, key = str(folder / "token"), secrets.token_hex(16)
    listener = Listener(address, "AF_UNIX", authkey=bytes.fromhex(key))

    def serve() -> None:
        try:
            with listener, listener.accept() as connection:
                connection.send(secret)
        except (OSError, EOFError, AuthenticationError):
            pass  # somebody else, or a worker that ended: the secret is not given again
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    threading.Thread(target=serve, daemon=True, name="token handover").start()
    return {"token_at": address, "token_key": key}


def take(payload: dict) -> str | None:
    """The secret that `payload` points to; None if it points to none. Raises StudioError if it is gone."""
    if "token_at" not in payload:
        return None
    try:
        with Client(payload["token_at"], "AF_UNIX", authkey=bytes.fromhex(payload["token_key"])) as connection:
            return connection.recv()
    except (OSError, EOFError, AuthenticationError) as error:
        raise StudioError(
            "The token is not at hand any more, because it is never stored and the window was restarted; "
            "enter it and export again."
        ) from error
