"""Processes of the studio without the five seconds of imports: `python -m MODULE …` as a fork of one that has them.

    python -m tests.chaos.forks SOCKET

The server imports what workers need, opens no database, starts no thread, and forks a child for each request; the child
runs the module as `python -m` would. `install` puts `Popen` in the place of `subprocess.Popen`, here and in every
child, so that the studio's own code starts its supervisor, standbys and workers in this way, and is otherwise as it is.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import traceback
from pathlib import Path

SOCKET = "DELTA_STUDIO_TEST_FORKS"  # environment variable: the server's address
_FIRST_FREE = 200  # number from which received descriptors are parked
_OURS = ("studio.jobs.", "tests.chaos.")  # modules that are started in this way
_real = subprocess.Popen
_servers: list[subprocess.Popen] = []


class Popen:
    """What the studio uses of `subprocess.Popen`, for a fork of the server."""

    def __init__(self, command, *, cwd, env=None, pass_fds=(), start_new_session=True, **streams):
        given, mine = [], {}
        for number, name in enumerate(("stdin", "stdout", "stderr")):
            stream = streams.get(name, subprocess.DEVNULL)
            if stream == subprocess.PIPE:
                read, write = os.pipe()
                inner, outer = (read, write) if name == "stdin" else (write, read)
                mine[name] = open(outer, "wb" if name == "stdin" else "rb", buffering=0)  # noqa: SIM115
            else:
                inner = os.open(os.devnull, os.O_RDWR) if stream == subprocess.DEVNULL else os.dup(stream.fileno())
            given.append((inner, number))
        given += [(os.dup(descriptor), descriptor) for descriptor in pass_fds]
        self.stdin, self.stdout = mine.get("stdin"), mine.get("stdout")
        self.returncode: int | None = None
        request = {"command": command[2:], "cwd": str(cwd), "env": dict(env or os.environ)}
        request["numbers"] = [number for _, number in given]
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._server.connect(os.environ[SOCKET])
        socket.send_fds(self._server, [json.dumps(request).encode()], [inner for inner, _ in given])
        for inner, _ in given:
            os.close(inner)
        self.pid = int(self._server.recv(64))

    def poll(self) -> int | None:
        return self._answer(0)

    def wait(self, timeout: float | None = None) -> int:
        if self._answer(timeout) is None:
            raise subprocess.TimeoutExpired("fork", timeout)
        return self.returncode

    def _answer(self, seconds: float | None) -> int | None:
        if self.returncode is None and select.select([self._server], [], [], seconds)[0]:
            self.returncode = int(self._server.recv(64) or -signal.SIGKILL)  # empty: the server is gone
            self._server.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _started(command, *arguments, **options):
    ours = isinstance(command, list) and command[1:2] == ["-m"] and command[2].startswith(_OURS)
    return Popen(command, **options) if ours else _real(command, *arguments, **options)


def install() -> None:
    """From now on this process starts Python modules through the server named by the environment."""
    subprocess.Popen = _started


class Server:
    """Forks, and says of each child how it ended."""

    def __init__(self, address: str):
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listening.bind(address)
        self._listening.listen(64)
        self._clients: dict[int, socket.socket] = {}  # pid → who asked for the process

    def serve(self) -> None:
        """Until stdin, which who started the server holds, is closed; then no child is left."""
        signals, signalled = socket.socketpair()
        signalled.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(signalled.fileno())
        while True:
            ready, _, _ = select.select([self._listening, signals, sys.stdin], [], [])
            if sys.stdin in ready:
                break
            if signals in ready:
                signals.recv(4096)
                self._reap()
            if self._listening in ready:
                self._fork()
        for pid in self._clients:
            os.kill(pid, signal.SIGKILL)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                client = self._clients.pop(ended[0])
                with contextlib.suppress(OSError):  # who asked is gone
                    client.send(str(os.waitstatus_to_exitcode(ended[1])).encode())
                client.close()

    def _fork(self) -> None:
        client, _ = self._listening.accept()
        message, descriptors, _, _ = socket.recv_fds(client, 1 << 20, 16)
        if not message:  # killed before it could ask
            client.close()
            return
        request = json.loads(message)
        pid = os.fork()
        if not pid:
            _become(request, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        self._clients[pid] = client
        with contextlib.suppress(OSError):
            client.send(str(pid).encode())


def _become(request: dict, descriptors: list[int]) -> None:
    """Be the process that was asked for, with its descriptors and no others. Does not return."""
    code = 1
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        parked = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, _FIRST_FREE) for descriptor in descriptors]
        os.closerange(3, _FIRST_FREE)
        for descriptor, number in zip(parked, request["numbers"], strict=True):
            os.dup2(descriptor, number)
        os.closerange(_FIRST_FREE, 2 * _FIRST_FREE)
        os.chdir(request["cwd"])
        os.environ.clear()
        os.environ.update(request["env"])
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
        sys.argv = request["command"]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else int(bool(left.code))
        if isinstance(left.code, str):
            print(left.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def server_pid() -> int:
    """The pid of the server that `start` has started; its children are the processes of the studio."""
    return _servers[-1].pid


def start(folder: Path) -> subprocess.Popen:
    """Start a server with its socket in `folder`, wait for its imports, and `install` it here."""
    os.environ[SOCKET] = str(folder / "forks")
    log = open(folder / "forks.log", "wb")  # noqa: SIM115 - as long as the process
    server = _real(
        [sys.executable, "-m", __spec__.name, os.environ[SOCKET]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        env=os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"},
    )
    if not server.stdout.readline():
        raise RuntimeError(f"no forks: {(folder / 'forks.log').read_text()[-2000:]}")
    install()
    _servers.append(server)
    return server


def main() -> None:
    import importlib

    from studio.jobs.standby import WARM_IMPORTS

    for name in (*WARM_IMPORTS, "studio.jobs.supervisor", "studio.jobs.client", "studio.export.job"):
        importlib.import_module(name)
    install()
    server = Server(sys.argv[1])
    print("ready", flush=True)
    server.serve()


if __name__ == "__main__":
    main()
