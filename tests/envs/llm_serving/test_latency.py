"""The piecewise-linear latency model and the profiles that come with it."""

from __future__ import annotations

import copy
import json
import math
import pickle
from importlib.resources import files

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handrail.envs.llm_serving.latency import GpuProfile, LatencyModel, PiecewiseLinear
from handrail.traces.errors import HandrailError

PROFILES = ("a100", "h100")
_VALID = {
    "gpu": "test",
    "model": "m",
    "base_s": 0.5,
    "tokens": {"knots": [[0, 0], [10, 1]], "final_slope": 0.25},
    "attention": {"knots": [[0, 0]], "final_slope": 0.0},
    "sequences": {"knots": [[0, 0]], "final_slope": 0.0},
    "kv": {"knots": [[0, 0]], "final_slope": 0.125},
    "memory_bytes": 1,
    "weights_bytes": 1,
    "kv_bytes_per_token": 1,
    "kv_capacity_tokens": 1,
}


@st.composite
def functions(draw: st.DrawFn) -> PiecewiseLinear:
    count = draw(st.integers(0, 5))
    widths = draw(st.lists(st.integers(1, 10_000), min_size=count, max_size=count))
    rises = draw(st.lists(st.floats(0, 1e3), min_size=count, max_size=count))
    first = draw(st.floats(0, 10))
    xs = np.concatenate(([0.0], np.cumsum(widths)))
    ys = first + np.concatenate(([0.0], np.cumsum(rises)))
    return PiecewiseLinear(tuple(zip(xs, ys, strict=True)), draw(st.floats(0, 10)))


@given(functions(), st.floats(0, 1e5))
def test_value_is_that_of_interpolation_and_of_the_final_slope(function: PiecewiseLinear, x: float) -> None:
    xs, ys = np.array(function.knots).T
    expected = np.interp(x, xs, ys) + max(0.0, x - xs[-1]) * function.final_slope
    assert function(x) == pytest.approx(expected, rel=1e-12, abs=1e-12)


@given(functions(), st.integers(0, 60_000))
def test_piece_gives_the_slope_up_to_the_next_knot(function: PiecewiseLinear, x: int) -> None:
    slope, next_knot = function.piece(x)
    assert next_knot > x
    end = next_knot if math.isfinite(next_knot) else x + 1000
    assert function(end) - function(x) == pytest.approx(slope * (end - x), rel=1e-9, abs=1e-9)
    inside = [knot for knot, _ in function.knots if x < knot < end]
    assert inside == []


def test_a_knot_belongs_to_the_piece_that_starts_there() -> None:
    function = PiecewiseLinear(((0, 0), (4, 8), (8, 8)), 3.0)
    assert function.piece(0) == (2.0, 4.0)
    assert function.piece(4) == (0.0, 8.0)
    assert function.piece(7.5) == (0.0, 8.0)
    assert function.piece(8) == (3.0, math.inf)


@pytest.mark.parametrize(
    ("knots", "final_slope", "message"),
    [
        ((), 0.0, "empty"),
        (((1, 0),), 0.0, "first knot"),
        (((0, -1),), 0.0, ">= 0"),
        (((0, 0), (2, 1), (2, 3)), 0.0, "increase in x"),
        (((0, 0), (2, 1), (1, 3)), 0.0, "increase in x"),
        (((0, 0), (2, 1), (3, 0.5)), 0.0, "must not fall"),
        (((0, 0),), -1.0, "final_slope"),
        (((0, 0),), math.nan, "finite"),
        (((0, 0), (1, math.inf)), 0.0, "finite"),
        (((0, 0, 0),), 0.0, "pairs"),
        (((0, "a"),), 0.0, "pairs"),
        (((0, 0),), None, "final_slope"),
    ],
)
def test_bad_knots_are_refused(knots: tuple, final_slope: float, message: str) -> None:
    with pytest.raises(HandrailError, match=message):
        PiecewiseLinear(knots, final_slope)


