"""The native engine (C, weights in two bytes) beside the exact one, whose memories it shares."""

import copy

import pytest
import torch
from priors import KINDS, SHAPE, prior, window

from otonoha.models.jukebox.config import Config
from otonoha.models.jukebox.model import Jukebox
from otonoha.models.jukebox.network_native import SOURCE, NativePrior, why_not
from otonoha.models.jukebox.network_single import TorchPrior
from otonoha.nn.compiled import NotCompiledError, library

torch.set_num_threads(1)
pytestmark = pytest.mark.skipif(
    isinstance(library(SOURCE), NotCompiledError), reason="there is no C compiler here"
)


def rounded(kind, engine="native", **changed):
    """A prior in float32 whose weights two bytes can hold exactly, so that the engines have to agree."""
    model = Jukebox(Config(**{**SHAPE, **KINDS[kind], **changed}))
    if not changed:
        model.networks.load_state_dict(prior(kind).networks.state_dict())
    for p in model.networks.requires_grad_(False).parameters():
        p.copy_(p.half().float())
    model.engine = engine
    return model


def written(model, codes, told, given):
    """Logits (B, T, codes) of the codes from `given` on, one by one."""
    step, found = model.step(**told), []
    state = step.prefill(step.start(len(codes)), {"code": codes[:, :given]})
    for at in range(given, codes.shape[1]):
        found.append(step.logits(state, 0, []))
        state = step.advance(state, [codes[:, at]])
    return torch.stack(found, 1), state


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("batch", "given"), [(1, 0), (3, 7)])
def test_it_gives_what_the_exact_engine_gives(kind, batch, given):
    model = rounded(kind)
    codes, told = window(model, batch)
    found, state = written(model, codes, told, given)
    wanted = model.logits(codes, **told)[:, model.config.prefix + given :, model.config.shift :]
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5 * float(wanted.abs().max()))
    assert state.known == model.config.length


@pytest.mark.parametrize("batch", [1, 2, 5, 8, 9, 17])
def test_any_number_of_rows_and_a_row_is_the_same_in_any_company(batch):
    model = rounded("told upsampler", width=72, heads=3, codes=45)
    codes, told = window(model, batch)
    found, _ = written(model, codes, told, 3)
    wanted = model.logits(codes, **told)[:, 3:]
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5 * float(wanted.abs().max()))
    alone, _ = written(model, codes[:1], {n: t[:1] for n, t in told.items()}, 3)
    torch.testing.assert_close(found[:1], alone, rtol=0, atol=1e-6 * float(wanted.abs().max()))


def test_memories_can_be_handed_over_between_the_engines():
    model = rounded("separate")
    codes, told = window(model, 2)
    step = model.step(**told)
    state, native = step.start(2), step.single
    wanted = model.logits(codes, **told)
    for at in range(model.n_ctx):
        step.single = [native, None, TorchPrior(model.network.prior)][at % 3]
        logits = step.logits(state, 0, [])
        torch.testing.assert_close(logits, wanted[:, at], rtol=0, atol=1e-5 * float(wanted.abs().max()))
        state = step.advance(state, [codes[:, at]])


def test_ordinary_weights_are_rounded_a_little():
    model = rounded("labels")
    for p in model.networks.parameters():
        p.mul_(1 + 1e-4)
    codes, told = window(model, 2)
    found, _ = written(model, codes, told, 5)
    wanted = model.logits(codes, **told)[:, 5:]
    assert 0 < float((found - wanted).abs().max()) < 0.02 * float(wanted.std())


def test_changed_weights_are_taken_in():
    model = rounded("plain")
    codes, told = window(model, 1)
    before, _ = written(model, codes, told, 2)
    assert model.step().single is model.step().single
    model.network.prior.x_emb.weight.mul_(2.0)
    after, _ = written(model, codes, told, 2)
    assert not torch.allclose(before, after)
    torch.testing.assert_close(
        after, model.logits(codes)[:, 2:], rtol=0, atol=1e-5 * float(after.abs().max())
    )


def test_engines_are_chosen_by_name():
    model = rounded("plain", "auto")
    assert isinstance(model.step().single, NativePrior)
    model.engine = "float"
    assert isinstance(model.step().single, TorchPrior)
    model.engine = "nativ"
    with pytest.raises(ValueError, match="unknown engine 'nativ'; did you mean 'native'"):
        model.step()


def test_recorded_attention_is_exact():
    model = rounded("separate")
    assert model.step(**window(model)[1], record=model.lyric_layers).single is None


def test_what_it_cannot_carry_out_is_told():
    model = copy.deepcopy(rounded("plain"))
    model.networks.double()
    with pytest.raises(ValueError, match="it needs float32 weights on the CPU, these are"):
        model.step()
    model.engine = "auto"
    assert isinstance(model.step().single, TorchPrior)
    model.networks.float().prior.prior.x_emb.weight[0, 0] = 1e6
    assert "too large for two bytes" in why_not(model.network.prior)
    with pytest.raises(ValueError, match="too large"):
        NativePrior(model.network.prior, model.config)
