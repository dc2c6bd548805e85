"""Four voices from four noises: turn one knob of one voice and hear what changes; then set your own soprano.

python examples/turn_a_knob.py [soprano.mid]
"""

import sys
from pathlib import Path

import otonoha as oto

folder = Path("songs/knobs")
choir = oto.load("choir")
first = choir.sample(bars=8, seed=3)
oto.write(first, folder / "first.mid")

settings = [("as it was", first)]
for mix in (0.25, 0.5, 1.0):  # the bass travels to the rhythm that it has in piece 9
    turned = choir.sample(bars=8, seed=3, groove_seed=9, groove_mix=mix, only_tracks="bass")
    settings.append((f"groove of the bass {mix:g}", turned))
    oto.write(turned, folder / f"groove-{mix:g}.mid")
oto.plot.save(oto.plot.sweep(settings), folder / "sweep.png")

for name, take in settings:
    scores = choir.explain(take.music).scores  # how much at home the model feels in every bar
    print(f"{name}: {scores.mean():.1f} nats a bar")

tune = oto.read(sys.argv[1]) if len(sys.argv) > 1 else first.music
setting = oto.load("accompanist").sample(oto.Accompany(tune), seed=1)
print(oto.write(setting, folder / "accompanied.mid"))
