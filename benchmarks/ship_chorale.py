"""Train, measure and pack `chorale`: four voices frame by frame with a motif memory (Music Transformer).

    python benchmarks/ship_chorale.py            # one core: about ten minutes; goes on where it stopped

Data: bach-chorales (music21), its own split, which inherits that of the JSB tables. The validation pieces choose the
weights and the temperature of the chances; the test pieces are measured once, when it is packed.
"""

from __future__ import annotations

from pathlib import Path

from otonoha.data.corpus import corpus
from otonoha.models.music_transformer.model import MusicTransformer
from otonoha.models.pretrained import SHIPPED, load

NAME, RUN = "chorale", Path("runs/chorale")
DEFAULTS = {"bars": 8, "temperature": 0.8, "tempo": 84.0}


def main() -> None:
    """Train, or go on; then write the model to the package."""
    data, resume = corpus("bach-chorales"), (RUN / "config.json").exists()
    model = load(RUN) if resume else MusicTransformer("chorale")
    outcome = model.fit(data.train, data.valid, out=RUN, resume=resume)
    model.card |= {
        "name": NAME,
        "summary": "Harmonises your melody in four voices, fills in and composes chorales (Music Transformer, "
        "preset `chorale`, with a motif memory).",
        "data": "bach-chorales, train split (public-domain music, encodings distributed with music21 by permission)",
        "licence": "Apache-2.0 for the weights; the music it learnt from, which its memory holds, is in the public "
        "domain",
        "corpora": "bach-chorales",
        "command": "python benchmarks/ship_chorale.py",
        "steps": outcome.step,
        "seed": model.config.train.seed,
        "metrics": {
            f"{split} nats a note": model.evaluate(model.prepare(getattr(data, split)))["loss"]
            for split in ("valid", "test")
        },
    }
    model.defaults = DEFAULTS
    model.save(RUN)
    folder = model.save(SHIPPED / NAME, half=True)
    print(folder, f"{sum(p.stat().st_size for p in folder.iterdir()) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