def test_step_is_the_sum_of_its_terms() -> None:
    model = LatencyModel(
        base_s=1.0,
        tokens=PiecewiseLinear.linear(2.0**-3),
        attention=PiecewiseLinear.linear(2.0**-6),
        sequences=PiecewiseLinear.linear(2.0**-9),
        kv=PiecewiseLinear.linear(2.0**-12),
    )
    assert model.step_s(5, 7, 3, 11) == 1.0 + 8 / 8 + 7 / 64 + 3 / 512 + 11 / 4096


def test_simple_models() -> None:
    assert LatencyModel.constant(0.25).step_s(1000, 5e5, 3, 40) == 0.25
    assert LatencyModel.proportional(0.5).step_s(12, 1e6, 0, 0) == 6.0
    with pytest.raises(HandrailError, match="base_s"):
        LatencyModel.constant(-1.0)
    with pytest.raises(HandrailError, match="base_s"):
        LatencyModel.constant(math.inf)


@given(
    st.sampled_from(PROFILES), st.integers(-8, 8), st.integers(0, 8192), st.integers(0, 512), st.integers(0, 400_000)
)
def test_scaling_by_a_power_of_two_is_exact(name: str, power: int, prompt: int, sequences: int, kv: int) -> None:
    model = LatencyModel.from_profile(name)
    work = prompt * (prompt + 1) / 2
    scaled = model.scaled(2.0**power)
    assert scaled.step_s(prompt, work, sequences, kv) == model.step_s(prompt, work, sequences, kv) * 2.0**power


@pytest.mark.parametrize("factor", [-1.0, math.nan, math.inf])
def test_scaling_by_a_bad_factor_is_refused(factor: float) -> None:
    with pytest.raises(HandrailError, match="factor"):
        LatencyModel.constant(1.0).scaled(factor)


def test_models_are_values() -> None:
    model = LatencyModel.from_profile("h100")
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), LatencyModel.from_profile("h100")):
        assert twin == model
        assert hash(twin) == hash(model)
        assert twin.step_s(100, 5050, 20, 9000) == model.step_s(100, 5050, 20, 9000)
    assert model != LatencyModel.from_profile("a100")
    with pytest.raises(AttributeError):
        model.base_s = 0.0  # type: ignore[misc]


def test_names_lists_the_profiles() -> None:
    assert GpuProfile.names() == PROFILES


def _step_times(model: LatencyModel) -> np.ndarray:
    prompts, sequences, kv = (0, 16, 128, 512, 2048, 8192), (0, 1, 16, 64, 256, 1024), (0, 1000, 30_000, 400_000)
    return np.array([[[model.step_s(p, p * (p + 1) / 2, n, c) for c in kv] for n in sequences] for p in prompts])


@pytest.mark.parametrize("name", PROFILES)
def test_more_work_takes_no_less_time(name: str) -> None:
    times = _step_times(LatencyModel.from_profile(name))
    for axis in range(3):
        assert (np.diff(times, axis=axis) >= 0.0).all()
    assert (times[:, :, 0] < times[:, :, -1]).all()
    assert (times[0] < times[-1]).all()


def test_an_a100_is_slower_than_an_h100_throughout() -> None:
    assert (_step_times(LatencyModel.from_profile("a100")) > _step_times(LatencyModel.from_profile("h100"))).all()


@pytest.mark.parametrize(
    ("sequences", "estimate_ms"), [(1, 6.18), (16, 7.51), (64, 10.35), (256, 19.57)], ids=lambda value: str(value)
)
def test_h100_decode_is_near_the_estimates_it_was_fitted_to(sequences: int, estimate_ms: float) -> None:
    step_s = LatencyModel.from_profile("h100").step_s(0, 0.0, sequences, sequences * 1025)
    assert step_s * 1e3 == pytest.approx(estimate_ms, rel=0.08)


