"""The pictures of README and docs, made by the code they show: `python benchmarks/pictures.py`."""

from __future__ import annotations

from pathlib import Path

import otonoha as oto
from _transformer_pictures import transformer

PICTURES = Path(__file__).parent.parent / "docs" / "pictures"
SEED = 7
CHOIR = 13
"""Of seeds 0 … 29 the one with the fewest clashes."""


def main() -> None:
    """Write all pictures."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    model = oto.load("melody")
    take = model.sample(seed=SEED)
    oto.plot.save(oto.plot.roll(take, title=f"otonoha compose --seed {SEED}"), PICTURES / "melody.png")
    short = model.sample(bars=8, key="G major", metre="3/4", pickup=0, style="lied", seed=2)
    seen = model.explain(short.music)
    oto.plot.save(oto.plot.attention(seen.attention, seen.events, seen.attended), PICTURES / "attention.png")
    figure = oto.plot.probabilities(seen.pitches.T, labels=seen.events)
    oto.plot.save(figure, PICTURES / "probabilities.png")
    asked = {"bars": 4, "key": "D major", "metre": "4/4", "pickup": 0, "style": "lied"}
    question = model.sample(**asked, seed=4).music
    answer = oto.load("answer").sample(oto.Answer, prompt=question, seed=4)
    oto.plot.save(oto.plot.roll(answer, title="question and answer"), PICTURES / "answer.png")
    oto.plot.save(oto.plot.spectrogram(oto.render(take)), PICTURES / "spectrogram.png")
    choir()
    harmonised()
    transformer()


def harmonised() -> None:
    """A soprano that the chorale model does not know, in four voices."""
    tune = oto.corpus("bach-chorales").test[0].score()
    tune.tracks = [t for t in tune.tracks if t.name.lower() == "soprano"]
    take = oto.load("chorale").sample(prompt=tune, seed=1)
    oto.plot.save(
        oto.plot.grid(take, title="otonoha sample chorale --task harmonise --seed 1"),
        PICTURES / "harmonised.png",
    )


def choir() -> None:
    """Of MuseGAN: tracks by bars, the groove of the bass turned, the score of every bar."""
    model = oto.load("choir")
    piece = model.sample(bars=8, seed=CHOIR)
    oto.plot.save(
        oto.plot.grid(piece, title=f"otonoha sample choir --seed {CHOIR}"), PICTURES / "musegan_grid.png"
    )
    turned = {"groove_seed": 9, "melody_seed": 9, "only_tracks": "bass", "bars": 4}
    settings = [("0", model.sample(seed=CHOIR, bars=4))]
    settings += [
        (f"{mix:g}", model.sample(seed=CHOIR, groove_mix=mix, melody_mix=mix, **turned))
        for mix in (0.25, 0.5, 1)
    ]
    oto.plot.save(
        oto.plot.sweep(settings, title="groove and melody of the bass"), PICTURES / "musegan_sweep.png"
    )
    known = oto.corpus("bach-chorales").valid[0].score()
    seen = model.explain(known)
    oto.plot.save(
        oto.plot.conductor(
            known, seen.scores, seen.real, title="a chorale the model does not know, bar by bar"
        ),
        PICTURES / "musegan_conductor.png",
    )
    band = Path("runs/bench-musegan-band/band-1.mid")  # benchmarks/musegan_band.py writes it
    if band.exists():
        oto.plot.save(oto.plot.grid(oto.read(band)), PICTURES / "musegan_band.png")


if __name__ == "__main__":
    main()
