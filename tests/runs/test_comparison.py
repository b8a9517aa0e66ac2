"""Runs gathered into a table, on figures worked by hand."""

import csv
import json

import numpy as np
import pytest

from detector.errors import InputError
from detector.evaluation.crowding import CROWD_SCORES, RECALL_AT
from detector.evaluation.matches import Matches
from detector.runs import comparison_plots
from detector.runs.comparison import gather, table
from detector.runs.comparison_table import markdown, read_csv, write_csv


def write_run(folder, options: list[str], hits: list[bool], *, seed: int = 0, curve=(), **facts) -> None:
    """A run that found the one object of each image where `hits` says so, and nothing else: its AP is easily known.

    `facts` go into its record."""
    folder.mkdir(parents=True)
    hit, images = np.array(hits), len(hits)
    number, box = np.arange(images), np.tile([0.0, 0.0, 10.0, 10.0], (images, 1))
    matches = Matches(
        scores=np.ones(hit.sum()), labels=np.zeros(hit.sum(), np.int64), images=number[hit], boxes=box[hit],
        steps=np.zeros(hit.sum(), np.int64), matched=np.repeat(number[hit][:, None], 10, 1),
        ignored=np.zeros((hit.sum(), 10), bool),
        object_images=number, object_labels=np.zeros(images, np.int64), object_boxes=box,
        object_areas=np.full(images, 100.0), overlap=np.zeros(images), image_ids=number,
    )
    matches.save(folder / "matches_decoder.npz")
    ap = float(matches.average_precision().mean())
    (folder / "record.json").write_text(json.dumps({
        "options": [*options, f"seed={seed}", "threads=1"], "seed": seed, "data": "bccd", "split": "test",
        "images": images, "decoder": "lstm", "parameters": 2_000_000, "multiply_adds": 3_000_000_000,
        "peak_megabytes": 900, "train_seconds": 90.0, "boxes_per_image": 4.0,
        "metrics": {"AP": ap, "AP50": ap, "AP75": ap},
        "crowding": {"decoder": {"recall_apart": 0.5, "recall_overlapping": None}}, **facts,
    }))
    (folder / "csv").mkdir()
    with (folder / "csv/metrics.csv").open("w") as lines:
        writer = csv.writer(lines)
        writer.writerow(["epoch", "train/loss", "val/AP"])
        writer.writerow([0, 1.5, ""])
        writer.writerows([epoch, "", value] for epoch, value in curve)


def write_two(folder) -> None:
    half, most = [True, True, True, False, False, False], [True, True, True, True, True, False]
    write_run(folder / "a0", ["decoder=mlp", "slots=9"], half, curve=[(1, 0.2), (3, 0.4)])
    write_run(folder / "a1", ["decoder=mlp", "slots=9"], half[::-1], seed=1, curve=[(1, 0.4), (3, 0.6), (5, 0.9)])
    write_run(folder / "b0", ["decoder=lstm", "slots=9"], most)
    write_run(folder / "b1", ["decoder=lstm", "slots=9"], most[::-1], seed=1)


def ap(share: float) -> float:
    """Of a run that finds this share of the objects and nothing else: precision 1 up to that recall, then 0."""
    return (np.linspace(0, 1, 101) <= share + 1e-9).sum() / 101


def test_rows_are_named_by_what_differs(tmp_path):
    write_two(tmp_path)
    rows, _ = gather(str(tmp_path))
    assert {name: len(runs) for name, runs in rows.items()} == {"mlp": 2, "lstm": 2}
    assert set(gather(f"{tmp_path}/a*")[0]) == {"lstm"}  # nothing differs: the record's decoder names it


