# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The tables in ``docs/results``, made from the results alone: ``make tables``.

    python -m runs.table nuclei      # shows the tables of a data set

What is compared is stated in each table's head. A row of other settings than today's, of another start
than the stored one, or of other code than most rows of the table, is marked; code of which one seed has given
the same weights again with newer code counts as that. A row has the runs of one kind of CPU, and its gain is that over
baselines of the same kind; in a table of several kinds each row names its own, and the start and the baselines stand
there for each kind.
"""

from __future__ import annotations

import re
import statistics
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from mmsemi.utils.markdown import format_table

from .results import IDLE, Records, code_of, has_other_start, read_all_results, read_code
from .rows import PROTOCOLS, Protocol, Row

#: Kinds of rows that others are compared with.
REFERENCES = ("start", "baseline", "ceiling")
TIME = "s / iteration"
HEAD = ("method", "mIoU, last", "best", "gain", "share of the gap", "rare classes", "other classes",
        "train - eval mode", TIME, "forward units", "memory, MiB", "seeds")  # fmt: skip


def runs_of(records: Records, row: Row | None) -> dict[int, Mapping]:
    """The trainings of a row by seed."""
    found = {s: r for (kind, name, s), r in records.items()
             if row is not None and kind == "run" and name == row.name}  # fmt: skip
    return dict(sorted(found.items()))


def newest_settings(runs: Mapping[int, Mapping], settings: str | None) -> dict[int, Mapping]:
    """Of runs by seed those of today's settings, where there is one; a mean over two settings would say nothing."""
    of_today = {seed: run for seed, run in runs.items() if run["settings"] == settings}
    return of_today or dict(runs)


def cpu_of(every: Mapping[str, Records], row: Row, settings: str | None) -> str | None:
    """The kind of CPU whose runs a row shows: that with the most seeds of today's settings.

    Args:
        every: The results of a data set by kind of CPU; the first one counts where several have as many.
        row: The row.
        settings: Today's settings hash of the row.

    Returns:
        None if no kind has run it.
    """
    found = {cpu: runs_of(records, row) for cpu, records in every.items()}
    today = {
        cpu: (sum(run["settings"] == settings for run in runs.values()), len(runs))
        for cpu, runs in found.items()
        if runs
    }
    return max(today, key=today.get, default=None)


def todays_runs(
    protocol: Protocol, every: Mapping[str, Records], row: Row | None
) -> tuple[Records, dict[int, Mapping]]:
    """The results of the kind of CPU that a row shows, and the row's trainings of today's settings by seed."""
    if row is None or not any(runs_of(records, row) for records in every.values()):
        return {}, {}
    from .settings import settings_hash  # reads configs, which takes seconds

    settings = settings_hash(protocol, row)
    records = every[cpu_of(every, row, settings)]
    return records, newest_settings(runs_of(records, row), settings)


def mean_difference(first: Mapping[int, Mapping], second: Mapping[int, Mapping]) -> float | None:
    """Mean over the seeds that both have of the difference of the last mIoU."""
    seeds = first.keys() & second.keys()
    values = [first[s]["last"]["mIoU"] - second[s]["last"]["mIoU"] for s in seeds]
    return statistics.fmean(values) if values else None


def best_baseline(protocol: Protocol, table: str, records: Records) -> Row | None:
    """The baseline of a table with the highest mean last mIoU."""
    baselines = [r for r in protocol.rows if r.kind == "baseline" and r.table == table]
    found = {row: runs_of(records, row) for row in baselines}
    means = {row: statistics.fmean(r["last"]["mIoU"] for r in runs.values())
             for row, runs in found.items() if runs}  # fmt: skip
    return max(means, key=means.get, default=None)


def gain_and_share(
    protocol: Protocol, row: Row, runs: Mapping[int, Mapping], records: Records
) -> tuple[float | None, float | None]:
    """Gain of a row over the better baseline, and as a share of the gap to all labels.

    Args:
        protocol: Of the data set.
        row: A method or the ceiling; another row has neither.
        runs: Its trainings by seed.
        records: The results of the same kind of CPU.
    """
    if row.kind not in ("method", "ceiling"):
        return None, None
    baseline = runs_of(records, best_baseline(protocol, row.table, records))
    ceilings = [r for r in protocol.rows if r.table == row.table and r.kind == "ceiling"]
    ceiling = runs_of(records, ceilings[0]) if ceilings else {}
    gain = mean_difference(runs, baseline)
    gap = mean_difference({seed: run for seed, run in ceiling.items() if seed in runs}, baseline)
    return gain, gain / gap if gain is not None and gap is not None and gap > 0 else None


