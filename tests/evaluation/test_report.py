"""The report: which images it shows, what stands in it, and that a real browser shows it."""

import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image
from test_coco_map import found, random_scene, record
from test_matches import metric_of

from detector.evaluation.analysis import analyse, write_tables
from detector.evaluation.crowding import CROWD_SCORES, crowd_scores
from detector.evaluation.matches import Matches
from detector.evaluation.report import image_f1, worst_and_best, write_report
from detector.pictures.drawing import side_by_side

HALF = np.array([0.5, 0.5])
COMPARED = {
    "rows": {
        "decoder": {"AP": 0.5, "AP50": 0.75, "JI": 0.1}, "NMS at 0.4": {"AP": 0.25, "AP50": 0.5, "JI": 0.1},
        "NMS at 0.5": {"AP": 0.125, "AP50": 0.625, "JI": 0.1},
        "NMS at 0.4, errors undone": {"AP": 0.25, "AP50": float("nan"), "JI": 0.1},
    },
    "differences": [
        {"measure": measure, "from": best, "difference": difference, "difference_low": -0.0625, "difference_high": 0.5,
         "p": 0.25}
        for measure, best, difference in (("AP", "NMS at 0.4", 0.25), ("AP50", "NMS at 0.5", 0.125))
    ],
}
"""The decoder beside suppression: NMS has its best AP at another threshold than its best AP50."""
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Of a random scene, with class names that HTML would take for its own."""
    folder = tmp_path_factory.mktemp("report")
    records, detections = random_scene(0, images=20)
    metric = metric_of(records, detections)
    metric.class_names = ["<cat>", "dog & co"]
    matches = Matches.of(metric)
    scores = {**metric.compute(), **crowd_scores(matches)}
    tables = analyse(metric, matches, scores, HALF)
    write_tables(tables, folder / "analysis")
    image = np.full((40, 60, 3), 200, dtype=np.uint8)
    picture = side_by_side(image, [[5, 5, 30, 30]], [1], metric.class_names, found([[6, 5, 31, 30]], [0.9], [1]))
    write_report(
        folder / "report.html", title="A <run>", facts={"decoder": "LSTM"}, scores=scores, reference=scores,
        suppression="NMS at 0.3", nms_threshold=0.6, compared=COMPARED, tables=tables, folder=folder / "analysis",
        examples=[("Worst", [picture]), ("Best", [])],
    )
    return folder, tables, scores


def test_every_table_is_there_as_json_and_csv_and_most_as_pictures(report):
    folder, tables, _ = report
    for name in tables:
        assert (folder / f"analysis/{name}.json").exists() and (folder / f"analysis/{name}.csv").exists()
    drawn = sorted(file.stem for file in (folder / "analysis").glob("*.png"))
    assert drawn == [
        "anytime", "calibration", "confusion", "counting", "mistakes", "number", "overlap", "precision_recall", "size",
        "steps",
    ]
    for name in drawn:
        with Image.open(folder / f"analysis/{name}.png") as picture:
            assert picture.width > 300


def test_what_stands_in_it(report):
    folder, tables, scores = report
    text = (folder / "report.html").read_text()
    assert "<th>decoder, NMS at 0.3</th><th>dense head, NMS at 0.6</th>" in text
    assert f"{scores['AP']:.3f}" in text
    for name, meaning in CROWD_SCORES.items():
        assert f"<td>{meaning}</td><td>{scores[name]:.3f}</td>" in text
    assert "A &lt;run&gt;" in text and "&lt;cat&gt;" in text and "dog &amp; co" in text
    assert text.count("<img") == 11 and not re.search(r'(src|href)="(?!data:|#)', text)  # nothing from outside
    for row in tables["mistakes"]:
        assert f"<td>{row['count']}</td><td>{row['ΔAP50']:.3f}</td>" in text


def test_suppression_stands_in_it(report):
    text = (report[0] / "report.html").read_text()
    shown = re.search(r"<h3>Beside suppression at its best</h3>.*?<table>\n(.*?)</table>", text, re.DOTALL).group(1)
    rows = [re.findall(r"<t[hd]>(.*?)</t[hd]>", line) for line in shown.splitlines()]
    assert rows == [
        ["", "AP", "AP50", "decoder − this, AP (95 %)", "decoder − this, AP50 (95 %)"],
        ["decoder", "0.500", "0.750", "", ""],
        ["NMS at 0.4", "0.250", "0.500", "+0.250 (-0.062 to +0.500)", ""],
        ["NMS at 0.5", "0.125", "0.625", "", "+0.125 (-0.062 to +0.500)"],
        ["NMS at 0.4, errors undone", "0.250", "–", "", ""],
    ]


def test_a_browser_shows_it(report, tmp_path):
    if BROWSER is None:
        pytest.skip("no Chromium here (apt install chromium): that the report is shown by a browser is not tested")
    folder, _, _ = report
    probe = """<script>
    addEventListener("error", event => console.error("failed", event.target.src || event.message), true)
    addEventListener("load", () => document.body.dataset.widths = [...document.images].map(one => one.naturalWidth))
    </script></head>"""
    page = tmp_path / "probed.html"
    page.write_text((folder / "report.html").read_text().replace("</head>", probe))

    def shown(page):
        done = subprocess.run([
            BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            f"--user-data-dir={tmp_path}/profile", "--enable-logging=stderr", "--dump-dom", page.as_uri(),
        ], capture_output=True, text=True, timeout=120)
        return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]

    dom, console = shown(page)
    widths = re.search(r'data-widths="([\d,]*)"', dom).group(1).split(",")
    assert len(widths) == 11 and min(map(int, widths)) > 100 and console == []
    broken = tmp_path / "broken.html"  # the probe sees what is wrong
    broken.write_text(page.read_text().replace("data:image/png;base64,", "data:image/png;base64,x", 1))
    dom, console = shown(broken)
    assert 'data-widths="0,' in dom and len(console) == 1


def test_worst_and_best_images():
    box, other = [0, 0, 50, 50], [100, 100, 150, 150]
    records = [
        record(1, [box], [0]), record(2, [box, other], [0, 0]), record(3, [], []), record(4, [box], [0]),
        record(5, [], []),
    ]
    matches = Matches.of(metric_of(records, {
        1: found([box, other], [0.9, 0.8], [0, 0]),  # a true and a false positive: F1 2 / 3
        2: found([box, other], [0.9, 0.8], [0, 0]), 3: found([box], [0.4], [0]),
        4: found([box], [0.4], [0]),  # too unsure
        5: found([box], [0.9], [0]),
    }))
    assert image_f1(matches, HALF) == pytest.approx([2 / 3, 1, np.nan, 0, 0], nan_ok=True)
    assert worst_and_best(matches, HALF, 2) == ([4, 5], [2, 1])
    assert worst_and_best(matches, HALF, 9) == ([4, 5, 1, 2], [])
