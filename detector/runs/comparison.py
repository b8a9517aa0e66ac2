"""Runs side by side: what they reached, how sure that is, and what it cost."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from glob import glob
from pathlib import Path

import numpy as np
from jaxtyping import Float

from detector.classification.evaluation.answers import Answers
from detector.errors import InputError
from detector.evaluation.analysis import rounded
from detector.evaluation.bootstrap import bootstrap
from detector.evaluation.crowding import CROWD_SCORES, crowd_scores
from detector.evaluation.matches import Matches
from detector.runs.incidental import INCIDENTAL

NEEDED = ("options", "seed", "data", "split", "images", "parameters", "multiply_adds", "peak_megabytes",
          "train_seconds", "metrics")
"""Of a record, whatever its task."""
OF_DETECTION = ("decoder", "boxes_per_image", "crowding")
"""Of a record of a detector, besides."""


@dataclass
class Run:
    """One finished run."""

    folder: Path
    record: dict
    outcome: Matches | Answers
    """Of its test: of a detector, of a classifier."""

    @property
    def measure(self) -> str:
        """What it is judged by."""
        return "AP" if isinstance(self.outcome, Matches) else "accuracy"

    @classmethod
    def read(cls, folder: Path) -> Run:
        """What a run has left.

        Raises:
            InputError: it is not finished, something is broken, or an older version wrote it.
        """
        file = folder / "record.json"
        if not file.is_file():
            raise InputError(f"{folder} has no record.json: not finished; the command that made it goes on with it")
        try:
            record = json.loads(file.read_text())
        except ValueError as error:
            line = getattr(error, "lineno", 1)
            raise InputError(f"{file}, line {line}: not JSON ({error}); test the run again") from None
        classifies = record.get("task") == "classification"
        lacking = [key for key in (*NEEDED, *(() if classifies else OF_DETECTION)) if key not in record]
        if lacking:
            raise InputError(f"{file} lacks {', '.join(lacking)}: it is of an older version; test its run again")
        if classifies:
            return cls(folder, record, Answers.load(folder / "answers.npz"))
        if record["metrics"]["AP"] is None:
            raise InputError(f"{file} has no AP: the images it was tested on hold no object; give others")
        return cls(folder, record, Matches.load(folder / "matches_decoder.npz"))

    @cached_property
    def options(self) -> dict[str, str]:
        """What it was asked to be on the command line, without its seed, what is incidental, and spaces."""
        pairs = (option.replace(" ", "").lstrip("+~").partition("=")[::2] for option in self.record["options"])
        return {key: value for key, value in pairs if key not in ("seed", *INCIDENTAL)}

    @cached_property
    def curve(self) -> list[tuple[int, float]]:
        """Epochs trained and validation AP (or accuracy), over all starts of the run."""
        points: dict[int, float] = {}
        for file in self.folder.glob("csv*/metrics.csv"):
            with file.open() as lines:
                rows = [row for row in csv.DictReader(lines) if row.get(f"val/{self.measure}")]
            points |= {int(row["epoch"]) + 1: float(row[f"val/{self.measure}"]) for row in rows}
        return sorted(points.items())


def gather(pattern: str) -> tuple[dict[str, list[Run]], list[str]]:
    """Finished runs under a folder, or under all that a pattern names, by the options in which they differ (by the
    values alone where it is one option, and none of the data); runs of one row differ in their seed alone.

    Returns:
        The rows, and a sentence about every run that was left out: unfinished, broken, or a second one of equal options
        and seed.

    Raises:
        InputError: there are none, they are of both tasks, or rows without other options of the data were tested on
            different images.
    """
    roots = [Path(pattern)] if Path(pattern).is_dir() else map(Path, glob(pattern))
    files = {file for root in roots for name in ("record.json", "config.yaml") for file in root.rglob(name)}
    runs, left_out = [], []
    for folder in sorted({file.parent for file in files if file.parent.name != ".hydra"}):
        try:
            runs.append(Run.read(folder))
        except InputError as error:
            left_out.append(str(error))
    if not runs:
        reasons = "; ".join(["", *left_out])
        raise InputError(f"no finished runs under {pattern!r}{reasons}; give a folder of run directories or a pattern")
    if len({run.measure for run in runs}) > 1:
        of = {run.measure: run.folder for run in runs}
        raise InputError(f"{of['AP']} is of a detector, {of['accuracy']} of a classifier; compare runs of one task")
    asked = [set(run.options.items()) for run in runs]
    common = set.intersection(*asked)
    keys = {key for options in asked for key, _ in options - common}
    bare = len(keys) == 1 and not of_data(*keys)
    rows: dict[str, list[Run]] = {}
    groups: dict[str, list[Run]] = {}
    for run, options in zip(runs, asked):
        differing = sorted(options - common)
        own = run.record["decoder" if run.measure == "AP" else "model"]
        name = " ".join(value if bare else f"{key}={value}" for key, value in differing) or own
        groups.setdefault(of_data(name), []).append(run)
        of_row = rows.setdefault(name, [])
        same = [other.folder for other in of_row if other.record["seed"] == run.record["seed"]]
        if same:
            left_out.append(f"{run.folder} has the options and the seed of {same[0]}, which is kept")
        else:
            of_row.append(run)
    for name, group in groups.items():
        _require_same_images(group, f"runs under {pattern!r}{name and f' with {name}'}")
    return rows, left_out


def _require_same_images(runs: list[Run], which: str) -> None:
    """Raise `InputError` where runs were tested on different images, as their fingerprints say, or, where a record of
    before there were any has none, the data's name, the split and the number of images."""
    prints = [run.record.get("dataset", {}).get("fingerprint") for run in runs]
    tested = [
        f"{run.record['data'].removeprefix('compare_')}, {run.record['split']} ({len(run.outcome.image_ids)} images)"
        for run in runs
    ]
    if len({*prints} - {None}) > 1 or (None in prints and len({*tested}) > 1):
        found = sorted({f"{one}, fingerprint {mark}" if mark else one for one, mark in zip(tested, prints)})
        raise InputError(f"{which} were tested on different data: {'; '.join(found)}; give runs of the same")


