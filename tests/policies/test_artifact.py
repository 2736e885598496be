"""Policy folders: what is saved is what is loaded, and every way of spoiling one is a single clear error."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from synthetic_cluster import WAIT, job, queue
from synthetic_observations import random_observation

from handrail.envs.cluster.layout import layout_for as cluster_layout_for
from handrail.envs.common import Layout
from handrail.envs.llm_serving.layout import layout_for
from handrail.policies import bundled_folder, load_policy, make_policy, save_policy
from handrail.policies.artifact import MAX_CARD_BYTES, MAX_WEIGHTS_BYTES
from handrail.policies.card import FeatureCard, MlpArchitecture, PolicyCard, ScorerArchitecture, TrainingCard
from handrail.policies.network import mlp_shapes
from handrail.traces.errors import HandrailError

LAYOUT = layout_for(4)
TRAINING = TrainingCard(trace="bundled", trace_sha256="0" * 64, algorithm="cem", seed=7, settings={"population": 8})


def save_scorer(folder: Path, linear: tuple[float, float] = (-1.0, -0.5)) -> PolicyCard:
    return save_policy(
        folder,
        name="drain and prefill",
        architecture=ScorerArchitecture(
            features=(FeatureCard(fields=("drain_s",)), FeatureCard(fields=("prefill_s",)))
        ),
        layout=LAYOUT,
        mean=np.array([1.0, 0.1]),
        std=np.array([2.0, 0.1]),
        tensors={"linear": np.array(linear)},
        training=TRAINING,
        metrics={"validation": {"objective": -0.05, "windows": 3}},
    )


def save_mlp(folder: Path) -> PolicyCard:
    rng = np.random.default_rng(0)
    return save_policy(
        folder,
        name="mlp",
        architecture=MlpArchitecture(hidden=(8, 8), activation="tanh"),
        layout=LAYOUT,
        mean=rng.random(LAYOUT.size),
        std=0.5 + rng.random(LAYOUT.size),
        tensors={k: rng.standard_normal(s).astype(np.float32) for k, s in mlp_shapes(LAYOUT.size, [8, 8], 4).items()},
        training=TRAINING.model_copy(update={"algorithm": "ppo"}),
    )


def edit_card(folder: Path, **changes: object) -> None:
    """Change fields of policy.json, written as ``a__b=value`` for a.b."""
    path = folder / "policy.json"
    card = json.loads(path.read_text())
    for key, value in changes.items():
        *parents, last = key.split("__")
        node = card
        for parent in parents:
            node = node[parent]
        node[last] = value
    path.write_text(json.dumps(card))


def replace_weights(folder: Path, blob: bytes) -> None:
    """Put other weights in place, with a card that vouches for them."""
    (folder / "policy.safetensors").write_bytes(blob)
    edit_card(folder, weights__sha256=hashlib.sha256(blob).hexdigest(), weights__size_bytes=len(blob))


@pytest.mark.parametrize("save", [save_scorer, save_mlp])
def test_a_saved_policy_comes_back_as_it_was(tmp_path: Path, save):
    card = save(tmp_path / "p")
    policy = load_policy(tmp_path / "p", LAYOUT)
    assert policy.card == card
    assert policy.policy_hash == hashlib.sha256((tmp_path / "p" / "policy.json").read_bytes()).hexdigest()
    assert sorted(p.name for p in (tmp_path / "p").iterdir()) == ["policy.json", "policy.safetensors"]
    observation = random_observation(LAYOUT, np.random.default_rng(0))
    action, state = policy.predict(observation, state=5)
    assert type(action) is int
    assert state == 5


def test_saving_twice_gives_the_same_bytes_and_other_weights_another_hash(tmp_path: Path):
    for name in ("a", "b"):
        save_scorer(tmp_path / name)
    save_scorer(tmp_path / "c", (-1.0, -0.25))
    for file in ("policy.json", "policy.safetensors"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert load_policy(tmp_path / "a", LAYOUT).policy_hash != load_policy(tmp_path / "c", LAYOUT).policy_hash


def test_a_scorer_takes_any_fleet_and_a_layout_with_more_fields(tmp_path: Path):
    save_scorer(tmp_path)
    layout = layout_for(7)
    observation = random_observation(layout, np.random.default_rng(0))
    assert load_policy(tmp_path, layout).predict(observation)[0] in range(7)
    card = json.loads((tmp_path / "policy.json").read_text())
    card["observation"]["replica_fields"] = ["up", "drain_s", "prefill_s"]
    (tmp_path / "policy.json").write_text(json.dumps(card))
    assert load_policy(tmp_path, layout).card.action.n is None


def test_an_mlp_is_refused_for_another_fleet(tmp_path: Path):
    save_mlp(tmp_path)
    with pytest.raises(HandrailError, match=r"observation\.n_replicas is 4, but the fleet has 5.*replica-scorer"):
        load_policy(tmp_path, layout_for(5))


def test_a_renamed_field_is_refused(tmp_path: Path):
    save_scorer(tmp_path / "scorer")
    save_mlp(tmp_path / "mlp")
    renamed = Layout([f for f in LAYOUT.replica_fields if f.name != "drain_s"], LAYOUT.global_fields, 4)
    with pytest.raises(HandrailError, match=r"architecture\.features reads 'drain_s'"):
        load_policy(tmp_path / "scorer", renamed)
    with pytest.raises(HandrailError, match=r"field observation\.replica_fields is"):
        load_policy(tmp_path / "mlp", renamed)
    with pytest.raises(HandrailError, match=r"field observation\.global_fields is"):
        load_policy(tmp_path / "mlp", Layout(LAYOUT.replica_fields, LAYOUT.global_fields[::-1], 4))


def one_clear_error(folder: Path, *parts: str) -> None:
    with pytest.raises(HandrailError) as caught:
        load_policy(folder, LAYOUT)
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message, message


@pytest.mark.parametrize("file", ["policy.json", "policy.safetensors"])
def test_a_missing_file_is_named(tmp_path: Path, file: str):
    save_scorer(tmp_path)
    (tmp_path / file).unlink()
    one_clear_error(tmp_path, file, "lacks this file", "train again")


def test_a_missing_folder_is_named(tmp_path: Path):
    one_clear_error(tmp_path / "gone", "gone", "no such policy folder")


def test_one_flipped_bit_of_the_weights_is_found(tmp_path: Path):
    save_scorer(tmp_path)
    path = tmp_path / "policy.safetensors"
    blob = bytearray(path.read_bytes())
    blob[-1] ^= 1
    path.write_bytes(bytes(blob))
    one_clear_error(tmp_path, "policy.safetensors", "weights.sha256", "do not belong together")


@pytest.mark.parametrize("cut", [0, 4, 40])
def test_cut_off_weights_that_the_card_vouches_for_are_found(tmp_path: Path, cut: int):
    save_scorer(tmp_path)
    replace_weights(tmp_path, (tmp_path / "policy.safetensors").read_bytes()[:cut] or b"\0")
    one_clear_error(tmp_path, "policy.safetensors", "not a readable safetensors file")


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"linear": np.zeros(3)}, "tensor 'linear' has shape (3,), expected (2,)"),
        ({"linear": np.zeros((2, 1))}, "tensor 'linear' has shape (2, 1), expected (2,)"),
        ({"linear": np.array([1.0, np.nan])}, "tensor 'linear' holds values that are not finite"),
        ({"linear": np.array([1.0, np.inf])}, "tensor 'linear' holds values that are not finite"),
        ({"linear": np.zeros(2, dtype=np.int64)}, "tensor 'linear' is int64"),
        ({"linear": np.zeros(2), "more": np.zeros(2)}, "expected ['linear']"),
        ({"other": np.zeros(2)}, "expected ['linear']"),
    ],
)
def test_wrong_tensors_are_found(tmp_path: Path, tensors: dict[str, np.ndarray], message: str):
    save_scorer(tmp_path)
    replace_weights(tmp_path, safetensors.numpy.save(tensors))
    one_clear_error(tmp_path, "policy.safetensors", message)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"surprise": 1}, "surprise"),
        ({"observation__surprise": 1}, "observation.surprise"),
        ({"format_version": 2}, "format_version"),
        ({"architecture__kind": "transformer"}, "architecture"),
        ({"architecture__hidden": [4, 4, 4]}, "architecture.replica-scorer.hidden"),
        ({"observation__std": [1.0, 0.0]}, "observation.std.1"),
        ({"observation__mean": [1.0]}, "observation.mean"),
        ({"observation__mean": [1.0, float("nan")]}, "observation.mean.1"),
        ({"observation__n_replicas": 4}, "observation.n_replicas"),
        ({"weights__sha256": "abc"}, "weights.sha256"),
        ({"weights__file": "../elsewhere"}, "weights.file"),
        ({"weights__size_bytes": 3}, "weights.size_bytes"),
        ({"training__trace_sha256": 5}, "training.trace_sha256"),
        ({"name": ""}, "name"),
    ],
)
def test_a_wrong_card_is_one_error_that_names_the_field(tmp_path: Path, changes: dict[str, object], field: str):
    save_scorer(tmp_path)
    edit_card(tmp_path, **changes)
    one_clear_error(tmp_path, "policy.json", field)


def test_a_card_that_lacks_a_field_or_is_no_json_is_found(tmp_path: Path):
    save_scorer(tmp_path)
    path = tmp_path / "policy.json"
    card = json.loads(path.read_text())
    del card["training"]
    path.write_text(json.dumps(card))
    one_clear_error(tmp_path, "policy.json", "training")
    for text in (b"", b"{", b"[]", b"\xff\xfe", b"{" * 5000):
        path.write_bytes(text)
        one_clear_error(tmp_path, "policy.json", "train again")


def test_oversized_files_are_refused_before_they_are_read(tmp_path: Path):
    save_scorer(tmp_path)
    with (tmp_path / "policy.safetensors").open("ab") as file:
        file.truncate(MAX_WEIGHTS_BYTES + 1)
    one_clear_error(tmp_path, "policy.safetensors", "over the cap")
    with (tmp_path / "policy.json").open("ab") as file:
        file.truncate(MAX_CARD_BYTES + 1)
    one_clear_error(tmp_path, "policy.json", "over the cap")


def test_a_policy_that_cannot_be_loaded_cannot_be_saved(tmp_path: Path):
    with pytest.raises(HandrailError, match="not finite"):
        save_scorer(tmp_path / "p", (np.nan, 1.0))
    assert not (tmp_path / "p").exists()
    with pytest.raises(HandrailError, match=r"observation|std"):
        save_policy(
            tmp_path / "p",
            name="x",
            architecture=ScorerArchitecture(features=(FeatureCard(fields=("drain_s",)),)),
            layout=LAYOUT,
            mean=np.zeros(1),
            std=np.zeros(1),
            tensors={"linear": np.zeros(1)},
            training=TRAINING,
        )
    assert not (tmp_path / "p").exists()


def test_make_policy_knows_names_and_folders(tmp_path: Path):
    save_scorer(tmp_path / "mine")
    assert make_policy("expected-drain", LAYOUT).name == "expected-drain"
    assert make_policy("sabotage:worst", LAYOUT).name == "sabotage:worst"
    assert make_policy(tmp_path / "mine", LAYOUT).name == "drain and prefill"
    assert make_policy(str(tmp_path / "mine"), LAYOUT).name == "drain and prefill"
    with pytest.raises(HandrailError, match=r"--policy best: no such policy folder.*expected-drain.*sabotage:worst"):
        make_policy("best", LAYOUT)
    (tmp_path / "empty").mkdir()
    with pytest.raises(HandrailError, match=r"policy\.json: the policy folder lacks this file"):
        make_policy(tmp_path / "empty", LAYOUT)


CLUSTER = cluster_layout_for(4)


def save_cluster(folder: Path) -> PolicyCard:
    """Shortest job first; waiting scores as a job of 1000 s."""
    return save_policy(
        folder,
        name="shortest",
        architecture=ScorerArchitecture(
            features=(FeatureCard(fields=("estimate_s",)), FeatureCard(fields=("is_wait",)))
        ),
        layout=CLUSTER,
        mean=np.zeros(2),
        std=np.ones(2),
        tensors={"linear": np.array([-1.0, -1000.0])},
        training=TRAINING.model_copy(update={"algorithm": "maskable-ppo"}),
        domain="cluster",
    )


def test_a_policy_of_a_cluster_comes_back_and_takes_any_window(tmp_path: Path):
    card = save_cluster(tmp_path)
    assert card.domain == "cluster"
    assert card.training.algorithm == "maskable-ppo"
    jobs = job(estimate_s=900), job(estimate_s=20, fits=0), job(estimate_s=800)
    policy = load_policy(tmp_path, CLUSTER, "cluster")
    assert policy.predict(queue(*jobs))[0] == 2
    assert policy.predict(queue(job(estimate_s=1200)))[0] == WAIT
    wider = cluster_layout_for(9)
    assert make_policy(tmp_path, wider, domain="cluster").predict(queue(*jobs, layout=wider))[0] == 2


def test_a_policy_of_another_domain_is_refused(tmp_path: Path):
    save_cluster(tmp_path / "cluster")
    save_scorer(tmp_path / "llm")
    one_clear_error(tmp_path / "cluster", "policy.json", "field domain is 'cluster'", "'llm'", "--domain cluster")
    with pytest.raises(HandrailError, match=r"field domain is 'llm'.*in domain 'cluster'; give --domain llm"):
        make_policy(tmp_path / "llm", CLUSTER, domain="cluster")


def test_an_mlp_of_a_cluster_is_refused_for_another_window(tmp_path: Path):
    rng = np.random.default_rng(0)
    save_policy(
        tmp_path,
        name="mlp",
        architecture=MlpArchitecture(hidden=(8,), activation="relu"),
        layout=CLUSTER,
        mean=np.zeros(CLUSTER.size),
        std=np.ones(CLUSTER.size),
        tensors={k: rng.standard_normal(s) for k, s in mlp_shapes(CLUSTER.size, [8], 5).items()},
        training=TRAINING,
        domain="cluster",
    )
    assert load_policy(tmp_path, CLUSTER, "cluster").predict(queue(job(), may_wait=False))[0] == 0
    with pytest.raises(HandrailError, match=r"observation\.n_replicas is 5, but the window with its row .* 7; train"):
        load_policy(tmp_path, cluster_layout_for(6), "cluster")


def test_the_card_of_a_router_says_what_it_always_said(tmp_path: Path):
    card = save_scorer(tmp_path)
    assert json.loads((tmp_path / "policy.json").read_text())["domain"] == "llm"
    again = PolicyCard.model_validate_json((bundled_folder("llm") / "policy.json").read_bytes(), strict=True)
    text = json.dumps(again.model_dump(mode="json"), indent=1, sort_keys=True, allow_nan=False) + "\n"
    assert text.encode() == (bundled_folder("llm") / "policy.json").read_bytes()
    assert card.format_version == again.format_version


def test_nothing_under_policies_unpickles():
    import handrail.policies

    root = Path(next(iter(handrail.policies.__path__)))
    sources = list(root.rglob("*.py"))
    assert len(sources) > 10
    for path in sources:
        text = path.read_text()
        assert "import pickle" not in text, path
        assert "allow_pickle=True" not in text, path
        assert "torch.load" not in text, path
