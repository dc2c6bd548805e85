"""What every family promises (DESIGN, section 3). A new family is tested here as soon as it is registered."""

import json
import time

import numpy as np
import pytest
import torch

from families import CASES, QUICK, Case, fitted
from helpers import chorale, played, tune
from otonoha.models import pretrained
from otonoha.models.config import from_json, to_json
from otonoha.models.registry import FAMILIES, family, settings_of
from otonoha.sample.tasks import Critique
from otonoha.tokens.base import Tokens
from otonoha.train.batches import collate

torch.set_num_threads(1)


@pytest.fixture(params=list(CASES))
def name(request) -> str:
    return request.param


@pytest.fixture
def case(name) -> Case:
    return CASES[name]


@pytest.fixture
def model(name):
    return fitted(name)


def needs_tasks(model):
    if not model.capabilities.tasks:
        pytest.skip("a codec writes nothing of its own")


def test_overfits_one_batch(case):
    model = case.model(**case.overfit)
    options = {
        **case.quick,
        "transpose": False,
        "batch": 2,
        "steps": 45,
        "eval_every": 15,
        "schedule": "constant",
    }
    if case.preset == "book":
        options |= {"batch": 16, "steps": 150, "eval_every": 50}  # loss of the last position only
    if case.settle:  # deep and without residual connections: critics of this kind take their time
        options |= {"steps": 90, "eval_every": 30, "lr": 1e-3}
    outcome = model.fit(case.pieces(1, bars=2 if case.preset == "book" else 8), quiet=True, **options)
    losses = [h["train_loss"] for h in outcome.history]
    assert losses[-1] < 0.6 * losses[0], losses


def test_a_training_step_is_quick(case):
    model, learnt = case.model(), case.pieces()
    began = time.process_time()
    model.fit(learnt, quiet=True, **{**case.quick, "steps": 1})
    assert time.process_time() - began < 2


def test_saved_and_loaded_it_writes_the_same(case, model, tmp_path):
    needs_tasks(model)
    before = case.sample(model, seed=3, n=2)
    model.save(tmp_path / "model")
    again = pretrained.load(tmp_path / "model")
    assert again.fingerprint == model.fingerprint
    assert again.config == model.config
    for a, b in zip(before, case.sample(again, seed=3, n=2), strict=True):
        assert a.tokens == b.tokens
        assert played(a.music) == played(b.music)
    assert played(before[0].music) != played(before[1].music)


def test_half_precision_is_half_the_size(case, model, tmp_path):
    size = {h: model.save(tmp_path / str(h), half=h) / "model.safetensors" for h in (False, True)}
    assert size[True].stat().st_size < 0.65 * size[False].stat().st_size
    again = pretrained.load(tmp_path / "True")
    if model.capabilities.tasks:
        assert case.sample(again, seed=1).music.note_num() > 0


def test_a_codec_that_was_saved_and_loaded_codes_the_same(case, model, tmp_path):
    if not model.capabilities.codec:
        pytest.skip("no codec itself")
    model.save(tmp_path / "model")
    again, music = pretrained.load(tmp_path / "model"), case.make(5)
    assert again.fingerprint == model.fingerprint
    assert again.config == model.config
    tokens = model.encode(music)
    assert again.encode(music) == tokens
    for level in range(model.levels):
        np.testing.assert_array_equal(
            again.decode(tokens, level=level).samples, model.decode(tokens, level=level).samples
        )
    assert tokens != model.encode(case.make(6))


def test_another_seed_gives_another_piece(case, model):
    needs_tasks(model)
    one, two, one_again = (case.sample(model, seed=s) for s in (1, 2, 1))
    assert played(one.music) == played(one_again.music)
    assert played(one.music) != played(two.music)
    assert one.request.seed == 1


def test_a_piece_hardly_depends_on_its_neighbours(case, model):
    needs_tasks(model)
    many = case.sample(model, seed=5, n=3)
    few = case.sample(model, seed=5, n=1)
    assert played(few[0].music) == played(many[0].music)
    assert [t.request.index for t in many] == [0, 1, 2]


