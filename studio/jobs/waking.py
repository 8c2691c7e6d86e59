"""Wake the supervisor of a home folder when there is something for it to do, so that it can sleep while nothing runs.

On Linux through a datagram socket in the abstract namespace, which leaves no file and is gone with its process. Nobody
depends on it: where there is none (macOS, a container with a network of its own), the supervisor looks more often.
"""

from __future__ import annotations

import contextlib
import hashlib
import select
import signal
import socket
from pathlib import Path


def wake(home: Path) -> None:
    """Wake the supervisor of the home folder, if it is there and listens; takes microseconds."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        sender.sendto(b"!", _address(home))


class Listener:
    """Waits for `wake`, and for signals of this process, such as that of an ended child.

    hears: whether `wake` reaches it. Attention: `catch_signals` may only be called in the main thread.
    """

    def __init__(self, home: Path):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        try:
            self._socket.bind(_address(home))
            self.hears = True
        except OSError:  # no abstract namespace here, or another program has taken the name
            self.hears = False
        self._signals, self._signalled = socket.socketpair()
        for end in (self._signals, self._signalled):
            end.setblocking(False)

    def catch_signals(self) -> None:
        """Let every signal that this process handles end `wait`, the end of a child process included."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._signalled.fileno(), warn_on_full_buffer=False)

    def wait(self, seconds: float) -> None:
        """Return when woken, after a signal, or after `seconds`."""
        ready, _, _ = select.select([self._socket, self._signals], [], [], seconds)
        for end in ready:
            with contextlib.suppress(BlockingIOError):
                while end.recv(4096):
                    pass


def _address(home: Path) -> bytes:
    return b"\0delta-studio-" + hashlib.sha256(str(home).encode()).hexdigest()[:32].encode()
