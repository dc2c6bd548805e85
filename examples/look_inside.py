"""What did the model look at, and what did it expect? Attention and probabilities along a melody.

python examples/look_inside.py prelude.mid
"""

import sys

import otonoha as oto

score = oto.read(sys.argv[1])
seen = oto.load("melody").explain(score)

oto.plot.save(oto.plot.attention(seen.attention, seen.events, seen.attended), "attention.png")
heads, steps, _ = seen.attention.shape
surprise = sorted(zip(seen.pitches.max(axis=1), seen.events, strict=True))[:5]
print(f"{steps} events, {heads} heads; least certain before: {', '.join(name for _, name in surprise)}")
