"""Ceilings of this machine, kept between runs in the user's cache folder; no torch.

There is a file for each state of machine, versions and variables that they depend on, so two
environments that are used in turn both keep theirs.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import platformdirs

from gcbench.errors import cause
from gcbench.records import Gpu, Manifest, Peaks
from gcbench.system.files import replace_whole

Log = Callable[[str], None]

# what is measured, and how: ceilings of another number are not those that are meant now
FORM = 2
# variables that change how fast products and copies are; others are folders and the like
_TELLING = re.compile(r"OMP|MKL|KMP|GOMP|DNNL|ONEDNN|OPENBLAS|CUBLAS|NVIDIA_TF32|MALLOC|LD_PRELOAD")
# of files of other states so many of the newest are looked at
_LOOKED_AT = 20


@dataclass(frozen=True)
class Kept:
    """Ceilings, and the machine as it was when they were measured."""

    manifest: Manifest
    peaks: Peaks


def folder() -> Path:
    """Where ceilings are kept: the user's cache folder."""
    return platformdirs.user_cache_path("gcbench") / "peaks"


def find(
    manifest: Manifest, device: str, device_id: str, threads: int | None, tell: Log
) -> Peaks | None:
    """Read the ceilings of a device, where they are of this machine as it is now.

    `tell` gets a sentence where they cannot be read.
    """
    path = _path(manifest, device, device_id, threads)
    try:
        kept = _read(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, msgspec.DecodeError) as error:
        why = cause(error) if isinstance(error, OSError) else error
        tell(f"the peaks in {path} cannot be read ({why}): measuring them anew")
        return None
    # the same card may have another number now, which depends on what a process may see
    return replace(kept.peaks, device=device)


def keep(manifest: Manifest, peaks: Peaks, device_id: str, tell: Log) -> None:
    """Write ceilings, whole or not at all. Where that fails, `tell` gets a sentence."""
    path = _path(manifest, peaks.device, device_id, peaks.threads)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_whole(path, [msgspec.json.encode(Kept(manifest, peaks))])
    except OSError as error:
        tell(
            f"cannot keep the peaks in {path.parent} ({cause(error)}): the next run measures "
            "them again (XDG_CACHE_HOME names another folder)"
        )


def changes(manifest: Manifest, device: str, device_id: str, threads: int | None) -> list[str]:
    """What differs here from the most similar state of this machine that ceilings are kept of.

    In words; nothing where none are kept.
    """
    now = _facts(manifest, device)
    found = [
        _differences(_facts(kept.manifest, kept.peaks.device), now)
        for kept in _others(manifest, device_id, threads)
    ]
    return min(filter(None, found), key=len, default=[])


def _others(manifest: Manifest, device_id: str, threads: int | None) -> Iterator[Kept]:
    """What is kept of a device at so many threads, the newest first."""
    stem = re.escape(_stem(manifest, device_id, threads))
    named = re.compile(stem + r"-[0-9a-f]{12}\.json")
    with suppress(OSError):
        paths = [path for path in folder().iterdir() if named.fullmatch(path.name)]
        paths.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        for path in paths[:_LOOKED_AT]:
            with suppress(OSError, msgspec.DecodeError):
                yield _read(path)


def _differences(then: dict[str, object], now: dict[str, object]) -> list[str]:
    return [
        f"{name} was {_word(then.get(name))} and is {_word(now.get(name))}"
        for name in {**now, **then}
        if then.get(name) != now.get(name)
    ]


def _word(fact: object) -> str:
    return "not set" if fact is None else str(fact)


def _facts(manifest: Manifest, device: str) -> dict[str, object]:
    """What ceilings depend on, by name."""
    flags = ("float32_matmul_precision", "cuda_matmul_allow_tf32", "cudnn_allow_tf32")
    return {
        "node": manifest.node,
        "device": manifest.device_name(device),
        **_of_gpu(manifest.gpu(device)),
        "cores": manifest.usable_cores,
        "quota": manifest.cpu_quota,
        "heap": manifest.heap,
        "gcbench": manifest.gcbench_version,
        "torch": manifest.versions.get("torch"),
        **{name: manifest.flags.get(name) for name in (*flags, "cuda", "cpu_capability")},
        **{name: value for name, value in manifest.variables.items() if _TELLING.match(name)},
    }


def _of_gpu(gpu: Gpu | None) -> dict[str, object]:
    known = Gpu() if gpu is None else gpu
    return {"driver": known.driver, "power limit": known.power_limit_w, "MIG mode": known.mig}


def _path(manifest: Manifest, device: str, device_id: str, threads: int | None) -> Path:
    facts = msgspec.json.encode([FORM, sorted(_facts(manifest, device).items())])
    state = hashlib.sha256(facts).hexdigest()[:12]
    return folder() / f"{_stem(manifest, device_id, threads)}-{state}.json"


def _stem(manifest: Manifest, device_id: str, threads: int | None) -> str:
    # a cache folder may be shared by many machines
    name = f"{manifest.node}-{device_id}" + ("" if threads is None else f"-{threads}t")
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)


def _read(path: Path) -> Kept:
    return msgspec.json.decode(path.read_bytes(), type=Kept)