def test_table_by_hand(tmp_path):
    write_two(tmp_path)
    best, base = table(gather(str(tmp_path))[0], baseline="mlp", resamples=400, seed=0)
    assert (best["name"], base["name"]) == ("lstm", "mlp")
    assert best["AP"] == pytest.approx(ap(5 / 6)) and base["AP"] == pytest.approx(ap(1 / 2))
    assert best["difference"] == pytest.approx(ap(5 / 6) - ap(1 / 2)) and "difference" not in base
    assert best["AP_std"] == pytest.approx(0) and best["seeds"] == 2
    assert best["AP_low"] <= best["AP"] <= best["AP_high"] <= 1
    # of six cats, each in an image of its own, five are found and nothing else: MR^-2 1/6 at every point, JI 5/6
    assert (best["MR^-2"], best["JI"]) == pytest.approx((1 / 6, 5 / 6), abs=1e-5)
    assert (base["MR^-2"], base["JI"]) == pytest.approx((1 / 2, 1 / 2), abs=1e-5) and base[RECALL_AT] is None
    assert best["AP_best"] == pytest.approx(best["AP"])  # one box an image at most: nothing to leave out
    assert best["minutes"] == 1.5 and best["parameters"] == 2.0 and best["multiply_adds"] == 3.0
    assert base["recall_apart"] == 0.5 and base["recall_overlapping"] is None
    # one seed misses the first image and the other the last: in every resample lstm is as good as mlp or better
    assert best["difference_low"] >= 0 and best["p"] < 0.2


def test_each_row_is_compared_with_the_baseline_on_its_data(tmp_path):
    found = {("mlp", 0): 1, ("lstm", 0): 3, ("mlp", 1): 2, ("lstm", 1): 6, ("lstm", 2): 5}
    for (decoder, crowding), hits in found.items():
        options = [f"decoder={decoder}", f"data.dataset.crowding={crowding}"]
        write_run(tmp_path / f"{decoder}{crowding}", options, [number < hits for number in range(6)])
    rows = table(gather(str(tmp_path))[0], baseline="decoder=mlp", resamples=50, seed=0)
    assert [row["name"] for row in rows] == [
        f"data.dataset.crowding={crowding} decoder={decoder}"
        for crowding, decoder in ((0, "lstm"), (0, "mlp"), (1, "lstm"), (1, "mlp"), (2, "lstm"))
    ]
    differences = [row.get("difference") for row in rows]
    assert differences[0] == pytest.approx(ap(3 / 6) - ap(1 / 6)) and differences[2] == pytest.approx(1 - ap(2 / 6))
    assert differences[1] is differences[3] is differences[4] is None
    (only,) = (row for row in table(
        gather(str(tmp_path))[0], baseline="data.dataset.crowding=1 decoder=mlp", resamples=0, seed=0
    ) if "difference" in row)
    assert only["name"] == "data.dataset.crowding=1 decoder=lstm"


def test_however_clear_a_difference_is_its_p_is_not_zero(tmp_path):
    write_run(tmp_path / "a", ["decoder=mlp"], [False] * 6)
    write_run(tmp_path / "b", ["decoder=lstm"], [True] * 6)
    best, _ = table(gather(str(tmp_path))[0], baseline="mlp", resamples=199, seed=0)
    assert best["difference_low"] > 0 and best["p"] == pytest.approx(2 / 200)


def test_a_run_compared_with_its_equal_is_no_different(tmp_path):
    hits = [True, False, True, True, False, True]
    write_run(tmp_path / "a", ["decoder=mlp"], hits)
    write_run(tmp_path / "b", ["decoder=lstm"], hits)
    rows = table(gather(str(tmp_path))[0], baseline="mlp", resamples=200, seed=0)
    (other,) = (row for row in rows if row["name"] == "lstm")
    assert other["difference"] == other["difference_low"] == other["difference_high"] == 0 and other["p"] == 1.0


def test_the_interval_holds_what_the_binomial_distribution_says(tmp_path):
    """AP of such a run is nearly its share of hits: of six images with three hits, 95 % of resamples have 1 to 5."""
    write_run(tmp_path / "a", ["decoder=mlp"], [True, True, True, False, False, False])
    (row,) = table(gather(str(tmp_path))[0], baseline=None, resamples=4000, seed=1)
    assert row["AP_low"] == pytest.approx(ap(1 / 6), abs=0.02) and row["AP_high"] == pytest.approx(ap(5 / 6), abs=0.02)


