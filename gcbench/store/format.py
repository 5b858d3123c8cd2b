"""What one line of a run's file means, in every version of the schema.

Fields that a version does not know are passed over, and those that it lacks have their defaults.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from gcbench.errors import RunError
from gcbench.records import (
    SCHEMA,
    Arm,
    ComparisonRecord,
    Manifest,
    Measurement,
    Outline,
    Replicate,
    Role,
    Status,
    StoppedBy,
    Timing,
    identity,
)
from gcbench.spec.cases import Case
from gcbench.store.soundness import is_sound

Log = Callable[[str], None]
Kind = TypeVar("Kind")


def encoded(record: Manifest | ComparisonRecord) -> bytes:
    """Write a record as one line. What no UTF-8 can hold becomes a question mark."""
    try:
        return msgspec.json.encode(record) + b"\n"
    except UnicodeEncodeError:
        return msgspec.json.encode(_clean(msgspec.to_builtins(record))) + b"\n"


def manifest_of(line: bytes) -> Manifest:
    """Read the first line of a run's file. Raises RunError with the reason alone."""
    manifest = _decoded(line, Manifest, "manifest")
    if manifest.schema not in _RECORDS:
        raise RunError(
            f"has schema {manifest.schema}, and this gcbench reads {min(_RECORDS)} to {SCHEMA}: "
            "use the version that wrote it"
        )
    return manifest


def record_of(line: bytes, schema: int) -> ComparisonRecord:
    """Read the line of a comparison. Raises RunError with the reason alone."""
    kind, upgraded = _RECORDS[schema]
    record = upgraded(_decoded(line, kind, "comparison"))
    if not is_sound(record):
        raise RunError("is not a comparison of a gcbench run: its parts do not fit together")
    return record


def outline_of(line: bytes) -> Outline:
    """Read a comparison without its samples, far faster. Raises RunError with the reason alone."""
    lean = _decoded(line, _Lean, "comparison")
    keys = tuple(identity(each.case.key, lean.kind) for each in lean.measurements)
    return Outline(keys, tuple(each.status for each in lean.measurements), lean.place)


def _decoded(line: bytes, kind: type[Kind], what: str) -> Kind:
    try:
        return msgspec.json.decode(line, type=kind)
    except (ValueError, RecursionError) as error:
        raise RunError(f"is not a {what} of a gcbench run: {error}") from error


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    return [_clean(item) for item in value] if isinstance(value, list | tuple) else value


class _LeanMeasurement(msgspec.Struct):
    case: Case
    status: Status = "ok"


class _Lean(msgspec.Struct):
    """A comparison of any schema; what is not named here is passed over."""

    measurements: tuple[_LeanMeasurement, ...]
    precision: float
    kind: str | None = None
    place: int = 0


@dataclass(frozen=True, slots=True)
class _Arm1:
    role: Role
    case: int | None
    group: int
    calls: int


@dataclass(frozen=True, slots=True)
class _Timing1:
    arms: tuple[_Arm1, ...]
    replicates: tuple[Replicate, ...]
    stopped_by: StoppedBy


@dataclass(frozen=True, slots=True)
class _Record1:
    """Schema 1: one baseline for all cases, one process, a copy arm of no case."""

    measurements: tuple[Measurement, ...]
    baseline: int
    precision: float
    timing: _Timing1 | None

    def upgraded(self) -> ComparisonRecord:
        return ComparisonRecord(
            self.measurements,
            (self.baseline,) * len(self.measurements),
            self.precision,
            () if self.timing is None else (self._timing(self.timing),),
        )

    def _timing(self, old: _Timing1) -> Timing:
        arms = tuple(Arm(a.role, a.case or 0, a.group, a.calls) for a in old.arms)
        return Timing(arms, old.replicates, old.stopped_by)


def _as_it_is(record: ComparisonRecord) -> ComparisonRecord:
    return record


# schema: what a line holds there, and how that becomes today's record
_RECORDS: dict[int, tuple[type[Any], Callable[[Any], ComparisonRecord]]] = {
    1: (_Record1, _Record1.upgraded),
    2: (ComparisonRecord, _as_it_is),
    SCHEMA: (ComparisonRecord, _as_it_is),
}