def resampled(matches: Sequence[Matches], resamples: int, seed: int) -> Float[np.ndarray, "R T"]:
    """The AP of every resample of the test images at every IoU threshold, the mean over runs; equal seeds draw the same
    of equally many images."""
    weights = bootstrap(len(matches[0].image_ids), resamples, seed)
    return np.mean([one.average_precision(weights) for one in matches], axis=0)


def interval(differences: Float[np.ndarray, "R"]) -> dict[str, float]:
    """Of a difference, by those of its resamples: the bounds of its 95 % interval, and p (see `table`)."""
    low, high = np.percentile(differences, [2.5, 97.5]).tolist()
    beyond = 1 + min((differences <= 0).sum(), (differences >= 0).sum())
    return {"difference_low": low, "difference_high": high, "p": float(min(1.0, 2 * beyond / (1 + len(differences))))}


def table(rows: dict[str, list[Run]], *, baseline: str | None, resamples: int, seed: int) -> list[dict]:
    """A row for each name, best AP (of classifiers: accuracy) first, on each set of data by itself.

    Its interval is the 95 % percentile interval of the bootstrap over test images (Efron 1979) of the mean over
    seeds. The difference from the baseline is taken resample by resample, the same images for both (paired); p is twice
    the smaller share of resamples on either side of zero, the sample itself counted with them: it is never 0 (Davison
    and Hinkley 1997, chapter 4).

    AP counts every predicted box, however many; `AP_best` (at top n+1) those alone that have the highest scores in
    their image, one more than it holds objects: how a decoder that predicts a box for every proposal compares with one
    that stops by itself.

    Args:
        rows: of `gather`.
        baseline: the name of a row, or None. Where options of the data are among the names, the rest of it: each row is
            then compared with the baseline on the same data.
        resamples: number of resamples; 0: no intervals.
        seed: of the resamples.

    Raises:
        InputError: no row has the baseline's name.
    """
    bases = {of_data(name): name for name in rows if baseline in (name, besides_data(name))}
    if baseline is not None and not bases:
        raise InputError(f"no row {baseline!r}; there are {', '.join(rows)}")
    measure = next(runs[0].measure for runs in rows.values())
    of_resamples = {name: _of_resamples(runs, resamples, seed) for name, runs in rows.items()} if resamples else {}
    made = []
    for name, runs in rows.items():
        records = [run.record for run in runs]
        values = [record["metrics"][measure] for record in records]
        row = {
            "name": name, "seeds": len(runs), measure: mean(values),
            f"{measure}_std": float(np.std(values, ddof=1)) if len(runs) > 1 else None,
            **(_of_detectors(runs) if measure == "AP" else _of_classifiers(runs)),
            "parameters": records[0]["parameters"] / 1e6,
            "multiply_adds": mean(one["multiply_adds"] and one["multiply_adds"] / 1e9 for one in records),
            "minutes": mean(one["train_seconds"] / 60 for one in records),
            "megabytes": mean(one["peak_megabytes"] for one in records),
        }
        if resamples:
            row[f"{measure}_low"], row[f"{measure}_high"] = np.percentile(of_resamples[name], [2.5, 97.5]).tolist()
        base = bases.get(of_data(name), name)
        if base != name:
            row["difference"] = row[measure] - mean(run.record["metrics"][measure] for run in rows[base])
            if resamples:
                row |= interval(of_resamples[name] - of_resamples[base])
        made.append(row)
    return sorted(made, key=lambda row: (of_data(row["name"]), -row[measure]))