def test_what_is_written(tmp_path):
    write_two(tmp_path)
    rows, _ = gather(str(tmp_path))
    made = table(rows, baseline="mlp", resamples=50, seed=0)
    lines = markdown(made).splitlines()
    assert lines[0].startswith("| run | seeds | AP (95 %) | ± seeds |") and "recall of overlapping" not in lines[0]
    assert lines[2].startswith(f"| lstm | 2 | {ap(5 / 6):.3f} (") and len(lines) == 4
    assert f" ({made[0]['difference_low']:.3f} to {made[0]['difference_high']:.3f}) | " in lines[2]
    assert len({line.count("|") for line in lines}) == 1
    assert "| AP50 | AP at top n+1 | MR^-2 | JI | − baseline" in lines[0]
    full = [{**row, "recall_overlapping": 0.5, "milliseconds": 2.0} for row in made]
    assert markdown(full).splitlines()[0].count("|") - 1 == 12
    before = [{key: value for key, value in row.items() if key not in CROWD_SCORES} for row in full]
    assert "| AP75 |" in markdown(before) and "| p |" in markdown(before)  # a table of before there was JI
    write_csv(made, tmp_path / "table.csv")
    again = read_csv(tmp_path / "table.csv")
    assert again[0]["AP"] == best_ap(made) and markdown(again) == markdown(made)
    assert rows["mlp"][1].curve == [(2, 0.4), (4, 0.6), (6, 0.9)]
    assert comparison_plots.epochs(rows, tmp_path / "epochs.png") and (tmp_path / "epochs.png").stat().st_size > 5000
    assert not comparison_plots.cost(made, tmp_path / "cost.png")  # both cost as many MACs
    timed = [{**row, "milliseconds": time} for row, time in zip(made, (20.001, 20.002))]  # shown as equal
    assert comparison_plots.cost(timed, tmp_path / "cost.png") and (tmp_path / "cost.png").exists()
    assert not comparison_plots.crowding(rows, tmp_path / "crowding.png") and not (tmp_path / "crowding.png").exists()


def best_ap(made: list[dict]) -> float:
    return max(row["AP"] for row in made)


def test_crowding_is_drawn_where_it_varies(tmp_path):
    for crowding in (0, 0.5):
        write_run(tmp_path / f"a{crowding}", ["decoder=mlp", f"data.dataset.crowding={crowding}"], [True] * 6)
        write_run(tmp_path / f"b{crowding}", ["decoder=gru", f"data.dataset.crowding={crowding}"], [True] * 6)
    assert comparison_plots.crowding(gather(str(tmp_path))[0], tmp_path / "crowding.png")


def test_a_panel_for_each_set_of_data_and_more_rows_than_styles(tmp_path, monkeypatch):
    for crowding in (0, 0.5):
        for name in ("mlp", "gru", "lstm"):
            options = [f"decoder={name}", f"data.dataset.crowding={crowding}"]
            write_run(tmp_path / f"{name}{crowding}", options, [True] * 6, curve=[(1, 0.1), (2, 0.2)])
    write_run(tmp_path / "more", ["decoder=dense", "data.dataset.crowding=0.5"], [True] * 6, curve=[(1, 0.1), (2, 0.2)])
    rows, _ = gather(str(tmp_path))
    drawn = []

    def savefig(figure, *args, **kwargs):
        drawn.append([(panel.get_title(), len(panel.get_lines())) for panel in figure.axes])
        (legend,) = (panel.get_legend() for panel in figure.axes if panel.get_legend())
        assert [text.get_text() for text in legend.texts] == [f"decoder={x}" for x in ("dense", "gru", "lstm", "mlp")]
        assert len({line.get_color() for line in legend.get_lines()}) == 2

    monkeypatch.setattr(comparison_plots, "STYLES", comparison_plots.STYLES[:2])
    monkeypatch.setattr(comparison_plots.plt.Figure, "savefig", savefig)
    made = table(rows, baseline=None, resamples=0, seed=0)
    timed = [{**row, "milliseconds": at + 1} for at, row in enumerate(made)]
    assert comparison_plots.epochs(rows, tmp_path) and comparison_plots.cost(timed, tmp_path)
    assert comparison_plots.crowding(rows, tmp_path)
    by_data = [("data.dataset.crowding=0", 3), ("data.dataset.crowding=0.5", 4)]
    assert drawn == [by_data, by_data, [("AP", 4), ("Recall of objects overlapped by more than .3", 4)]]


