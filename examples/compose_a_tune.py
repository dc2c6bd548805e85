"""Compose a tune with the model that comes with the package, and keep it as notes, sound and picture.

python examples/compose_a_tune.py
"""

from pathlib import Path

import otonoha as oto

folder = Path("songs/example")
model = oto.load("melody")
take = model.sample(bars=8, key="D minor", metre="3/4", seed=3)

oto.write(take, folder / "tune.mid")
oto.write(take, folder / "tune.musicxml")  # for a notation program
oto.write(oto.render(take), folder / "tune.wav")
oto.plot.save(oto.plot.roll(take, title="eight bars in D minor"), folder / "tune.png")
print(f"{take.music.note_num()} notes in {folder}")