def test_tokens_of_a_take_are_those_of_its_codec(case, model):
    needs_tasks(model)
    take = case.sample(model, seed=2)
    assert take.tokens.codec == model.codec.fingerprint
    assert played(model.codec.decode(take.tokens)) == played(take.music)


def test_foreign_tokens_are_refused(case, model):
    tokens = model.codec.encode(case.make(0))
    with pytest.raises(ValueError, match="codec"):
        model.codec.decode(Tokens(tokens.streams, tokens.clock, "somebody-else"))


def test_likelihood_is_per_unit_and_reproducible(case, model):
    if not model.capabilities.likelihood:
        with pytest.raises(ValueError, match=f"{case.family} has no likelihood"):
            model.likelihood(case.pieces(1))
        return
    figures = model.likelihood(case.pieces(3))
    assert figures == model.likelihood(case.pieces(3))
    assert 0 < figures["loss"] < 40
    assert figures["units"] > 0


def test_a_model_that_was_measured_can_still_learn(case):
    model = case.model()
    if case.preset == "book":
        model.learn(case.pieces(), [])
    if model.capabilities.likelihood:
        model.likelihood(case.pieces())
    elif model.capabilities.explain:
        model.explain(case.make(0))
    else:
        model.codec.encode(case.make(0))
    model.fit(case.pieces(), quiet=True, **{**case.quick, "steps": 1})


def test_fresh_models_of_a_seed_are_alike(case):
    if case.preset == "book":
        pytest.skip("its network waits for a vocabulary")
    torch.manual_seed(1)
    one = case.model().networks.state_dict()
    torch.manual_seed(2)
    two = case.model().networks.state_dict()
    assert all(torch.equal(t, two[n]) for n, t in one.items())


# -- config -----------------------------------------------------------------------------------------------


def test_config_survives_json(model, name):
    config, _, presets = settings_of(name.split("/")[0])
    for one in [model.config, *presets.values()]:
        assert from_json(config, json.loads(json.dumps(to_json(one)))) == one


OF_THEIR_OWN = {"musegan": {"width": "hidden", "dropout": "latent"}, "vqvae": {"dropout": "commit"}}
"""Where a family's whole number and its fraction have other names."""
WITHIN = {"music_transformer": ("chorale", "ChoraleConfig")}
"""Where the whole number stands in a part of the config: the part, and its class."""
MISSPELT = {"music_transformer": ("dropuot", "dropout")}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"wdith": 3}, "unknown field of Config 'wdith'; did you mean 'width'"),
        ({"width": "wide"}, "width must be of type int"),
        ({"width": 1.5}, "width must be of type int"),
        ({"width": True}, "width must be of type int"),
        ({"dropout": None}, "dropout must be of type float"),
        ({"train": 3}, "Settings must be a JSON object"),
        ({"train": {"stpes": 1}}, "did you mean 'steps'"),
        ({"train": {"betas": 0.9}}, "betas must be a list"),
        ({"train": {"betas": [0.9]}}, "betas must have 2 entries"),
        ({"train": {"betas": [0.9, "x"]}}, "betas must be of type float"),
        ({"train": {"schedule": "cosin"}}, "did you mean 'cosine'"),
        ({"train": {"steps": 0}}, "steps must be at least 1"),
    ],
)
@pytest.mark.parametrize("room", [*FAMILIES, "_template"])
def test_a_wrong_config_is_one_clear_line(room, change, message):
    config, _, presets = settings_of(room)
    for name, own in OF_THEIR_OWN.get(room, {}).items():
        if name in change:
            change, message = {own: change[name]}, message.replace(name, own)
    part, kind = WITHIN.get(room, ("", "Config"))
    if part and {"width", "wdith"} & set(change):
        change, message = (
            {part: {**to_json(presets["tiny"])[part], **change}},
            message.replace("Config", kind),
        )
    with pytest.raises(ValueError, match=message) as error:
        from_json(config, {**to_json(presets["tiny"]), **change})
    assert "\n" not in str(error.value)