def test_an_image_that_could_not_be_read_ends_no_comparison(tmp_path):
    """Records of before counted it."""
    for decoder in ("mlp", "lstm"):
        write_run(tmp_path / decoder, [f"decoder={decoder}"], [True, True, False, True, False], images=6)
    best, base = table(gather(str(tmp_path))[0], baseline="mlp", resamples=20, seed=0)
    assert best["difference"] == 0 and base["AP_low"] <= base["AP"] <= base["AP_high"]


def test_what_does_not_make_two_runs_different_is_no_part_of_a_row_s_name(tmp_path):
    for number, options in enumerate((
        ["decoder=mlp"], ["decoder=mlp", "data.num_workers=2", "trainer.accelerator=gpu", "data.dataset.root=x"],
    )):
        write_run(tmp_path / f"{number}", options, [True] * 6, seed=number)
    assert len(gather(str(tmp_path))[0]) == 1
    write_run(tmp_path / "2", ["decoder=mlp", "trainer.precision=bf16-mixed"], [True] * 6)
    assert set(gather(str(tmp_path))[0]) == {"lstm", "bf16-mixed"}


def test_runs_without_ap_are_left_out(tmp_path):
    write_run(tmp_path / "a", ["decoder=mlp"], [True] * 6)
    write_run(tmp_path / "b", ["decoder=lstm"], [True] * 6, metrics={"AP": None})
    rows, (reason,) = gather(str(tmp_path))
    assert len(rows) == 1 and reason.startswith(f"{tmp_path}/b") and "no object" in reason


def test_missing_broken_and_duplicated_runs_are_named_and_left_out(tmp_path):
    write_two(tmp_path)
    write_run(tmp_path / "b2", ["decoder=lstm", "slots=9"], [False] * 6, seed=1)  # as b1
    (tmp_path / "c_unfinished/.hydra").mkdir(parents=True)
    (tmp_path / "c_unfinished/config.yaml").write_text("seed: 0\n")
    (tmp_path / "c_unfinished/.hydra/config.yaml").write_text("seed: 0\n")
    for number, name in enumerate(("d_cut", "e_old", "f_without", "g_broken")):
        write_run(tmp_path / name, ["decoder=gru", "slots=9"], [True] * 6, seed=number)
    record = (tmp_path / "d_cut/record.json").read_text()
    (tmp_path / "d_cut/record.json").write_text(record[:40])
    (tmp_path / "e_old/record.json").write_text(record.replace('"crowding"', '"other"'))
    (tmp_path / "f_without/matches_decoder.npz").unlink()
    (tmp_path / "g_broken/matches_decoder.npz").write_bytes(b"nothing")
    rows, left_out = gather(str(tmp_path))
    assert {name: [run.folder.name for run in runs] for name, runs in rows.items()} == {
        "mlp": ["a0", "a1"], "lstm": ["b0", "b1"]
    }
    expected = {
        "b2": f"{tmp_path}/b1, which is kept", "c_unfinished": "no record.json", "d_cut": "record.json, line 1",
        "e_old": "lacks crowding", "f_without": "no matches_decoder.npz", "g_broken": "matches_decoder.npz",
    }
    assert len(left_out) == len(expected)
    for folder, reason in expected.items():
        (line,) = (line for line in left_out if line.startswith(f"{tmp_path}/{folder}"))
        assert reason in line
    with pytest.raises(InputError, match="no finished runs.*c_unfinished has no record.json"):
        gather(f"{tmp_path}/c*")