def _of_resamples(runs: list[Run], resamples: int, seed: int) -> Float[np.ndarray, "R"]:
    """What each resample of the test images gives, the mean over runs."""
    of_detectors = [run.outcome for run in runs if isinstance(run.outcome, Matches)]
    if of_detectors:
        return resampled(of_detectors, resamples, seed).mean(1)
    of_classifiers = [run.outcome for run in runs if isinstance(run.outcome, Answers)]
    weights = bootstrap(len(of_classifiers[0].image_ids), resamples, seed)
    return np.mean([one.accuracy(weights) for one in of_classifiers], axis=0)


def _of_detectors(runs: list[Run]) -> dict:
    records, metrics = [run.record for run in runs], [run.record["metrics"] for run in runs]
    matches = [run.outcome for run in runs if isinstance(run.outcome, Matches)]
    crowds = [rounded(crowd_scores(one)) for one in matches]  # records of before have none
    return {
        "AP50": mean(one["AP50"] for one in metrics), "AP75": mean(one["AP75"] for one in metrics),
        **{key: mean(one[key] for one in crowds) for key in CROWD_SCORES},
        "AP_best": mean(one.best(1).average_precision().mean() for one in matches),
        **{key: mean(one["crowding"]["decoder"][key] for one in records)
           for key in ("recall_apart", "recall_overlapping")},
        "boxes": mean(one["boxes_per_image"] for one in records),
    }


def _of_classifiers(runs: list[Run]) -> dict:
    return {
        "macro_accuracy": mean(run.record["metrics"]["macro_accuracy"] for run in runs),
        "thousand_parameters": runs[0].record["parameters"] / 1e3,
    }


def of_data(name: str) -> str:
    """The options of the data in a row's name."""
    return " ".join(word for word in name.split(" ") if word.startswith("data."))


def besides_data(name: str) -> str:
    """The other words of a row's name."""
    return " ".join(word for word in name.split(" ") if not word.startswith("data."))


def mean(values: Iterable[float | None]) -> float | None:
    """Of those that are known; None where none is."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
