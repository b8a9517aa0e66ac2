from detector.data.datamodule import EpochSampler


def test_every_sample_once_an_epoch_and_never_in_the_same_order():
    sampler = EpochSampler(50, shuffle=True, seed=3)
    orders = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        items = list(sampler)
        assert {e for e, _ in items} == {epoch} and sorted(i for _, i in items) == list(range(50))
        orders.append([i for _, i in items])
    assert orders[0] != orders[1] != orders[2] != list(range(50))
    sampler.set_epoch(1)
    assert [i for _, i in sampler] == orders[1]


def test_processes_share_the_work():
    shares = [EpochSampler(11, shuffle=True, rank=rank, processes=3) for rank in range(3)]
    items = [[i for _, i in share] for share in shares]
    assert [len(part) for part in items] == [len(share) for share in shares] == [4, 4, 4]
    assert set(sum(items, [])) == set(range(11))


def test_evaluation_sees_each_sample_exactly_once():
    shares = [EpochSampler(11, shuffle=False, rank=rank, processes=3) for rank in range(3)]
    for share in shares:
        share.set_epoch(5)
    items = [list(share) for share in shares]
    assert [len(part) for part in items] == [len(share) for share in shares] == [4, 4, 3]
    assert sorted(sum(items, [])) == [(0, i) for i in range(11)]
