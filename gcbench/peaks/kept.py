"""Ceilings of this machine, kept between runs in the user's cache folder; no torch."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import platformdirs

from gcbench.errors import cause
from gcbench.files import replace_whole
from gcbench.records import Gpu, Manifest, Peaks

Tell = Callable[[str], None]


# variables that change how fast products and copies are; others are folders and the like
_TELLING = re.compile(r"OMP|MKL|KMP|GOMP|DNNL|ONEDNN|OPENBLAS|CUBLAS|NVIDIA_TF32|MALLOC|LD_PRELOAD")


# torch's switches that do so, as torch has them
_USUAL: dict[str, object] = {
    "float32_matmul_precision": "highest",
    "cuda_matmul_allow_tf32": False,
    "cudnn_allow_tf32": True,
}


@dataclass(frozen=True)
class Kept:
    """Ceilings, and the machine as it was when they were measured."""

    manifest: Manifest
    peaks: Peaks


def folder() -> Path:
    """Where ceilings are kept: the user's cache folder."""
    return platformdirs.user_cache_path("gcbench") / "peaks"


def find(
    manifest: Manifest, device: str, device_id: str, threads: int | None, tell: Tell
) -> Peaks | None:
    """Read the ceilings of a device, where they are of this machine as it is now.

    `tell` gets a sentence where they are not, or cannot be read.
    """
    path = _path(manifest, device_id, threads)
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=Kept)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, msgspec.DecodeError) as error:
        why = cause(error) if isinstance(error, OSError) else error
        tell(f"the peaks in {path} cannot be read ({why}): measuring them anew")
        return None
    changed = mismatches(kept.manifest, manifest, kept.peaks.device, device)
    if changed:
        tell(f"the peaks in {path} are stale ({'; '.join(changed)}): measuring them anew")
        return None
    # the same card may have another number now, which depends on what a process may see
    return replace(kept.peaks, device=device)


def keep(manifest: Manifest, peaks: Peaks, device_id: str, tell: Tell) -> None:
    """Write ceilings, whole or not at all. Where that fails, `tell` gets a sentence."""
    path = _path(manifest, device_id, peaks.threads)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_whole(path, [msgspec.json.encode(Kept(manifest, peaks))])
    except OSError as error:
        tell(
            f"cannot keep the peaks in {path.parent} ({cause(error)}): the next run measures "
            "them again (XDG_CACHE_HOME names another folder)"
        )


def mismatches(old: Manifest, new: Manifest, then: str, now: str) -> list[str]:
    """What changed in a machine that its ceilings depend on, in words.

    `then` and `now` name the device in the old and in the new description.
    """
    before, after = _facts(old, then), _facts(new, now)
    return [
        f"{name} was {before.get(name, 'unset')} and is {after.get(name, 'unset')}"
        for name in dict.fromkeys((*after, *before))
        if before.get(name) != after.get(name)
    ]


def _facts(manifest: Manifest, device: str) -> dict[str, object]:
    return {
        "node": manifest.node,
        "device": manifest.device_name(device),
        **_of_gpu(manifest.gpu(device)),
        "cores": manifest.usable_cores,
        "quota": manifest.cpu_quota,
        "gcbench": manifest.gcbench_version,
        "torch": manifest.versions.get("torch"),
        **{name: manifest.flags.get(name) for name in ("cuda", "cpu_capability")},
        **_USUAL,
        **_settings(manifest),
    }


def _settings(manifest: Manifest) -> dict[str, object]:
    """What a run is started with that changes how fast products and copies are."""
    switches: dict[str, object] = {name: manifest.flags.get(name) for name in _USUAL}
    return switches | {k: v for k, v in manifest.variables.items() if _TELLING.match(k)}


def _of_gpu(gpu: Gpu | None) -> dict[str, object]:
    known = Gpu() if gpu is None else gpu
    return {"driver": known.driver, "power limit": known.power_limit_w, "MIG mode": known.mig}


def _path(manifest: Manifest, device_id: str, threads: int | None) -> Path:
    # a cache folder may be shared by many machines
    name = f"{manifest.node}-{device_id}" + ("" if threads is None else f"-{threads}t")
    # whoever is kept to some of the cores has ceilings of its own
    if manifest.usable_cores < manifest.cores:
        name += f"-{manifest.usable_cores}of{manifest.cores}"
    # and so has each choice of settings: two in turn do not measure anew each time
    settings = _settings(manifest)
    if settings != _USUAL:
        name += f"-{hashlib.sha256(repr(sorted(settings.items())).encode()).hexdigest()[:8]}"
    return folder() / f"{re.sub(r'[^A-Za-z0-9._-]', '_', name)}.json"
