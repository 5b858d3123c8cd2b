"""Runs written: made whole or not at all, added to line by line, one writer at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from gcbench.errors import RunError, cause
from gcbench.records import SCHEMA, ComparisonRecord, Manifest, Run
from gcbench.store.format import Log, encoded, outline_of
from gcbench.store.read import manifest as read_manifest
from gcbench.system.files import new_file, unfinished

LOCKS = Path("/proc/locks")


class RunFile:
    """A run that is being written. No other process writes to it until this is closed."""

    def __init__(self, path: Path, descriptor: int) -> None:
        """Take over an open and locked file."""
        self.path = path
        self._descriptor = descriptor

    def append(self, record: ComparisonRecord) -> None:
        """Add a comparison, and return when it is on the disk.

        Raises RunError where it cannot be written; then the file is as it was before.
        """
        with _told(self.path):
            state = os.fstat(self._descriptor)
            if state.st_nlink == 0:
                raise RunError(f"the run {self.path} was deleted while it was written")
            try:
                _write(self._descriptor, encoded(record))
            except OSError:
                # a full disk takes half a line: what stood there before stays readable
                with suppress(OSError):
                    os.ftruncate(self._descriptor, state.st_size)
                raise

    def close(self) -> None:
        """Let others write. Closing twice does no harm."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> "RunFile":
        """Use it in a `with` statement, which closes it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file; what was added stays."""
        self.close()


def create(path: Path, manifest: Manifest) -> RunFile:
    """Make a new run and hold it for writing.

    The file appears under its name with its manifest on the disk, or not at all. Raises RunError
    where something stands there already or nothing can be written.
    """
    with _told(path), unfinished(path) as part:
        if path.is_dir():
            raise RunError(f"cannot write the run {path}: that is a folder; give a file in it")
        descriptor = new_file(part, os.O_RDWR | os.O_APPEND)
        try:
            with suppress(OSError):
                # nobody else knows the file yet
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _write(descriptor, encoded(manifest))
            _publish(part, path)
            return RunFile(path, descriptor)
        except BaseException:
            os.close(descriptor)
            raise


def resume(path: Path, tell: Log) -> RunFile:
    """Hold a run for writing more of it.

    A last line that was not finished is cut off, and `tell` gets a sentence. Raises RunError where
    the file is no run, was written by another version's schema, or is being written by another
    process, which is named where the system knows it.
    """
    manifest = read_manifest(path)
    if manifest.schema != SCHEMA:
        raise RunError(
            f"{path} has schema {manifest.schema} and can only be read: "
            f"this gcbench adds to runs of schema {SCHEMA}"
        )
    with _told(path):
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
        try:
            _lock(descriptor, path, tell)
            _mend(descriptor, path, tell)
            return RunFile(path, descriptor)
        except BaseException:
            os.close(descriptor)
            raise


def save(run: Run, path: Path) -> None:
    """Write a whole run to a new file, or none.

    Raises RunError where the file exists or cannot be written.
    """
    with create(path, run.manifest) as file:
        try:
            for record in run.comparisons:
                file.append(record)
        except BaseException:
            path.unlink(missing_ok=True)
            raise


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError as error:
        raise RunError(
            f"cannot write the run {path}: it exists already, and no run is overwritten"
        ) from error
    except OSError as error:
        raise RunError(f"cannot write the run {path}: {cause(error)}") from error
    except ValueError as error:
        raise RunError(f"cannot write the run {str(path)!r}: {error}") from error


def _write(descriptor: int, line: bytes) -> None:
    while line:
        line = line[os.write(descriptor, line) :]
    os.fsync(descriptor)


def _publish(part: Path, path: Path) -> None:
    """Give a finished file its name, never in place of another."""
    try:
        path.hardlink_to(part)
    except FileExistsError:
        raise
    except OSError:
        # some file systems have no links
        if path.exists():
            raise FileExistsError from None
        part.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        # some file systems cannot, and lose nothing by it
        with suppress(OSError):
            os.fsync(folder)
    finally:
        os.close(folder)


def _lock(descriptor: int, path: Path, tell: Log) -> None:
    """Lock an open file. The system frees the lock of a process that dies, however it dies."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RunError(
            f"{path} is being written by another gcbench{_holder(descriptor)}: "
            "wait for it, or end it"
        ) from None
    except OSError as error:
        tell(f"cannot lock {path} ({cause(error)}): take care that nothing else writes to it")


def _holder(descriptor: int) -> str:
    """Name the process that holds the lock, where the system tells."""
    inode = os.fstat(descriptor).st_ino
    with suppress(OSError, ValueError, IndexError):
        for line in LOCKS.read_text().splitlines():
            fields = line.split()
            if fields[1] == "FLOCK" and int(fields[5].rpartition(":")[2]) == inode:
                return f" (process {fields[4]})"
    return ""


def _mend(descriptor: int, path: Path, tell: Log) -> None:
    """Cut off a last line that was not finished, or end one that lacks nothing but its end."""
    size = start = os.fstat(descriptor).st_size
    tail = b""
    while start > 0 and b"\n" not in tail:
        chunk = min(start, max(2**16, len(tail)))
        start -= chunk
        tail = os.pread(descriptor, chunk, start) + tail
    before, _, torn = tail.rpartition(b"\n")
    if before and not torn:
        return
    try:
        # an only line is the manifest, which was read before
        if before:
            outline_of(torn)
    except RunError:
        os.ftruncate(descriptor, size - len(torn))
        os.fsync(descriptor)
        tell(f"the last line of {path} was not finished and is cut off: it is measured again")
    else:
        _write(descriptor, b"\n")
