"""Learn from a folder of MIDI, MusicXML or ABC files, then write something in their manner.

python examples/learn_from_a_folder.py ~/midi runs/mine [steps]
"""

import sys

import otonoha as oto

files, out, *rest = sys.argv[1:]
music = oto.corpus(files)  # train, valid and test pieces; damaged files are reported and left out
print(music.report.summary())

model = oto.LSTMAttention("small")
steps = int(rest[0]) if rest else 1000
outcome = model.fit(music.train, music.valid, out=out, steps=steps)
print(f"best at step {outcome.best_step}: {outcome.best:.3f} nats per note on {len(music.valid)} pieces")

takes = model.sample(bars=16, n=4, seed=1)
for take in takes:
    print(oto.write(take, f"{out}/takes/{take.request.index}.mid"))

known = [(piece.id, piece.score()) for piece in music.train]
for row in oto.metrics.novelty_report([take.music for take in takes], known):
    print(f"tune {row['name']} shares at most {row['longest_match']} notes in a row with a training piece")
