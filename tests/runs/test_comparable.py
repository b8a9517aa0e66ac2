"""Which runs can stand in one table."""

import pytest
from test_comparison import ap, write_run

from detector.errors import InputError
from detector.runs.comparison import besides_data, gather, table


def test_what_cannot_be_compared(tmp_path):
    with pytest.raises(InputError, match="no finished runs"):
        gather(str(tmp_path / "nowhere"))
    write_run(tmp_path / "a", ["decoder=mlp"], [True] * 6)
    with pytest.raises(InputError, match="no row 'gru'; there are lstm"):
        table(gather(str(tmp_path))[0], baseline="gru", resamples=0, seed=0)
    write_run(tmp_path / "c", ["decoder=mlp"], [True] * 5)
    with pytest.raises(InputError, match=r"different data: bccd, test \(5 images\); bccd, test \(6 images\)"):
        gather(str(tmp_path))


def of(fingerprint: str) -> dict:
    return {"class": "VOC", "root": "bccd", "splits": {"test": "test"}, "fingerprint": fingerprint}


def test_runs_of_one_row_or_baseline_were_tested_on_the_same_images(tmp_path):
    write_run(tmp_path / "a", ["decoder=mlp"], [True] * 6, data="bccd", dataset=of("f1"))
    write_run(tmp_path / "b", ["decoder=lstm"], [True] * 6, data="moved", dataset=of("f1"))
    assert len(gather(str(tmp_path))[0]) == 2  # whatever the folder is called
    write_run(tmp_path / "c", ["decoder=gru"], [True] * 6, data="bccd", dataset=of("f2"))
    with pytest.raises(InputError, match="different data: bccd, test .6 images., fingerprint f1; .*fingerprint f2"):
        gather(str(tmp_path))


def test_a_second_run_of_equal_options_but_other_data_is_not_just_left_out(tmp_path):
    """`experiment=` is no option that makes two runs different things, but it may choose other data."""
    for number, experiment in enumerate(("bccd", "voc")):
        write_run(tmp_path / experiment, [f"experiment={experiment}"], [True] * 6, dataset=of(f"f{number}"))
    with pytest.raises(InputError, match="different data"):
        gather(str(tmp_path))


def test_records_of_before_there_were_fingerprints_are_told_apart_by_what_they_have(tmp_path):
    write_run(tmp_path / "a", ["decoder=mlp"], [True] * 6, data="compare_bccd")
    write_run(tmp_path / "b", ["decoder=lstm"], [True] * 6, data="bccd", dataset=of("f1"))
    assert len(gather(str(tmp_path))[0]) == 2
    write_run(tmp_path / "c", ["decoder=gru"], [True] * 6, data="shapes")
    with pytest.raises(InputError, match="different data: bccd, test .6 images.; .*fingerprint f1; shapes, test"):
        gather(str(tmp_path))


def test_other_data_for_other_rows_are_compared_on_each_by_itself(tmp_path):
    for crowding, hits in ((0, [True] * 3 + [False] * 3), (1, [True] * 4 + [False])):
        for decoder in ("mlp", "lstm"):
            found = hits if decoder == "mlp" else [True] * len(hits)
            options = [f"decoder={decoder}", f"data.dataset.crowding={crowding}"]
            write_run(tmp_path / f"{decoder}{crowding}", options, found, dataset=of(f"f{crowding}"))
    made = table(gather(str(tmp_path))[0], baseline="decoder=mlp", resamples=50, seed=0)
    assert [row.get("difference") for row in made] == [
        pytest.approx(1 - ap(3 / 6)), None, pytest.approx(1 - ap(4 / 5)), None
    ]
    write_run(tmp_path / "more", ["decoder=gru", "data.dataset.crowding=1"], [True] * 5, dataset=of("f2"))
    with pytest.raises(InputError, match="data.dataset.crowding=1 .*different data"):
        gather(str(tmp_path))


def test_rows_that_differ_in_their_data_alone_are_not_compared_with_each_other(tmp_path):
    for crowding in (0, 1):
        options = [f"data.dataset.crowding={crowding}"]
        write_run(tmp_path / f"{crowding}", options, [True] * 6, dataset=of(f"f{crowding}"))
    rows, _ = gather(str(tmp_path))
    assert set(rows) == {"data.dataset.crowding=0", "data.dataset.crowding=1"}
    made = table(rows, baseline="data.dataset.crowding=0", resamples=0, seed=0)
    assert not any("difference" in row for row in made)


def test_data_options_with_spaces_in_them_stay_in_one_piece(tmp_path):
    for test in ("4, val: 2", "5, val: 2"):
        for decoder in ("mlp", "lstm"):
            options = [f"decoder={decoder}", f"data.dataset.splits={{test: {test}}}"]
            write_run(tmp_path / f"{decoder}{test}", options, [True] * int(test[0]), dataset=of(test))
    rows, _ = gather(str(tmp_path))
    assert {besides_data(name) for name in rows} == {"decoder=mlp", "decoder=lstm"}
