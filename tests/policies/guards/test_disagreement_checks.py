"""Disagreement of an ensemble's votes and of value heads."""

from __future__ import annotations

import numpy as np
import pytest
from guard_stand import LAYOUT, context
from pydantic import ValidationError

from handrail.policies.guards import DisagreementConfig, ValueDisagreementConfig
from handrail.policies.guards.checks import DisagreementCheck, ValueDisagreementCheck

AGREE, SPLIT = [1, 1, 1, 1], [1, 2, 3, 1]


def voted(config: DisagreementConfig, votes) -> list[str]:
    check = DisagreementCheck(config, LAYOUT)
    contexts = [context(action=1, votes=np.array(v), decision=i) for i, v in enumerate(votes)]
    return [check.judge(c).reason for c in contexts]


def test_a_split_ensemble_is_vetoed_once_it_has_been_split_for_a_while():
    config = DisagreementConfig(window_decisions=4, share_limit=0.3, min_decisions=3)
    assert voted(config, [SPLIT] * 5) == ["ok", "ok"] + ["ensemble-disagrees"] * 3
    assert voted(config, [AGREE] * 4 + [SPLIT] * 4) == ["ok"] * 6 + ["ensemble-disagrees"] * 2
    assert voted(config, [SPLIT] * 4 + [AGREE]) == ["ok"] * 2 + ["ensemble-disagrees"] * 2 + ["ok"]


def test_dissent_up_to_the_limit_passes():
    config = DisagreementConfig(window_decisions=1, share_limit=0.5, min_decisions=1)
    assert voted(config, [SPLIT, [1, 2, 2, 2]]) == ["ok", "ensemble-disagrees"]


def test_a_new_spell_starts_with_an_empty_window():
    check = DisagreementCheck(DisagreementConfig(window_decisions=4, share_limit=0.3, min_decisions=3), LAYOUT)
    said = [check.judge(context(action=1, votes=np.array(SPLIT), spell_start=s)).kind for s in (0, 0, 0, 9, 9, 9)]
    assert said == ["accept", "accept", "veto"] * 2


def spread(config: ValueDisagreementConfig, values) -> list[str]:
    check = ValueDisagreementCheck(config, LAYOUT)
    return [check.judge(context(values=np.array(v, dtype=float))).reason for v in values]


def test_value_heads_that_spread_too_often_are_vetoed():
    config = ValueDisagreementConfig(variance_limit=1.0, window_decisions=4, limit_decisions=2)
    near, far = [1.0, 1.5, 0.5], [0.0, 10.0, -10.0]
    assert spread(config, [near] * 9) == ["ok"] * 9
    assert (
        spread(config, [far, near, near, far, near, near, near]) == ["ok"] * 3 + ["value-heads-disagree"] + ["ok"] * 3
    )
    assert spread(config, [[np.nan, 1.0]] * 2) == ["ok", "value-heads-disagree"]


def test_a_policy_without_votes_or_values_is_not_let_through():
    assert DisagreementCheck(DisagreementConfig(), LAYOUT).judge(context()).reason == "votes-missing"
    check = ValueDisagreementCheck(ValueDisagreementConfig(variance_limit=1.0), LAYOUT)
    assert check.judge(context()).reason == "values-missing"
    assert check.judge(context(values=np.zeros(0))).kind == "veto"


def test_a_limit_that_cannot_be_reached_is_refused():
    with pytest.raises(ValidationError, match="limit_decisions"):
        ValueDisagreementConfig(variance_limit=1.0, window_decisions=3, limit_decisions=4)
