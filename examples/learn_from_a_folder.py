"""Learn from a folder of MIDI, MusicXML or ABC files, then write something in their manner.

python examples/learn_from_a_folder.py ~/midi runs/mine
"""

import sys

import otonoha as oto

files, out = sys.argv[1:3]
music = oto.corpus(files)  # train, valid and test pieces; damaged files are reported and left out
print(music.report.summary())

model = oto.LSTMAttention("small")
outcome = model.fit(music.train, music.valid, out=out, steps=1000)
print(
    f"best at step {outcome.best_step}: {outcome.best:.3f} nats per note on {len(music.valid)} unseen pieces"
)

for take in model.sample(bars=16, n=4, seed=1):
    path = oto.write(take, f"{out}/takes/{take.request.index}.mid")
    print(path)

known = [(piece.id, piece.score()) for piece in music.train]
for row in oto.metrics.novelty_report([take.music for take in model.sample(bars=16, n=4, seed=1)], known):
    print(
        f"tune {row['name']}: longest passage it shares with a training piece: {row['longest_match']} notes"
    )
