"""Write the tables of README.md and results/README.md from the runs' records: python tools/results.py"""

import json
from pathlib import Path

from detector.runs.comparison import markdown, read_csv

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results"
MADE_BY = "made by tools/results.py"
HIGHLIGHTS = ("shapes", "bccd", "voc")
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
    """Decoders beside NMS and soft-NMS at their best on the tested pictures, of the records that have both.

    For AP and for AP50: the decoder's, and what it is more than the best NMS and soft-NMS have, with the 95 % interval.
    """
    lines = [
        "| record | data, split (images) | decoder | AP | − best NMS | − best soft-NMS | AP50 | − best NMS | "
        "− best soft-NMS | best NMS, errors undone |",
        "| " + " | ".join(["---"] * 3 + ["---:"] * 7) + " |",
    ]
    for file in sorted(folder.glob("*.json")):
        record = json.loads(file.read_text())
        if "suppression" not in record:
            continue
        rows, differences = record["suppression"]["rows"], record["suppression"]["differences"]
        data = DATA.get(record["data"], record["data"].removeprefix("compare_"))
        cells = [f"[{file.stem}]({file.name})", f"{data}, {record['split']} ({record['images']})", record["decoder"]]
        for measure in ("AP", "AP50"):
            cells.append(f"{rows['decoder'][measure]:.3f}")
            cells += [
                f"{one['difference']:+.3f} ({one['difference_low']:+.3f} to {one['difference_high']:+.3f})"
                for one in differences if one["measure"] == measure
            ]
        best = next(one["from"] for one in differences if one["measure"] == "AP50")
        cells.append(f"{rows[f'{best}, errors undone']['AP50']:.3f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


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
