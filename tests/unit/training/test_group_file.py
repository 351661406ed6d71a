import lightgbm as lgb
import numpy as np

from training.group_file import GroupFile, RowBatches
from training.groups import Group

N_FEATURES, N_SOURCES = 5, 3


def _groups(count: int, *, shown: bool = False) -> list[Group]:
    rng = np.random.default_rng(count)
    made = []
    for size in rng.integers(1, 40, count).tolist():
        rows = rng.random((size, N_FEATURES), np.float32)
        rows[rng.random(rows.shape) < 0.1] = np.nan
        gain = (rng.random(size) < 0.2).astype(np.float32)
        position = np.arange(1, size + 1, dtype=np.float32) if shown else None
        made.append(Group(rows, rng.random((size, N_SOURCES), np.float32), gain, int(gain.sum()) + 1, position))
    return made


def test_groups_come_back_as_they_were() -> None:
    for shown in (False, True):
        groups = _groups(7, shown=shown)
        stored = GroupFile(groups)
        assert len(stored) == 7
        for group, found in zip(groups, stored, strict=True):
            np.testing.assert_array_equal(found.rows, group.rows)
            np.testing.assert_array_equal(found.ranks, group.ranks)
            np.testing.assert_array_equal(found.gain, group.gain)
            assert found.relevant == group.relevant
            assert (found.position is None) == (group.position is None)
        np.testing.assert_array_equal(stored[-1].rows, groups[-1].rows)
        assert [group.relevant for group in stored[1:3]] == [group.relevant for group in groups[1:3]]


def test_a_model_of_batches_is_the_model_of_all_rows_at_once() -> None:
    groups = _groups(300)
    stored = GroupFile(groups)
    assert stored.n_rows == stored.sizes.sum()
    parameters = {"objective": "lambdarank", "verbose": -1, "deterministic": True, "num_threads": 1, "seed": 0}

    def model(rows: object) -> str:
        label = np.concatenate([group.gain for group in groups])
        data = lgb.Dataset(rows, label=label, group=stored.sizes)
        return str(lgb.train(parameters, data, 5).model_to_string())

    assert model(RowBatches(stored)) == model(np.concatenate([group.rows for group in groups]))


def test_an_empty_file_has_no_groups() -> None:
    assert list(GroupFile()) == []