def test_names_are_checked(case):
    room = family(case.family)
    with pytest.raises(ValueError, match=r"unknown preset of .* 'tinny'; did you mean 'tiny'"):
        room("tinny")
    wrong, right = MISSPELT.get(case.family, ("widht", "width"))
    with pytest.raises(ValueError, match=f"unknown option of .* '{wrong}'; did you mean '{right}'"):
        room("tiny", **{wrong: 3})
    with pytest.raises(ValueError, match="unknown training setting 'step'; did you mean 'steps'"):
        case.model().fit(case.pieces(), step=3)
    with pytest.raises(ValueError, match="unknown model family 'lstm'"):
        family("lstm")


def test_wrong_requests_are_one_clear_line(case, model):
    needs_tasks(model)
    for wrong, message in [
        ({"temprature": 1.0}, "did you mean 'temperature'"),
        ({"temperature": -1.0}, "temperature must be within"),
        ({"temperature": "hot"}, "temperature must be a number"),
        ({"n": 0}, "n must be at least 1"),
        ({"seed": -1}, "seed must not be negative"),
    ]:
        with pytest.raises(ValueError, match=message):
            case.sample(model, **wrong)


# -- what is not declared refuses ---------------------------------------------------------------------------


def test_undeclared_capabilities_refuse(case, model):
    from otonoha.sample.tasks import Answer, Compose, Continue

    for task in (Compose, Continue, Answer):
        if task in model.capabilities.tasks:
            continue
        with pytest.raises(ValueError, match=f"cannot do {task.__name__}( .it can: |: it is a (codec|part))"):
            model.sample(task, prompt=None if task is Compose else case.make(0))
    if not model.capabilities.explain:
        with pytest.raises(ValueError, match="cannot explain"):
            model.explain(case.make(0))


def test_explanations_have_the_shapes_they_promise(case, model):
    if not model.capabilities.explain:
        pytest.skip("does not declare explain")
    told = model.explain(case.make(11, bars=8))
    if isinstance(told, Critique):
        assert len(told.bars) == 8
        assert told.scores.shape == (8,)
        assert np.isfinite(told.scores).all()
        return
    T, S = len(told.events), len(told.attended)
    assert told.attention.shape[1:] == (T, S)
    assert told.pitches.shape == (T, 128)
    for p in told.probabilities.values():
        assert len(p) == T
        np.testing.assert_allclose(p.sum(1), 1, atol=1e-4)
    if len(told.attention):
        np.testing.assert_allclose(told.attention.sum(-1), 1, atol=1e-4)
    assert (told.pitches.sum(1) < 1 + 1e-4).all()


# -- cached equals uncached ---------------------------------------------------------------------------------

STEPPING = [
    "lstm_attention/tiny",
    "lstm_attention/no_attention",
    "lstm_attention/mixture",
    "lstm_attention/grid",
    "_template/tiny",
]


@pytest.mark.parametrize("name", STEPPING)
def test_step_by_step_equals_whole_sequences(name):
    model = fitted(name)
    with torch.inference_mode():
        compare_paths(name, model)


