"""What README.md and results/README.md show is what the runs' records say."""

import csv
import importlib.util
import json
import math
import re
import statistics

import pytest
from scenes import ROOT

spec = importlib.util.spec_from_file_location("results_tool", ROOT / "tools/results.py")
results = importlib.util.module_from_spec(spec)
spec.loader.exec_module(results)

FIELDS = [
    "command", "commit", "seed", "machine", "data", "split", "images", "decoder", "epochs", "train_seconds",
    "parameters", "metrics", "reference",
]
METRICS = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "per_class"]
COMPARISONS = sorted(file.parent for file in (ROOT / "results").glob("*/comparison.csv"))
RECORDS = sorted((ROOT / "results").glob("*.json"))
BESIDE_SUPPRESSION = sorted((ROOT / "results/suppression").glob("*.json"))


def test_there_are_results():
    assert RECORDS


def test_the_readme_shows_what_the_files_say():
    text = (ROOT / "README.md").read_text()
    assert results.readme(text) == text, "run `python tools/results.py`"
    assert len(results.highlights().splitlines()) == 2 + 3


def test_the_study_shows_what_the_files_say():
    text = (ROOT / "results/README.md").read_text()
    assert results.study(text) == text, "run `python tools/results.py`"
    assert all(f"[{file.stem}]({file.name})" in text for file in RECORDS)
    assert all(f"](suppression/{file.name})" in text for file in BESIDE_SUPPRESSION)
    tables = [line for line in text.splitlines() if line.startswith("| run |")]
    assert len(tables) == 1 + len(COMPARISONS) and all(line.count("|") - 1 <= 12 for line in tables)


def test_a_table_without_its_marks_is_named():
    with pytest.raises(ValueError, match="no line '<!-- highlights: made by tools/results.py -->'"):
        results.readme("# detector")
    with pytest.raises(ValueError, match="no line '<!-- end of highlights -->'"):
        results.readme("<!-- highlights: made by tools/results.py -->")


@pytest.mark.parametrize("folder", COMPARISONS, ids=lambda folder: folder.name)
def test_a_comparison_comes_from_its_records(folder):
    """Means and deviations over seeds, worked out anew from the records beside the table."""
    by_name: dict[str, list[dict]] = {}
    for file in (folder / "records").glob("*.json"):
        by_name.setdefault(file.stem.rpartition("seed=")[0].strip("_"), []).append(json.loads(file.read_text()))
    with (folder / "comparison.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == len(by_name) > 1
    for row in rows:
        records = by_name[re.sub(r"[^\w.=-]+", "_", row["name"])]
        measure, other = ("AP", "AP50") if "AP" in row else ("accuracy", "macro_accuracy")
        values = [record["metrics"][measure] for record in records]
        assert int(row["seeds"]) == len(records) == len({record["seed"] for record in records})
        assert float(row[measure]) == pytest.approx(statistics.mean(values))
        assert float(row[other]) == pytest.approx(statistics.mean(record["metrics"][other] for record in records))
        if len(values) > 1:
            assert float(row[f"{measure}_std"]) == pytest.approx(statistics.stdev(values))
        if row[f"{measure}_low"]:
            assert float(row[f"{measure}_low"]) <= float(row[measure]) <= float(row[f"{measure}_high"])
        assert all(record["command"].startswith("python tools/train.py") for record in records)


@pytest.mark.parametrize("file", [*RECORDS, *BESIDE_SUPPRESSION], ids=lambda file: file.stem)
def test_a_record_is_complete(file):
    record = json.loads(file.read_text())
    assert not [field for field in FIELDS if field not in record]
    assert record["command"].startswith("python tools/train.py")
    assert "versions" in record["machine"]
    for metrics in (record["metrics"], record["reference"]["dense_nms"]):
        assert not [name for name in METRICS if name not in metrics]
        classes = [row["AP"] for row in metrics["per_class"].values() if row["AP"] is not None]
        assert math.isclose(metrics["AP"], sum(classes) / len(classes), abs_tol=2e-4)


def test_the_line_of_several_seeds_by_hand(tmp_path):
    record = json.loads(BESIDE_SUPPRESSION[0].read_text())
    (tmp_path / "suppression").mkdir()
    for seed, (score, low, high) in enumerate([(0.5, 0.01, 0.03), (0.6, -0.02, 0.05)]):
        record["suppression"]["rows"]["decoder"] = {"AP": score, "AP50": 0.9, "MR^-2": 0.1, "JI": score}
        for name, row in record["suppression"]["rows"].items():
            if name.startswith("NMS at "):
                row |= {"MR^-2": 0.4 if name == "NMS at 0.4" else 0.5, "JI": 0.7 if name == "NMS at 0.4" else 0.6}
        for one in record["suppression"]["differences"]:
            one |= {"difference": (low + high) / 2, "difference_low": low, "difference_high": high}
        (tmp_path / f"suppression/some_data_seed_{seed}.json").write_text(json.dumps(record))
    *_, line = results.suppression(tmp_path).splitlines()
    cells = line.split(" | ")
    assert cells[0] == "| some_data" and cells[1].count("](suppression/some_data_seed_") == 2
    assert cells[4:6] == ["0.550", "+0.018 (-0.020 to +0.050)"] and cells[8] == "0.900"
    assert cells[-2:] == ["0.100 (0.400)", "0.550 (0.700) |"]


@pytest.mark.parametrize("data", ["shapes", "bccd"])
def test_the_renaming_changed_no_figure(data):
    files = (ROOT / f"results/seeded/{data}_{when}.json" for when in ("before", "after"))
    before, after = (json.loads(file.read_text()) for file in files)
    assert before["commit"] != after["commit"]
    for key in ("metrics", "reference", "crowding", "seed", "parameters", "multiply_adds", "boxes_per_image"):
        assert before[key] == after[key]


def test_a_changed_record_would_be_noticed(tmp_path):
    record = json.loads(RECORDS[0].read_text())
    record["metrics"]["AP"] += 0.1
    (tmp_path / RECORDS[0].name).write_text(json.dumps(record))
    text = (ROOT / "results/README.md").read_text()
    assert results.row(RECORDS[0].stem, json.loads(RECORDS[0].read_text())) in text
    assert results.row(RECORDS[0].stem, record) not in text and results.table(tmp_path) not in text
