# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The results: one JSON line per run in ``docs/results/<data set>.jsonl``.

A line is a training (``kind`` ``"run"``) or the measurement of its cost (``"cost"``). One of a row and
a seed replaces an earlier one of the same CPU: another kind of CPU has other last bits in its sums, so its trainings
end elsewhere, and runs are compared with those of their own. What code a line's run was made with is in ``code.json``: for each
``code`` of a line the files that ran, with their hashes. ``same_as`` of a line lists earlier codes that gave
the very same weights, and ``equal`` names a newer one that gave the same first steps (:mod:`.first_steps`).
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmsemi.errors import DataError
from mmsemi.utils.files import write_beside
from mmsemi.utils.processes import cpu_fields, cpu_names

from .code import ROOT, code_hash, counted
from .rows import second_seed

FOLDER = ROOT / "docs" / "results"
CODE = "code.json"
#: Kinds whose weights came out the same, bit for bit.
ONE_KIND = {
    "AMD EPYC 23/49": "AMD EPYC",
    "AMD EPYC 25/1": "AMD EPYC",
    "Intel(R) Xeon(R) Processor 6/207": "Intel(R) Xeon(R) Processor",
}
#: Cores that other processes keep busy up to which a measurement of cost has nothing beside it.
IDLE = 0.1

#: Lines by :func:`key`.
Records = dict[tuple[str, str, int], dict[str, Any]]


def key(record: Mapping[str, Any]) -> tuple[str, str, int]:
    """What a line is the result of: kind, row and seed."""
    return record["kind"], record["method"], record["seed"]


def this_cpu() -> str:
    """The kind of CPU of this machine: its name, family and model.

    The name alone does not do: under that of an AMD EPYC one machine took half the time of another, and its sums
    had other last bits.
    """
    model = "/".join(field[0] for field in map(cpu_fields, ("cpu family", "model")) if field)
    kind = f"{cpu_names()[0]} {model}".rstrip()
    return ONE_KIND.get(kind, kind)


def read_all_results(data: str, folder: Path | None = None) -> dict[str, Records]:
    """The lines of a data set: for each kind of CPU, that with the most lines first, by :func:`key`.

    Raises:
        DataError: A line is no result.
    """
    path = (folder or FOLDER) / f"{data}.jsonl"
    found: dict[str, Records] = {}
    lines = path.read_text().splitlines() if path.is_file() else []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            found.setdefault(record["machine"]["cpu"], {})[key(record)] = record
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} line {number} is no result: {error!r}") from None
    return dict(sorted(found.items(), key=lambda pair: -len(pair[1])))


def read_results(data: str, folder: Path | None = None) -> Records:
    """The lines of a data set of this machine's kind of CPU.

    Raises:
        DataError: A line is no result.
    """
    return read_all_results(data, folder).get(this_cpu(), {})


def has_other_start(record: Mapping, records: Mapping[tuple[str, str, int], Mapping]) -> bool:
    """Whether a run began with other weights than its start, or that of its second network, has now."""
    seeds = dict(start_weights=record["seed"], second_start_weights=second_seed(record["seed"]))
    for name, seed in seeds.items():
        start = records.get(("run", record["start"], seed))
        if name in record and (start is None or start["weights"] != record[name]):
            return True
    return False


def code_of(record: Mapping, records: Mapping[tuple[str, str, int], Mapping]) -> str:
    """The code that a run stands for.

    Its own, or a newer one whose first steps are the same, or by which another seed of its row, run again, has come
    to the same weights: what changed between the two changes no number of the row.
    """
    if "equal" in record:
        return record["equal"]["code"]
    for (kind, method, _), other in records.items():
        is_of_row = (kind, method) == (record["kind"], record["method"])
        if is_of_row and record["code"] in other.get("same_as", ()):
            return other["code"]
    return record["code"]


def read_code(folder: Path | None = None) -> dict[str, dict[str, str]]:
    """The files of each ``code``, by name, with their hashes."""
    path = (folder or FOLDER) / CODE
    return json.loads(path.read_text()) if path.is_file() else {}


def add_result(
    record: dict[str, Any],
    files: Mapping[str, str],
    folder: Path | None = None,
    equal_files: Mapping[str, str] | None = None,
) -> None:
    """Add a line, in place of an earlier one of the same key and CPU; several processes may do so at once.

    Args:
        record: With ``data``, ``kind``, ``method``, ``seed``, ``machine``; ``code`` is set, and that of ``equal``.
        files: That have run, with their hashes.
        folder: Of the results.
        equal_files: Those of the code that ``equal`` is about.
    """
    folder = folder or FOLDER
    files, equal_files = counted(files), counted(equal_files or {})
    record["code"] = code_hash(files)
    if equal_files:
        record["equal"] = dict(record["equal"], code=code_hash(equal_files))
    with _locked(folder):
        found = read_all_results(record["data"], folder)
        found.setdefault(record["machine"]["cpu"], {})[key(record)] = record
        codes = {**read_code(folder), record["code"]: files, code_hash(equal_files): equal_files}
        others = {path.stem for path in folder.glob("*.jsonl")} - {record["data"]}
        every = [found, *(read_all_results(data, folder) for data in others)]
        lines = [one for cpus in every for of_cpu in cpus.values() for one in of_cpu.values()]
        used = {one["code"] for line in lines for one in (line, line.get("equal")) if one}
        codes = {code: files for code, files in codes.items() if code in used}
        # The code first: an interruption in between leaves a line too many there, and none without.
        text = json.dumps(codes, indent=0, sort_keys=True) + "\n"
        write_beside(folder / CODE, lambda file: file.write(text.encode()))
        places = sorted((place, cpu) for cpu, lines in found.items() for place in lines)
        lines = "".join(json.dumps(found[cpu][place]) + "\n" for place, cpu in places)
        write_beside(folder / f"{record['data']}.jsonl", lambda file: file.write(lines.encode()))


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One writer of a folder at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