def compare_paths(name, model):
    network = next(iter(model.networks.values())).eval()
    sequences = model.prepare(CASES[name].pieces(2, bars=3))
    length = min(len(s) for s in sequences)
    streams = collate([s.slice(0, length) for s in sequences]).streams
    symbols = [s.name for s in model.codec.vocab.symbols]
    whole = [x.log_softmax(-1) for x in network(streams)]
    for known in (0, 1, length // 2):
        state = network.start(2)
        if known:
            state = network.prefill(state, {n: s[:, :known] for n, s in streams.items()})
        for t in range(known, length):
            drawn: list[torch.Tensor] = []
            state = network.place(state, {n: s[:, t] for n, s in streams.items() if n not in symbols})
            for k, symbol in enumerate(symbols):
                step = network.logits(state, k, drawn).log_softmax(-1)
                torch.testing.assert_close(step, whole[k][:, t], rtol=1e-4, atol=1e-4)
                drawn.append(streams[symbol][:, t])
            state = network.advance(state, drawn)


# -- fit ----------------------------------------------------------------------------------------------------


def test_pieces_that_cannot_be_learnt_are_told(case):
    from symusic import Score

    from otonoha.music.piece import Piece

    def broken():
        raise ValueError("the file is damaged")

    with pytest.raises(
        ValueError, match=r"none of the 1 pieces can be learnt from|no notes|fewer than|damaged"
    ):
        case.model().fit([Piece("x", "train", load_score=broken)], quiet=True, steps=1)
    with pytest.raises(ValueError, match=r"none of the 1 pieces|no notes|fewer than"):
        case.model().fit([Score(480)], quiet=True, steps=1)


def test_validation_pieces_that_cannot_be_used_are_told():
    from symusic import Score

    case = CASES["lstm_attention/tiny"]
    with pytest.raises(ValueError, match="none of the 1 validation pieces can be used"):
        case.model().fit(case.pieces(), [Score(480)], quiet=True, steps=1)


def test_a_folder_with_a_model_is_not_overwritten(tmp_path):
    case = CASES["_template/tiny"]
    case.model().fit(case.pieces(), out=tmp_path / "run", quiet=True, **{**case.quick, "steps": 1})
    with pytest.raises(ValueError, match="already holds a model"):
        case.model().fit(case.pieces(), out=tmp_path / "run", quiet=True, **{**case.quick, "steps": 1})
    with pytest.raises(ValueError, match="no run to resume"):
        case.model().fit(
            case.pieces(), out=tmp_path / "other", resume=True, quiet=True, **{**case.quick, "steps": 1}
        )


RESUMED = [f"lstm_attention/{name}" for name in ("tiny", "encoder_decoder", "book", "grid")]
RESUMED += ["vqvae/tiny"]
RESUMED += [f"musegan/{name}" for name in ("tiny", "lines_given", "book", "binary")]


@pytest.mark.parametrize("name", RESUMED)
def test_fit_resumes_to_the_same_weights(name, tmp_path):
    case = CASES[name]
    every = 2 if case.settle else 1  # a state of many small tensors takes its time to be written
    options = {**case.quick, "steps": 4, "save_every": every, "eval_every": 2, "ema": 0.5}
    whole = case.model()
    whole.fit(case.pieces(), case.pieces(2, split="valid"), out=tmp_path / "whole", quiet=True, **options)

    class CrashError(Exception):
        pass

    cut = case.model()
    evaluate, calls = cut.evaluate, []

    def stopping(sequences):
        calls.append(1)
        if len(calls) == 2:
            raise CrashError
        return evaluate(sequences)

    cut.evaluate = stopping
    with pytest.raises(CrashError):
        cut.fit(case.pieces(), case.pieces(2, split="valid"), out=tmp_path / "cut", quiet=True, **options)
    again = pretrained.load(tmp_path / "cut")
    again.fit(case.pieces(), case.pieces(2, split="valid"), out=tmp_path / "cut", resume=True, quiet=True)
    assert (tmp_path / "cut" / "log.jsonl").read_text() == (tmp_path / "whole" / "log.jsonl").read_text()
    assert again.fingerprint == whole.fingerprint == pretrained.load(tmp_path / "cut").fingerprint


def test_scores_can_be_given_instead_of_pieces():
    model = CASES["_template/tiny"].model()
    model.fit([tune(0), tune(1)], quiet=True, **{**QUICK, "steps": 1})
    grid = CASES["lstm_attention/grid"].model()
    grid.fit([chorale(0)], quiet=True, **{**QUICK, "steps": 1})
