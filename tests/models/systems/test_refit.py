from models.systems.refit import mean_pools


def test_weights_are_averaged_by_branch_over_the_folds_that_have_some():
    pooled = {"av": {"av": 0.5, "audio": 0.25}, "audio": {"audio": 1.0}}
    collapsed = {"av": {"av": 1.5}, "audio": {"audio": 2.0}}
    mean = {"av": {"av": 1.0, "audio": 0.125}, "audio": {"audio": 1.5}}
    assert mean_pools([pooled, {}, collapsed]) == mean
    assert mean_pools([{}, {}]) == {}
