# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The tables in ``docs/results``, made from the results alone: ``make tables``.

    python -m runs.table nuclei      # shows the tables of a data set

What is compared is stated in each table's head. A row of other settings than today's, of another start
than the stored one, or of other code than most rows of the table, is marked; code of which one seed has given
the same weights again with newer code counts as that.
"""

from __future__ import annotations

import statistics
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmsemi.utils.markdown import format_table

from .results import IDLE, code_of, has_other_start, read_code, read_results
from .rows import PROTOCOLS, Protocol, Row

Records = Mapping[tuple[str, str, int], Mapping]
HEAD = ("method", "mIoU, last", "best", "gain", "share of the gap", "rare classes", "train - eval mode",
        "s / iteration", "forward units", "memory, MiB", "seeds")  # fmt: skip


def runs_of(records: Records, row: Row | None) -> dict[int, Mapping]:
    """The trainings of a row by seed."""
    found = {s: r for (kind, name, s), r in records.items()
             if row is not None and kind == "run" and name == row.name}  # fmt: skip
    return dict(sorted(found.items()))


def newest_settings(runs: Mapping[int, Mapping], settings: str | None) -> dict[int, Mapping]:
    """Of runs by seed those of today's settings, where there is one; a mean over two settings would say nothing."""
    of_today = {seed: run for seed, run in runs.items() if run["settings"] == settings}
    return of_today or dict(runs)


def todays_runs(protocol: Protocol, records: Records, row: Row | None) -> dict[int, Mapping]:
    """The trainings of a row by seed, those of today's settings where there is one."""
    found = runs_of(records, row)
    if not found:
        return {}
    from .settings import settings_hash  # reads configs, which takes seconds

    return newest_settings(found, settings_hash(protocol, row))


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


def rare_mean(record: Mapping, protocol: Protocol) -> float:
    """Mean IoU of the rare classes, of the network that is deployed."""
    return statistics.fmean(record["iou"].get(f"IoU.{name}", 0.0) for name in protocol.rare)


def batch_norm_gap(records: Sequence[Mapping]) -> str:
    """Mean over the runs of what the last validation logged; empty where no run has logged it."""
    gaps = [r["curve"][-1]["batch_norm_gap"] for r in records if "batch_norm_gap" in r["curve"][-1]]
    return f"{statistics.fmean(gaps):+.1f}" if gaps else ""


def spread(values: Sequence[float]) -> str:
    """Mean and sample deviation."""
    deviation = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.2f}{deviation}"


def cost_cells(record: Mapping | None) -> tuple[str, str]:
    """Seconds per iteration and memory of a measurement."""
    if record is None:
        return "", ""
    busy = " (busy)" if record["load"] > IDLE else ""
    return f"{record['time']:.2f}{busy}", f"{record['memory']:,}"


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
    protocol = PROTOCOLS[data]
    records = read_results(data, folder)
    rows = [row for row in protocol.rows if row.table == table]
    found = {row: runs_of(records, row) for row in rows}
    if settings is None:
        from .settings import settings_hash

        settings = {row.name: settings_hash(protocol, row) for row in rows if found[row]}
    found = {row: newest_settings(runs, settings.get(row.name)) for row, runs in found.items()}
    runs = sorted(
        (r for by_seed in found.values() for r in by_seed.values()), key=lambda r: r["date"]
    )
    odd = odd_files(read_code(folder), [code_of(run, records) for run in runs])
    baseline = best_baseline(protocol, table, records)
    ceiling = runs_of(records, next((row for row in rows if row.kind == "ceiling"), None))
    lines = []
    for row in rows:
        by_seed = found[row]
        cost = cost_cells(records.get(("cost", row.name, protocol.seeds[0])))
        if not by_seed:
            lines.append([row.title, *[""] * 6, cost[0], f"{row.units:g}", cost[1], "none yet"])
            continue
        gain = share = None
        if row.kind in ("method", "ceiling"):
            gain = mean_difference(by_seed, runs_of(records, baseline))
            gap = mean_difference(
                {s: ceiling[s] for s in ceiling if s in by_seed}, runs_of(records, baseline)
            )
            share = gain / gap if gain is not None and gap is not None and gap > 0 else None
        notes = marks(row, list(by_seed.values()), records, odd, settings)
        lines.append([
            row.title + (f" ({', '.join(notes)})" if notes else ""),
            spread([r["last"]["mIoU"] for r in by_seed.values()]),
            f"{statistics.fmean(r['best']['mIoU'] for r in by_seed.values()):.2f}",
            "" if gain is None else f"{gain:+.2f}",
            "" if share is None else f"{share:.0%}",
            f"{statistics.fmean(rare_mean(r, protocol) for r in by_seed.values()):.2f}",
            batch_norm_gap(list(by_seed.values())),
            cost[0],
            f"{row.units:g}",
            cost[1],
            ", ".join(map(str, by_seed)),
        ])  # fmt: skip
    used = [i for i in range(len(HEAD)) if any(line[i] for line in lines)]
    return format_table([HEAD[i] for i in used], [[line[i] for i in used] for line in lines])


def hours_table(folder: Path | None = None) -> str:
    """What a gain took: the methods of all data sets whose cost has been measured, the best of each first.

    Args:
        folder: Of the results, by default docs/results.
    """
    lines = []
    for data, protocol in PROTOCOLS.items():
        records = read_results(data, folder)
        baseline = runs_of(records, best_baseline(protocol, "continued", records))
        found = []
        for row in protocol.rows:
            by_seed = todays_runs(protocol, records, row)
            start = ("cost", row.start, protocol.seeds[0])
            cost = records.get(("cost", row.name, protocol.seeds[0]))
            gain = mean_difference(by_seed, baseline)
            is_measured = cost is not None and start in records and gain is not None
            if row.kind != "method" or row.table != "continued" or not is_measured:
                continue
            seed, run = next(iter(by_seed.items()))
            before = records["run", row.start, seed]["steps"] * (2 if row.has_second else 1)
            seconds = run["steps"] * cost["time"] + before * records[start]["time"]
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