def odd_files(codes: Mapping[str, Mapping[str, str]], used: Sequence[str]) -> set[str]:
    """The codes, of those that runs have used, in which a file is not as it is in most of the runs.

    Args:
        codes: Code -> its files with their hashes.
        used: The code of each run, the oldest run first; among equally many the newest counts.
    """
    votes: dict[str, Counter] = {}
    for code in reversed(used):
        for name, hash in codes.get(code, {}).items():
            votes.setdefault(name, Counter())[hash] += 1
    # most_common keeps the order of insertion, so the newest wins a tie.
    usual = {name: counts.most_common(1)[0][0] for name, counts in votes.items()}
    return {
        code for code in set(used)
        if code not in codes or any(usual[name] != hash for name, hash in codes[code].items())
    }  # fmt: skip


def marks(
    row: Row, found: Sequence[Mapping], records: Records, odd: set[str], settings: Mapping[str, str]
) -> list[str]:
    """What a reader must know about the numbers of a row's runs."""
    texts = []
    if any(record["settings"] != settings[row.name] for record in found):
        texts.append("other settings")
    if any(has_other_start(record, records) for record in found):
        texts.append("other start")
    if any(code_of(record, records) in odd for record in found):
        texts.append("other code")
    if any(record["changed"] for record in found):
        texts.append("code not in a commit")
    return texts


def class_ious(record: Mapping) -> dict[str, float]:
    """IoU of each class in percent, of the network that is deployed."""
    of_class = {name.removeprefix("IoU."): iou for name, iou in record["iou"].items()}
    return {name: iou for name, iou in of_class.items() if "/" not in name}


def mean_of_classes(record: Mapping, protocol: Protocol, *, rare: bool) -> float:
    """Mean IoU of the rare classes or of the others, of the network that is deployed."""
    ious = class_ious(record)
    return statistics.fmean(ious[name] for name in ious if (name in protocol.rare) == rare)


def batch_norm_gap(records: Sequence[Mapping]) -> str:
    """Mean over the runs of what the last validation logged; empty where no run has logged it."""
    gaps = [r["curve"][-1]["batch_norm_gap"] for r in records if "batch_norm_gap" in r["curve"][-1]]
    return f"{statistics.fmean(gaps):+.1f}" if gaps else ""


def spread(values: Sequence[float]) -> str:
    """Mean and sample deviation."""
    deviation = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.2f}{deviation}"


def short_name(cpu: str) -> str:
    """``Intel Xeon`` of ``Intel(R) Xeon(R) Processor``."""
    return re.sub(r"\((R|TM)\)| Processor", "", cpu)


def costs_of(every: Mapping[str, Records]) -> tuple[str | None, dict[str, Mapping]]:
    """The kind of CPU on which most costs of a data set were measured, and what was measured there by row."""
    found = {
        cpu: {name: record for (kind, name, _), record in records.items() if kind == "cost"}
        for cpu, records in every.items()
    }
    cpu = max(found, key=lambda one: len(found[one]), default=None)
    return (short_name(cpu), found[cpu]) if found.get(cpu) else (None, {})


def cost_cells(record: Mapping | None) -> tuple[str, str]:
    """Seconds per iteration and memory of a measurement."""
    if record is None:
        return "", ""
    busy = " (busy)" if record["load"] > IDLE else ""
    return f"{record['time']:.2f}{busy}", f"{record['memory']:,}"


class Line(NamedTuple):
    """What a line of a table shows.

    Attributes:
        row: The row.
        cpu: The kind of CPU; None if the row has not run.
        runs: The row's trainings on it by seed.
        records: All results of that kind.
    """

    row: Row
    cpu: str | None
    runs: Mapping[int, Mapping]
    records: Records


def lines_of(
    rows: Sequence[Row], every: Mapping[str, Records], settings: Mapping[str, str]
) -> list[Line]:
    """The lines of a table: of a method one, of what methods are compared with one for each kind of CPU.

    Args:
        rows: Of the table.
        every: The results of the data set by kind of CPU.
        settings: Today's settings hash of each row, by name.
    """
    cpus = {row: cpu_of(every, row, settings.get(row.name)) for row in rows}
    of_methods = {cpus[row] for row in rows if row.kind not in REFERENCES and cpus[row]}
    lines = []
    for row in rows:
        shown = [cpus[row]]
        if row.kind in REFERENCES and of_methods:
            shown = [cpu for cpu in every if cpu in of_methods and runs_of(every[cpu], row)]
        for cpu in shown or [None]:
            records = every.get(cpu, {})
            runs = newest_settings(runs_of(records, row), settings.get(row.name))
            lines.append(Line(row, cpu, runs, records))
    return lines


