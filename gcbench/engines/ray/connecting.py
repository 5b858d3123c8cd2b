"""Connect to a Ray cluster, or start one on this machine and leave nothing of it."""

import importlib.util
import io
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, TextIO

from gcbench.errors import UsageError
from gcbench.measure import environment

# how long an address may take to answer
ANSWER_S = 5.0
# records are some ten kilobytes: the least that Ray takes
OBJECT_STORE_BYTES = 80 * 2**20
# the processes of a Ray that was started here
MARK = "_GCBENCH_RAY"
# sockets of Ray lie below its folder, and the system cuts their names at 107 bytes
LONGEST_FOLDER = 30

# what Ray raises where it cannot be had
_REFUSALS = (ConnectionError, RuntimeError, ValueError, OSError)

# it waits for the end of its stdin, which is that of this process at the latest
_GUARD = f"""
import json, pathlib, shutil, sys, time
sys.path[:] = json.loads(sys.argv[1])
from gcbench.system.process_tree import end_holding, end_marked
sys.stdin.buffer.read()
for _ in range(3):  # what is killed may have been about to start another
    while not (
        end_marked(sys.argv[2], {MARK!r}) and end_holding(pathlib.Path(sys.argv[3]))
    ):
        time.sleep(0.05)
    time.sleep(0.1)
shutil.rmtree(sys.argv[3], ignore_errors=True)
"""

_VARIABLES = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_USAGE_STATS_PROMPT_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
}


def require_ray() -> None:
    """Make sure that Ray is installed. Raises UsageError with the extra that installs it."""
    if importlib.util.find_spec("ray") is None:
        raise UsageError(
            "--engine ray needs Ray, which is not installed: pip install 'ray[default]'"
        )


@contextmanager
def connected(address: str | None, files: Path | None) -> Iterator[None]:
    """Be connected to a cluster, or to one of this machine alone that ends with this.

    `files` is a folder that workers are to find in their path. What Ray itself would print is not.
    Raises UsageError where the cluster cannot be had.
    """
    require_ray()
    with _variables(_VARIABLES), _own_thread_alone(), _own_handlers():
        # names in tracebacks and logs of workers stay on their nodes
        usual: dict[str, Any] = {"logging_level": "critical", "log_to_driver": False}
        if files:
            usual["runtime_env"] = {"working_dir": str(files)}
        with _local(usual) if address is None else _remote(address, usual):
            try:
                yield
            finally:
                _leave()


@contextmanager
def _remote(address: str, usual: dict[str, Any]) -> Iterator[None]:
    import ray

    if address != "auto":
        _require_answer(address)
    handlers, heard = _handlers(), list[str]()
    try:
        with _overheard(heard):
            ray.init(address=address, **usual)
    except _REFUSALS as error:
        if address == "auto" and isinstance(error, ConnectionError):
            raise UsageError(
                "--ray-address auto: no Ray cluster runs on this machine (ray start --head)"
            ) from error
        why = why_refused(_first_line(error), "".join(heard))
        raise UsageError(f"--ray-address {address}: cannot join that cluster: {why}") from error
    _put_back(handlers)
    yield


@contextmanager
def _local(usual: dict[str, Any]) -> Iterator[None]:
    import ray

    folder = _short_folder()
    mark = secrets.token_hex(8)
    handlers = _handlers()
    with _guarded(mark, folder):
        try:
            with _variables({MARK: mark}), _overheard([]):
                ray.init(
                    address="local",
                    num_cpus=environment.usable_cores(),
                    object_store_memory=OBJECT_STORE_BYTES,
                    include_dashboard=False,
                    _temp_dir=str(folder),
                    **usual,
                )
        except _REFUSALS as error:
            raise UsageError(
                f"--engine ray: cannot start Ray on this machine: {_first_line(error)}"
            ) from error
        _put_back(handlers)
        yield


@contextmanager
def _guarded(mark: str, folder: Path) -> Iterator[None]:
    """Leave no process that carries a mark, and no folder, also where this process is killed."""
    command = [sys.executable, "-P", "-c", _GUARD, json.dumps(sys.path), mark, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as guard:
        assert guard.stdin
        try:
            yield
        finally:
            guard.stdin.close()
            guard.wait()


def _short_folder() -> Path:
    usual = tempfile.gettempdir()
    return Path(
        tempfile.mkdtemp(prefix="gcb-", dir=usual if len(usual) <= LONGEST_FOLDER else "/tmp")
    )


def _require_answer(address: str) -> None:
    """Make sure that something speaks Ray's protocol there: Ray itself would try for a minute."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdecimal() and int(port) < 2**16):
        raise UsageError(f"--ray-address takes HOST:PORT, ray://HOST:PORT or auto, not {address!r}")
    if os.environ.get("RAY_USE_TLS", "0") != "0":
        return  # only Ray has the certificates
    import grpc

    with grpc.insecure_channel(f"{host}:{port}") as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=ANSWER_S)
        except grpc.FutureTimeoutError:
            raise UsageError(
                f"--ray-address {address}: no Ray cluster answers there within {ANSWER_S:g} s; "
                "is it running (ray status), and is this the address that ray start printed?"
            ) from None


@contextmanager
def _variables(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables of the environment, for Ray and what it starts; those set already stay."""
    new = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in new:
            os.environ.pop(name, None)


def _handlers() -> dict[int, Any]:
    return {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}


def _put_back(handlers: Mapping[int, Any]) -> None:
    """Ray takes SIGTERM for itself, and would end this process with what it had to say."""
    if threading.current_thread() is threading.main_thread():
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextmanager
def _own_handlers() -> Iterator[None]:
    handlers = _handlers()
    try:
        yield
    finally:
        _put_back(handlers)


def why_refused(raised: str, overheard: str) -> str:
    """Say why a cluster was not joined, of what Ray raised and of what it printed before.

    >>> why_refused("Failed to connect", "...: Unauthenticated: RPC error: ...")
    'it asks for its token: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN, as on its nodes'
    """
    if "Unauthenticated" in overheard or "authentication" in raised.lower():
        return "it asks for its token: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN, as on its nodes"
    return raised


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _leave() -> None:
    """Leave the cluster, without what Ray kept to be printed in the end."""
    import ray

    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        ray.shutdown()


@contextmanager
def _overheard(heard: list[str]) -> Iterator[None]:
    """Keep stderr from the terminal: Ray's C++ says there, alone, why it then raises."""
    with tempfile.TemporaryFile() as file:
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            heard.append(file.read().decode(errors="replace"))


class _OwnThread:
    """A stream on which one thread alone is heard: Ray's threads print what its daemons log."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._thread = stream, threading.get_ident()

    def write(self, text: str) -> int:
        heard = threading.get_ident() == self._thread
        return self._stream.write(text) if heard else len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def _own_thread_alone() -> Iterator[None]:
    before: tuple[Any, Any] = sys.stdout, sys.stderr
    new: tuple[Any, Any] = (_OwnThread(before[0]), _OwnThread(before[1]))
    sys.stdout, sys.stderr = new
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
