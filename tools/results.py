"""Write the tables of README.md and results/README.md from the runs' records: python tools/results.py"""

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
START, END = "<!-- results: made by tools/results.py -->", "<!-- end of results -->"


def row(name: str, record: dict) -> str:
    """One run as a line of the table."""
    metrics, reference = record["metrics"], record["reference"]["dense_nms"]
    numbers = [f"{metrics[key]:.3f}" for key in ("AP", "AP50", "AP75")]
    compared = [f"{reference[key]:.3f}" for key in ("AP", "AP50")]
    machine = record["machine"]
    where = machine["accelerator"] if machine["accelerator"] != "none" else f"{machine['threads']} CPU thread(s)"
    cells = [
        f"[{name}](results/{name}.json)", f"{record['data']}, {record['split']} ({record['images']})",
        record["decoder"], str(record["epochs"]), f"{record['train_seconds'] / 60:.0f} min, {where}", *numbers,
        *compared,
    ]
    return "| " + " | ".join(cells) + " |"


def table(folder: Path = ROOT / "results") -> str:
    """All runs, by name."""
    head = ["run", "data, split (images)", "decoder", "epochs", "training", "AP", "AP50", "AP75", "dense + NMS AP", "AP50"]
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join(["---"] * 5 + ["---:"] * 5) + " |"]
    for file in sorted(folder.glob("*.json")):
        lines.append(row(file.stem, json.loads(file.read_text())))
    return "\n".join(lines)


def updated(readme: str, results: str, start: str = START) -> str:
    """The text with the table in its place."""
    before, _, rest = readme.partition(start)
    _, _, after = rest.partition(END)
    return f"{before}{start}\n{results}\n{END}{after}"


def study(text: str, folder: Path = ROOT / "results") -> str:
    """The write-up with the table of every comparison in its place, as `tools/compare.py` wrote it."""
    for file in sorted(folder.glob("*/comparison.md")):
        start = f"<!-- {file.parent.name}: made by tools/compare.py -->"
        if start not in text:
            raise SystemExit(f"results/README.md has no line {start!r}")
        text = updated(text, file.read_text().strip(), start)
    return text


if __name__ == "__main__":
    for file, text in ((ROOT / "README.md", updated((ROOT / "README.md").read_text(), table())),
                       (ROOT / "results/README.md", study((ROOT / "results/README.md").read_text()))):
        if text != file.read_text():
            file.write_text(text)
    print(table())
