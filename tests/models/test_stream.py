"""stream and its jobs: progress, cancelling, interruption at any position, the identical result."""

import numpy as np
import pytest
import torch

from families import CASES
from helpers import played, tune
from otonoha.sample.tasks import Compose, Continue, Done, Progress

torch.set_num_threads(1)
MODELS: dict[str, object] = {}


@pytest.fixture(
    params=[
        "lstm_attention/tiny",
        "_template/tiny",
        "lstm_attention/book",
        "lstm_attention/encoder_decoder",
        "musegan/tiny",
        "musegan/lines_given",
    ]
)
def case(request):
    if request.param not in MODELS:
        MODELS[request.param] = CASES[request.param].fitted()
    return CASES[request.param], MODELS[request.param]


def test_stream_tells_progress_and_ends_with_done(case):
    made, model = case
    *progress, last = list(model.stream(**made.asked, seed=1, n=2))
    assert all(isinstance(p, Progress) for p in progress)
    assert [p.done for p in progress] == list(range(1, len(progress) + 1))
    assert isinstance(last, Done)
    assert [played(t.music) for t in last.takes] == [played(t.music) for t in made.sample(model, seed=1, n=2)]


def test_interrupted_anywhere_it_resumes_to_the_same_music(case, tmp_path):
    made, model = case
    whole = made.sample(model, seed=4, n=2)
    steps = len(list(model.stream(**made.asked, seed=4, n=2))) - 1
    for cut in {0, 1, steps // 2, steps}:
        folder = tmp_path / str(cut)
        stream = model.stream(**made.asked, seed=4, n=2, job=folder)
        for _ in range(cut):
            next(stream)
        stream.close()
        if cut and made.family != "musegan":  # it writes a whole piece at once: there is nothing to keep
            with np.load(folder / "tokens.npz") as data:
                assert len(data["drawn"]) == cut
        again = made.sample(model, seed=4, n=2, job=folder)
        assert [t.tokens for t in again] == [t.tokens for t in whole]
        assert [played(t.music) for t in again] == [played(t.music) for t in whole]
        # once finished it is finished: the same call gives the same answer
        assert made.sample(model, seed=4, n=2, job=folder)[0].tokens == whole[0].tokens


def test_a_job_of_another_request_is_refused(case, tmp_path):
    made, model = case
    made.sample(model, seed=4, job=tmp_path)
    for other, word in [({"seed": 5}, "seed"), ({"n": 2}, "n"), ({"temperature": 0.33}, "controls")]:
        with pytest.raises(ValueError, match=f"another request .different: {word}"):
            made.sample(model, **{"seed": 4, **other}, job=tmp_path)
    with torch.no_grad():
        weight = next(p for p in model.networks.parameters() if p.requires_grad)
        kept = weight.clone()
        weight += 1
        try:
            with pytest.raises(ValueError, match=r"another request .different: model"):
                made.sample(model, seed=4, job=tmp_path)
        finally:
            weight.copy_(kept)


def test_damaged_job_tokens_are_written_anew(case, tmp_path):
    made, model = case
    whole = made.sample(model, seed=4, job=tmp_path)
    (tmp_path / "tokens.npz").write_bytes(b"not a zip file")
    assert made.sample(model, seed=4, job=tmp_path).tokens == whole.tokens


def test_without_a_seed_one_is_drawn_and_kept_in_the_request(case):
    made, model = case
    take = made.sample(model)
    assert played(made.sample(model, seed=take.request.seed).music) == played(take.music)


def test_defaults_of_a_checkpoint_fill_what_was_not_said(case):
    made, model = case
    knob, value = made.knob
    model.defaults = {knob: value}
    try:
        found = getattr(made.sample(model, seed=1).request.controls, knob)
        assert found in (value, made.asked.get(knob))
    finally:
        model.defaults = {}


def test_prompts_and_tasks():
    model = MODELS.setdefault("lstm_attention/tiny", CASES["lstm_attention/tiny"].fitted())
    prompt = tune(5, bars=2)
    by_prompt = model.sample(prompt=prompt, bars=2, seed=1)
    assert isinstance(by_prompt.request.task, Continue)
    for same in ({"task": Continue, "prompt": prompt}, {"task": Continue(prompt)}):
        assert model.sample(**same, bars=2, seed=1).tokens == by_prompt.tokens
    assert model.sample(Compose, bars=1, seed=1).tokens == model.sample(bars=1, seed=1).tokens
    for wrong, message in [
        ({"task": Continue}, "Continue needs a prompt"),
        ({"task": Compose, "prompt": prompt}, "Compose takes no prompt"),
        ({"task": Continue(prompt), "prompt": prompt}, "prompt has no effect"),
        ({"task": "compose"}, "cannot do str"),
    ]:
        with pytest.raises(ValueError, match=message):
            model.sample(**wrong, bars=1)


def test_contradictory_constraints_are_one_clear_line():
    model = MODELS.setdefault("lstm_attention/tiny", CASES["lstm_attention/tiny"].fitted())
    for wrong, message in [
        ({"key": "C", "scale_only": True, "low": 61, "high": 61}, "no pitch of the key lies between"),
        ({"low": 70, "high": 60}, "range"),
        ({"key": "H major"}, "key"),
        ({"metre": "4/5"}, "unknown metre"),
        ({"metre": "3/4", "pickup": 3}, "pick-up"),
        ({"style": "jazz"}, "style"),
    ]:
        with pytest.raises(ValueError, match=message) as error:
            model.sample(bars=2, **wrong)
        assert "\n" not in str(error.value)
