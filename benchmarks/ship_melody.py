"""Train, measure and pack the models that come with the package: `melody` and `answer`.

    python benchmarks/ship_melody.py melody     # one core: about an hour
    python benchmarks/ship_melody.py answer     # one core: about 20 minutes

Data: the sung lines of openscore-lieder (CC0) and the sopranos of bach-chorales. Goes on where it stopped
when it is called again. The validation pieces choose the weights; the test pieces are measured once, at the end.
"""

from __future__ import annotations

import sys
from pathlib import Path

from otonoha.data.corpus import corpus
from otonoha.models.lstm_attention.model import LSTMAttention
from otonoha.models.pretrained import SHIPPED, load

RECIPES = {
    "melody": ("small", {"steps": 2400, "eval_every": 150, "save_every": 150, "patience": 0}),
    "answer": ("encoder_decoder", {"steps": 3000, "eval_every": 150, "save_every": 150, "patience": 8}),
}
SUMMARY = {
    "melody": "Writes melodies, or goes on with yours: the LSTM with attention of this package, preset `small`.",
    "answer": "Answers a phrase with a phrase: the encoder-decoder of the LSTM family.",
}


def main(name: str) -> None:
    """Train `name` in runs/`name`, then write it to the package."""
    preset, settings = RECIPES[name]
    parts = [corpus("lieder-voice"), corpus("bach-chorales")]
    train, valid, test = (
        [p for c in parts for p in getattr(c, split)] for split in ("train", "valid", "test")
    )
    run = Path("runs") / name
    resume = any((run / "state").glob("step-*")) if run.exists() else False
    model = load(run) if resume else LSTMAttention(preset)
    outcome = model.fit(train, valid, out=run, resume=resume, **settings)
    model.card = {
        "name": name,
        "summary": SUMMARY[name],
        "data": "openscore-lieder (sung lines, CC0 1.0) and bach-chorales (sopranos; public-domain music, encodings "
        "distributed with music21 by permission), train splits",
        "licence": "Apache-2.0 for the weights; the music it learnt from is CC0 or in the public domain",
        "corpora": "lieder-voice,bach-chorales",
        "command": f"python benchmarks/ship_melody.py {name}",
        "steps": outcome.step,
        "seed": model.config.train.seed,
        "metrics": {
            f"{split} {key} (nats per note)" if key != "units" else f"{split} notes": value
            for split, pieces in (("valid", valid), ("test", test))
            for key, value in model.likelihood(pieces).items()
        },
    }
    model.defaults = (
        {"bars": 16, "temperature": 0.95, "min_p": 0.03, "repetition": 0.15, "max_rest": 2}
        if name == "melody"
        else {"temperature": 0.7, "min_p": 0.05, "repetition": 0.1, "max_rest": 1}
    )
    model.save(run)
    folder = model.save(SHIPPED / name, half=True)
    print(folder, f"{sum(p.stat().st_size for p in folder.iterdir()) / 1e6:.2f} MB")


if __name__ == "__main__":
    main(sys.argv[1])
