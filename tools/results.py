"""Write the tables of README.md and results/README.md from the runs' records: python tools/results.py"""

import json
from pathlib import Path
from statistics import mean

from detector.commands.suppression_comparison import NMS
from detector.runs.comparison_table import markdown, read_csv

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results"
MADE_BY = "made by tools/results.py"
HIGHLIGHTS = ("shapes", "bccd", "voc_frozen")
DATA = {"voc": "VOC07-test, our split"}
"""What records call by the name of their experiment."""


def row(name: str, record: dict, folder: str = "", *, brief: bool = False) -> str:
    """One run as a line of the table, its link relative to `folder`."""
    metrics, reference = record["metrics"], record["reference"]["dense_nms"]
    machine = record["machine"]
    where = machine["accelerator"] if machine["accelerator"] != "none" else f"{machine['threads']} CPU thread(s)"
    data = DATA.get(record["data"], record["data"].removeprefix("compare_"))
    cells = [f"[{name}]({folder}{name}.json)", f"{data}, {record['split']} ({record['images']})", record["decoder"]]
    if not brief:
        cells += [str(record["epochs"]), f"{record['train_seconds'] / 60:.0f} min, {where}"]
    of = [metrics["AP"], metrics["AP50"], *([] if brief else [metrics["AP75"]]), reference["AP"], reference["AP50"]]
    return "| " + " | ".join([*cells, *(f"{value:.3f}" for value in of)]) + " |"


def table(folder: Path = RESULTS) -> str:
    """All single runs, by name."""
    files = sorted(folder.glob("*.json"))
    lines = [
        "| run | data, split (images) | decoder | epochs | training | AP | AP50 | AP75 | dense + NMS AP | AP50 |",
        "| " + " | ".join(["---"] * 5 + ["---:"] * 5) + " |",
        *(row(file.stem, json.loads(file.read_text())) for file in files),
    ]
    return "\n".join(lines)


def suppression(folder: Path = RESULTS) -> str:
    """Decoders beside NMS and soft-NMS at their best on the tested pictures: the records NAME_seed_N of its
    `suppression/`, a line a NAME.

    For AP and for AP50: the decoder's, and what it is more than the best NMS, soft-NMS and NMS of the boxes that its
    intermediate stage refined have, means over the seeds; with the outermost bounds of the seeds' 95 % intervals. For
    MR^-2 and JI the decoder's, and that of the NMS whose is best.
    """
    families = {"NMS at": "best NMS", "soft-NMS": "best soft-NMS", "refined, NMS at": "best NMS of refined boxes"}
    differences = [f"− {best}" for best in families.values()]
    columns = ["records", "seeds", "data, split (images)", "decoder", "AP", *differences, "AP50", *differences,
               "best NMS, errors undone", "MR^-2 (NMS)", "JI (NMS)"]
    lines = [f"| {' | '.join(columns)} |", f"| {' | '.join(['---'] * 4 + ['---:'] * (len(columns) - 4))} |"]
    by_name: dict[str, dict[str, dict]] = {}
    for file in sorted((folder / "suppression").glob("*.json")):
        name, _, seed = file.stem.rpartition("_seed_")
        by_name.setdefault(name, {})[seed] = json.loads(file.read_text())
    for name, records in by_name.items():
        first, compared = next(iter(records.values())), [one["suppression"] for one in records.values()]
        data = DATA.get(first["data"], first["data"].removeprefix("compare_"))
        seeds = ", ".join(f"[{seed}](suppression/{name}_seed_{seed}.json)" for seed in records)
        cells = [name, seeds, f"{data}, {first['split']} ({first['images']})", first["decoder"]]
        for measure in ("AP", "AP50"):
            cells.append(f"{mean(one['rows']['decoder'][measure] for one in compared):.3f}")
            for family in families:
                found = [d for one in compared for d in one["differences"]
                         if d["measure"] == measure and d["from"].startswith(family)]
                cells.append(difference(found) if found else "")
        undone = []
        for one in compared:
            best = next(d["from"] for d in one["differences"] if d["measure"] == "AP50")
            undone.append(one["rows"][f"{best}, errors undone"]["AP50"])
        cells.append(f"{mean(undone):.3f}")
        for measure, best in (("MR^-2", min), ("JI", max)):
            of_nms = (best(row[measure] for name, row in one["rows"].items() if name in NMS) for one in compared)
            cells.append(f"{mean(one['rows']['decoder'][measure] for one in compared):.3f} ({mean(of_nms):.3f})")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def difference(of_seeds: list[dict]) -> str:
    """The mean over seeds, and the outermost bounds."""
    low, high = min(one["difference_low"] for one in of_seeds), max(one["difference_high"] for one in of_seeds)
    return f"{mean(one['difference'] for one in of_seeds):+.3f} ({low:+.3f} to {high:+.3f})"


def highlights(folder: Path = RESULTS) -> str:
    """Three of them, briefly."""
    lines = [
        "| run | data, split (images) | decoder | AP | AP50 | dense + NMS AP | AP50 |",
        "| " + " | ".join(["---"] * 3 + ["---:"] * 4) + " |",
        *(row(name, json.loads((folder / f"{name}.json").read_text()), "results/", brief=True) for name in HIGHLIGHTS),
    ]
    return "\n".join(lines)


def updated(text: str, name: str, made: str) -> str:
    """The text with what was made between the marks of that name.

    Raises:
        ValueError: there are no such marks.
    """
    start = next((line for line in text.splitlines() if line.startswith(f"<!-- {name}: {MADE_BY}")), None)
    if start is None:
        raise ValueError(f"no line '<!-- {name}: {MADE_BY} -->'; write one, and '<!-- end of {name} -->' below it")
    before, _, rest = text.partition(start)
    _, end, after = rest.partition(f"<!-- end of {name} -->")
    if not end:
        raise ValueError(f"no line '<!-- end of {name} -->'")
    return f"{before}{start}\n{made}\n{end}{after}"


def readme(text: str) -> str:
    """README.md with its table."""
    return updated(text, "highlights", highlights())


def study(text: str, folder: Path = RESULTS) -> str:
    """results/README.md with the table of single runs, and that of every comparison, from its CSV file."""
    text = updated(text, "results", table(folder))
    text = updated(text, "suppression", suppression(folder))
    for file in sorted(folder.glob("*/comparison.csv")):
        text = updated(text, file.parent.name, markdown(read_csv(file)))
    return text


if __name__ == "__main__":
    for file, made in ((ROOT / "README.md", readme), (RESULTS / "README.md", study)):
        text = file.read_text()
        if (new := made(text)) != text:
            file.write_text(new)
    print(table())