@pytest.mark.parametrize(("name", "estimate_ms"), [("h100", 43.5), ("a100", 125.2)])
def test_prefill_is_near_the_estimates_it_was_fitted_to(name: str, estimate_ms: float) -> None:
    step_s = LatencyModel.from_profile(name).step_s(2048, 2048 * 2049 / 2, 0, 0)
    assert step_s * 1e3 == pytest.approx(estimate_ms, rel=0.04)


@pytest.mark.parametrize("name", PROFILES)
def test_kv_capacity_fits_the_memory(name: str) -> None:
    profile = GpuProfile.named(name)
    used = profile.weights_bytes + profile.kv_capacity_tokens * profile.kv_bytes_per_token
    assert profile.gpu == name
    assert profile.kv_capacity_tokens % 16 == 0
    assert 0.8 * profile.memory_bytes < used < 0.9 * profile.memory_bytes
    assert profile.kv_bytes_per_token == 131_072


@pytest.mark.parametrize("name", PROFILES)
def test_profiles_state_their_source_and_error(name: str) -> None:
    values = json.loads((files("handrail.envs.llm_serving.profiles") / f"{name}.json").read_text())
    assert values["source_version"] == "0.12.0"
    errors = values["fit_error"]["held_out_rows_absolute_relative_error"]
    assert set(errors) == {"decode", "prefill", "mixed"}
    for kind in errors.values():
        assert 0.0 < kind["median"] <= kind["p90"] <= kind["max"] < 0.2
    assert all(len(values[term]["knots"]) <= 6 for term in ("tokens", "attention", "sequences", "kv"))


def test_a_profile_file_is_read(tmp_path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(_VALID | {"note": "any other field is left alone"}))
    model = LatencyModel.from_json(path)
    assert model.name == "test"
    assert model.step_s(12, 0, 2, 16) == 0.5 + 2.0 + 2.0


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"base_s": "fast"}, "base_s"),
        ({"base_s": True}, "base_s"),
        ({"base_s": -1}, "base_s"),
        ({"kv": None}, "kv"),
        ({"kv": {"knots": [[0, 0]]}}, "kv: final_slope"),
        ({"kv": {"knots": [[0, 0]], "final_slope": 0, "slope": 1}}, "kv: unknown field 'slope'"),
        ({"tokens": {"knots": [[0, 0], [5, 2], [9, 1]], "final_slope": 0}}, "tokens: y must not fall"),
        ({"tokens": {"knots": [0, 1], "final_slope": 0}}, "tokens: knots must be pairs"),
        ({"kv_capacity_tokens": 0}, "kv_capacity_tokens"),
        ({"memory_bytes": 1.5}, "memory_bytes"),
    ],
)
def test_a_bad_profile_names_file_and_field(tmp_path, change: dict, field: str) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(_VALID | change))
    with pytest.raises(HandrailError) as caught:
        GpuProfile.from_json(path)
    assert str(path) in str(caught.value)
    assert field in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("missing", sorted(_VALID))
def test_a_missing_field_is_named(tmp_path, missing: str) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({key: value for key, value in _VALID.items() if key != missing}))
    with pytest.raises(HandrailError, match=f"mine.json: {missing} is missing"):
        GpuProfile.from_json(path)


@pytest.mark.parametrize(("text", "message"), [("{", "not JSON: line 1"), ("[]", "one JSON object")])
def test_what_is_no_profile_is_refused(tmp_path, text: str, message: str) -> None:
    path = tmp_path / "mine.json"
    path.write_text(text)
    with pytest.raises(HandrailError, match=message):
        LatencyModel.from_json(path)


def test_an_absent_file_and_an_unknown_name_are_refused(tmp_path) -> None:
    with pytest.raises(HandrailError, match=r"none\.json"):
        LatencyModel.from_json(tmp_path / "none.json")
    with pytest.raises(HandrailError, match="there are: a100, h100"):
        LatencyModel.from_profile("tpu")