def data_table(
    data: str, table: str, settings: Mapping[str, str] | None = None, folder: Path | None = None
) -> str:
    """A table of a data set, without the columns in which no row has anything.

    Args:
        data: Its name.
        table: Of those that rows name, e.g. ``continued``.
        settings: Today's settings hash of each row, by name; read from the configs if None.
        folder: Of the results, by default docs/results.
    """
    protocol, every = PROTOCOLS[data], read_all_results(data, folder)
    rows = [row for row in protocol.rows if row.table == table]
    if settings is None:
        from .settings import settings_hash

        names = {name for records in every.values() for _, name, _ in records}
        settings = {row.name: settings_hash(protocol, row) for row in rows if row.name in names}
    lines = lines_of(rows, every, settings)
    found = sorted((run for line in lines for run in line.runs.values()), key=lambda r: r["date"])
    codes = [code_of(run, every[run["machine"]["cpu"]]) for run in found]
    odd = odd_files(read_code(folder), codes)
    is_mixed = len({line.cpu for line in lines if line.runs}) > 1
    cost_cpu, costs = costs_of(every)
    head = [f"{name} ({cost_cpu})" if name == TIME and cost_cpu else name for name in HEAD]
    cells = []
    for row, cpu, runs, records in lines:
        cost = cost_cells(costs.get(row.name))
        if not runs:
            cells.append([row.title, *[""] * 7, cost[0], f"{row.units:g}", cost[1], "none yet"])
            continue
        gain, share = gain_and_share(protocol, row, runs, records)
        notes = marks(row, list(runs.values()), records, odd, settings)
        notes = [*([short_name(cpu)] if is_mixed else []), *notes]
        cells.append([
            row.title + (f" ({', '.join(notes)})" if notes else ""),
            spread([r["last"]["mIoU"] for r in runs.values()]),
            f"{statistics.fmean(r['best']['mIoU'] for r in runs.values()):.2f}",
            "" if gain is None else f"{gain:+.2f}",
            "" if share is None else f"{share:.0%}",
            *(
                f"{statistics.fmean(mean_of_classes(r, protocol, rare=rare) for r in runs.values()):.2f}"
                for rare in (True, False)
            ),
            batch_norm_gap(list(runs.values())),
            cost[0],
            f"{row.units:g}",
            cost[1],
            ", ".join(map(str, runs)),
        ])  # fmt: skip
    used = [i for i in range(len(head)) if any(line[i] for line in cells)]
    return format_table([head[i] for i in used], [[line[i] for i in used] for line in cells])


def classes_table(data: str, folder: Path | None = None) -> str:
    """What methods gain by class: the difference in IoU to the better baseline, mean over the seeds that both have.

    Args:
        data: Name of the data set.
        folder: Of the results, by default docs/results.
    """
    protocol, every = PROTOCOLS[data], read_all_results(data, folder)
    names: list[str] = []
    lines = []
    for row in protocol.rows:
        if row.kind not in ("method", "ceiling") or row.table != "continued":
            continue
        records, runs = todays_runs(protocol, every, row)
        baseline = runs_of(records, best_baseline(protocol, row.table, records))
        pairs = [(class_ious(runs[s]), class_ious(baseline[s])) for s in runs if s in baseline]
        if pairs:
            names = names or list(pairs[0][0])
            means = [statistics.fmean(own[n] - other[n] for own, other in pairs) for n in names]
            # Rounded first, and 0 added, so that no "-0.0" shows.
            lines.append([row.title, *(f"{round(mean, 1) + 0.0:+.1f}" for mean in means)])
    return format_table(["method", *names], lines)


def hours_table(folder: Path | None = None) -> str:
    """What a gain took: the methods of all data sets whose cost has been measured, the best of each first.

    Args:
        folder: Of the results, by default docs/results.
    """
    lines = []
    for data, protocol in PROTOCOLS.items():
        every = read_all_results(data, folder)
        costs = costs_of(every)[1]
        found = []
        for row in protocol.rows:
            if row.kind != "method" or row.table != "continued":
                continue
            start, cost = costs.get(row.start), costs.get(row.name)
            if cost is None or start is None:
                continue
            records, by_seed = todays_runs(protocol, every, row)
            gain = gain_and_share(protocol, row, by_seed, records)[0]
            if gain is None:
                continue
            seed, run = next(iter(by_seed.items()))
            before = records["run", row.start, seed]["steps"] * (2 if row.has_second else 1)
            seconds = run["steps"] * cost["time"] + before * start["time"]
            labels, others = run["labels"]["labeled"], run["labels"]["unlabeled"]
            steps = f"{before} + {run['steps']}"
            cells = [
                data,
                f"{labels} + {others}",
                row.title,
                f"{gain:+.2f}",
                steps,
                f"{seconds / 60:.0f}",
            ]
            found.append((gain, cells))
        lines += [cells for _, cells in sorted(found, key=lambda pair: -pair[0])]
    head = [
        "data",
        "labelled + unlabelled",
        "method",
        "gain",
        "steps, supervised + with it",
        "minutes",
    ]
    return format_table(head, lines)


def main() -> None:
    """Show the tables of the data sets on the command line, or of all."""
    for data in sys.argv[1:] or PROTOCOLS:
        for table in dict.fromkeys(row.table for row in PROTOCOLS[data].rows):
            print(f"{data}, {table}\n\n{data_table(data, table)}")


if __name__ == "__main__":
    main()
