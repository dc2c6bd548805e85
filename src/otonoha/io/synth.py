"""The engine of the built-in synthesiser: damped partials and filtered noise, by matrix products.

A note is a bank of P partials, x(t) = Σ_p g_p · e_p(t) · sin(2π (f_p·T(t) + φ_p)), and bands of noise. T is
time warped by vibrato, glide and bend, e_p the envelope raised to the partial's power, with its own decay.

Time is cut into blocks of B samples (2.9 ms). Inside a block the phase runs on at the partial's own frequency
from the exact value at either end of the block, and the two are cross-faded, so the bank is two products

    (blocks, 2P) @ (2P, B),    coefficients at the blocks' edges times one block of rotating phasors,

instead of P sines per sample. `direct_tone` is its slow twin (also used for wide glides and bends, where the
frequency moves too far within one block). Waves are (channels, frames) float32; channels is 1 or 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from otonoha.io.timbres import Noise, Timbre

BLOCK_SECONDS = 128 / 44100
BAND_LIMIT = 0.45  # of the rate: no partial is above
MAX_PARTIALS = 72  # per voice; the highest are faded, so that the cut is not heard
SILENCE_DB = 72.0  # a note that has fallen by so much is over
FADE_ERROR = 2e-3
ONE_CORE = 250_000  # multiplications; OpenBLAS goes parallel above 262,144
QUIET = 10 ** (-SILENCE_DB / 20)
CHUNK = 256  # blocks at a time: memory stays bounded, and partials that have died are left out
NOISE_SECONDS = 1.45
NEPER = 20 / np.log(10)  # dB per neper
VELOCITY_STEP = 6  # brightness is computed once per so many velocities; loudness follows every one


@dataclass(frozen=True, eq=False)
class Bank:
    """P partials. Frequencies in Hz, phases in turns, decay in nepers per second, gain is (channels, P)."""

    frequency: np.ndarray
    phase: np.ndarray
    gain: np.ndarray
    decay: np.ndarray
    power: np.ndarray

    def side(self, channel: int) -> Bank:
        """The partials heard on one channel, as a bank of one channel."""
        one = Bank(self.frequency, self.phase, self.gain[channel : channel + 1], self.decay, self.power)
        return one.only(one.gain[0] > 1e-6)

    def only(self, those: np.ndarray) -> Bank:
        """Some of the partials."""
        return Bank(
            self.frequency[those],
            self.phase[those],
            self.gain[:, those],
            self.decay[those],
            self.power[those],
        )


@dataclass(frozen=True)
class Note:
    """What is to be sounded: MIDI pitch, velocity 1–127, seconds held, bend (seconds, semitones)."""

    pitch: float
    velocity: int
    held: float
    bend: tuple[tuple[float, float], ...] = ()

    def kind(self) -> Note:
        """What all notes have in common that one wave can serve: pitch, bend, about the same velocity."""
        velocity = min(127, self.velocity // VELOCITY_STEP * VELOCITY_STEP + VELOCITY_STEP // 2)
        return Note(self.pitch, velocity, 0.0, self.bend)


class Synth:
    """Notes to waves at one rate. Equal seeds give equal samples."""

    def __init__(self, rate: int, seed: int = 0) -> None:
        self.rate = rate
        self.block = max(8, round(BLOCK_SECONDS * rate))
        self._seed = seed
        self._noises: dict[tuple[float, float], np.ndarray] = {}
        size = 1 << int(np.ceil(np.log2(NOISE_SECONDS * rate)))
        white = np.random.default_rng([seed, 1]).standard_normal(size, dtype=np.float32)
        self._white = np.fft.rfft(white)
        self._hertz = np.fft.rfftfreq(size, 1 / rate)
        self._weight = loudness_weight(self._hertz)
        self._size = size

    def wave(self, timbre: Timbre, note: Note) -> np.ndarray:
        """The note's sound, from its onset until it has died away: (channels, frames)."""
        return self.let_go(self.open(timbre, note), timbre, note.held)

    def let_go(self, wave: np.ndarray, timbre: Timbre, held: float) -> np.ndarray:
        """An open wave, damped from the moment at which its note is let go; a new array."""
        end, off = int(sounding_seconds(timbre, held) * self.rate), round(held * self.rate)
        out = wave[:, : max(end, self.block)].copy()
        if not timbre.one_shot and off < out.shape[1]:
            time = np.arange(out.shape[1] - off, dtype=np.float32)
            out[:, off:] *= np.exp(time * np.float32(-60 / NEPER / timbre.release / self.rate))
        out[:, -self.block :] *= np.linspace(1, 0, self.block, dtype=np.float32)
        return out

    def open(self, timbre: Timbre, note: Note) -> np.ndarray:
        """The note's sound if it is never let go, as long as a note so long can be heard: (channels, frames)."""
        rng = np.random.default_rng([self._seed, 2, int(note.pitch * 16) + 4096])
        bank = partials(timbre, note, self.rate, rng)
        length = min(sounding_seconds(timbre, note.held), _dying_seconds(timbre, bank)) + 2 * BLOCK_SECONDS
        edges = np.arange(max(2, int(np.ceil(length * self.rate / self.block)))) * (self.block / self.rate)
        envelope = log_envelope(timbre, note, edges)
        out = np.zeros((len(bank.gain), (len(edges) - 1) * self.block), np.float32)
        if bank.frequency.size:
            out += tone(bank, timbre, note, edges[-1], self.block, self.rate)[:, : out.shape[1]]
        for index, noise in enumerate(timbre.noises):
            start = int(rng.integers(self._size)) + 7919 * index
            out += self._noise(noise, timbre, note, edges, envelope, start)
        return out

    def _noise(self, noise: Noise, timbre: Timbre, note: Note, edges, envelope, start: int) -> np.ndarray:
        """One band of noise; its level is in dB beside a full tone, its band moves with the pitch."""
        shift = 2.0 ** (round(noise.follow * (note.pitch - 60) / 4) / 3)  # thirds of octaves: few bands
        if noise.decay:
            shape = np.minimum(1, edges / noise.attack) * np.exp(-edges * (60 / NEPER) / noise.decay)
        else:
            shape = np.exp(envelope)
        if noise.pulse:
            wave = 0.5 - 0.5 * np.cos(2 * np.pi * noise.pulse * edges)
            shape = shape * (1 - noise.depth + noise.depth * wave**2)
        velocity = 10 ** (noise.touch * (note.velocity - 127) / 127 / 20)
        shape = (shape * (10 ** (noise.level / 20) * velocity)).astype(np.float32)
        band = self._band(round(noise.low * shift, -1), round(noise.high * shift, -1))
        frames = (len(edges) - 1) * self.block
        source = band.take(np.arange(start, start + frames), mode="wrap").reshape(-1, self.block)
        ramp = np.arange(self.block, dtype=np.float32) / self.block
        gain = shape[:-1, None] + np.diff(shape)[:, None] * ramp
        return (source * gain).reshape(1, -1)

    def _band(self, low: float, high: float) -> np.ndarray:
        """An endless loop of noise between two frequencies (24 dB/octave skirts), loudness of a unit tone."""
        if (low, high) not in self._noises:
            bottom, top = min(low, 0.3 * self.rate), min(high, BAND_LIMIT * self.rate)
            rise, fall = (bottom / np.maximum(self._hertz, 1)) ** 4, (self._hertz / top) ** 4
            spectrum = self._white / np.sqrt((1 + rise * rise) * (1 + fall * fall))
            power = np.sum(np.abs(spectrum) ** 2 * self._weight) * 2 / self._size**2
            loop = np.fft.irfft(spectrum / np.sqrt(max(power, 1e-20)), self._size)
            self._noises[(low, high)] = loop.astype(np.float32)
        return self._noises[(low, high)]


def partials(timbre: Timbre, note: Note, rate: int, rng: np.random.Generator) -> Bank:
    """The partials of a note: frequencies, loudness-normalised gains, decays. Empty above the band limit."""
    f0 = timbre.hertz or 440.0 * 2.0 ** ((note.pitch - 69) / 12 + timbre.octave)
    ratio, gain = _ratios_and_levels(timbre, f0, BAND_LIMIT * rate)
    hertz = ratio * f0
    gain = gain * _colour(timbre, hertz, f0, note.velocity / 127)
    if gain.size:
        kept = gain > gain.max() * 10 ** (-SILENCE_DB / 20)
        ratio, gain, hertz = ratio[kept], gain[kept], hertz[kept]
    decay = _decay_rates(timbre, ratio, f0)
    voices = np.array(timbre.voices, dtype=np.float64).reshape(-1, 4)
    cents, share, slower, pan = (column[:, None] for column in voices.T)
    frequency = (hertz * 2.0 ** (cents / 1200)).ravel()
    power = np.sum(gain**2 * loudness_weight(hertz)) * np.sum(share**2)
    gains = (gain * share / np.sqrt(max(power, 1e-20))).ravel()
    side = np.broadcast_to(pan, (len(voices), hertz.size)).ravel()
    wide = bool(np.any(side))
    angle = (side + 1) * np.pi / 4
    both = np.stack([np.cos(angle), np.sin(angle)]) * np.sqrt(2) if wide else np.ones((1, side.size))
    fine = frequency < BAND_LIMIT * rate
    return Bank(
        frequency=frequency[fine],
        phase=rng.random(frequency.size)[fine],
        gain=(gains * both * np.sqrt(2))[:, fine].astype(np.float32),
        decay=(decay / slower).ravel()[fine],
        power=np.tile(1 + timbre.swell * np.log2(np.maximum(ratio, 1)), len(voices))[fine],
    )


def _ratios_and_levels(timbre: Timbre, f0: float, limit: float) -> tuple[np.ndarray, np.ndarray]:
    """Frequency ratios and raw amplitudes: harmonics, stretched by stiffness, or the timbre's own modes."""
    if timbre.ratios:
        ratio = np.array(timbre.ratios, dtype=np.float64)
        gain = 10 ** (np.array(timbre.levels, dtype=np.float64) / 20)
    else:
        count = int(np.clip(limit / f0, 0, MAX_PARTIALS))
        k = np.arange(1, count + 1, dtype=np.float64)
        stiff = timbre.stiffness * (f0 / 440) ** 1.2
        ratio = k * np.sqrt((1 + stiff * k**2) / (1 + stiff))
        gain = k ** (-timbre.slope / 6.02) * np.where(k % 2 == 0, timbre.even, 1.0)
        if timbre.pluck:
            gain *= np.maximum(np.abs(np.sin(np.pi * k * timbre.pluck)), 0.03)
        gain *= np.clip((MAX_PARTIALS + 1 - k) / 16, 0, 1)
    fits = ratio * f0 < limit
    return ratio[fits], gain[fits]


def _colour(timbre: Timbre, hertz: np.ndarray, f0: float, velocity: float) -> np.ndarray:
    """Body resonances, and the low-pass whose corner opens with velocity."""
    colour = np.ones_like(hertz)
    for centre, boost, width in timbre.formants:
        colour += (10 ** (boost / 20) - 1) / (1 + ((hertz - centre) / width) ** 2)
    corner = timbre.cutoff * (f0 / 440) ** timbre.follow * 2.0 ** (timbre.soft * (velocity - 1))
    return colour / (1 + (hertz / max(corner, 0.7 * f0)) ** 2)


def _decay_rates(timbre: Timbre, ratio: np.ndarray, f0: float) -> np.ndarray:
    """Nepers per second; high notes and high partials die sooner."""
    if not timbre.decay:
        return np.zeros_like(ratio)
    seconds = np.clip(timbre.decay * (440 / f0) ** (0 if timbre.hertz else 0.7), 0.02, 40)
    return (60 / NEPER) / seconds * (1 + timbre.tilt * (ratio**1.15 - 1)).clip(0.5)


def sounding_seconds(timbre: Timbre, held: float) -> float:
    """From the onset until the release is over (a drum: until it has died away), at most."""
    if timbre.one_shot:
        return max([timbre.decay, *(noise.decay for noise in timbre.noises)]) * SILENCE_DB / 60
    return held + timbre.release * SILENCE_DB / 60


def _dying_seconds(timbre: Timbre, bank: Bank) -> float:
    """Until all partials and noises have died by themselves; infinite for what is kept alive."""
    if any(not noise.decay for noise in timbre.noises):
        return np.inf
    ends = [noise.decay * SILENCE_DB / 60 for noise in timbre.noises]
    if bank.frequency.size:
        slowest = float(bank.decay.min())
        ends.append(SILENCE_DB / NEPER / slowest + timbre.attack if slowest > 0 else np.inf)
    return max(ends, default=0.0)


def log_envelope(timbre: Timbre, note: Note, edges: np.ndarray) -> np.ndarray:
    """ln of the envelope at the blocks' edges: attack, fall to the sustained level, tremolo."""
    hard = note.velocity / 127
    attack = max(timbre.attack * (1.5 - 0.75 * hard), BLOCK_SECONDS)
    level = np.sin(np.pi / 2 * np.minimum(1, edges / attack)) ** 2
    if timbre.fall:
        level *= timbre.sustain + (1 - timbre.sustain) * np.exp(-edges / timbre.fall)
    if timbre.tremolo:
        deep = np.minimum(1, edges / 0.3) * timbre.tremolo
        level *= 1 - deep * (0.5 - 0.5 * np.cos(2 * np.pi * timbre.tremolo_rate * edges))
    return np.log(np.maximum(level, 1e-5))


def warped_time(timbre: Timbre, note: Note, edges: np.ndarray) -> np.ndarray:
    """T at the blocks' edges: the integral of the frequency's factor (vibrato, glide, bend)."""
    middle = (edges[:-1] + edges[1:]) / 2
    octaves = np.zeros_like(middle)
    if timbre.vibrato:
        speed = timbre.vibrato_rate * (1 + 0.04 * np.sin(note.pitch * 1.7))
        depth = np.clip((middle - timbre.vibrato_delay) / 0.35, 0, 1) * timbre.vibrato
        octaves += depth / 1200 * np.sin(2 * np.pi * speed * (middle - timbre.vibrato_delay))
    if timbre.glide:
        octaves += timbre.glide * np.exp(-middle / timbre.glide_time)
    if note.bend:
        when, semitones = np.array(note.bend).T
        octaves += np.interp(middle, when, semitones) / 12
    steps = np.diff(edges) * 2.0**octaves
    return np.concatenate([[0.0], np.cumsum(steps)])


def tone(bank: Bank, timbre: Timbre, note: Note, length: float, block: int, rate: int) -> np.ndarray:
    """The bank over `length` seconds, in blocks as short as its glides ask for."""
    coarse = np.arange(0, length + 1e-3, 1e-3)
    moved = np.abs(np.diff(warped_time(timbre, note, coarse)) * 1e3 - 1).max(initial=0)
    while block > 8 and _fade_error(bank, moved * block / rate) > FADE_ERROR:
        block //= 2
    edges = np.arange(int(np.ceil(length * rate / block)) + 1) * (block / rate)
    make = direct_tone if block <= 8 else block_tone
    envelope, warped = log_envelope(timbre, note, edges), warped_time(timbre, note, edges)
    return make(bank, envelope, warped, edges, block, rate, timbre.drift)


def _fade_error(bank: Bank, slip: float) -> float:
    """Amplitude lost where two phases that slipped apart (by seconds) are mixed, relative to the tone."""
    lost = np.minimum(2, (np.pi * bank.frequency * slip) ** 2 / 2)
    return float(np.sqrt(np.sum((bank.gain * lost) ** 2) / np.sum(bank.gain**2)))


def block_tone(bank: Bank, envelope, warped, edges, block: int, rate: int, drift: float = 0.0) -> np.ndarray:
    """The bank as two matrix products per channel and chunk of blocks: (channels, blocks · B)."""
    channels = (bank.side(channel) for channel in range(len(bank.gain)))
    return np.stack([_one_channel(side, envelope, warped, edges, block, rate, drift) for side in channels])


def _one_channel(bank: Bank, envelope, warped, edges, block: int, rate: int, drift: float) -> np.ndarray:
    per_block = (bank.frequency / rate)[:, None] * block
    turns = per_block * (np.arange(block) / block)
    fade = np.arange(block, dtype=np.float32) / block
    gain = np.tile(bank.gain[0], 2)[:, None]
    ahead, back = _phasors(turns) * (gain * (1 - fade)), _phasors(turns - per_block) * (gain * fade)
    pieces, quiet = [], QUIET * bank.gain.max(initial=0.0)
    for first in range(0, len(edges) - 1, CHUNK):
        some = slice(first, min(first + CHUNK, len(edges) - 1) + 1)
        strength = bank.gain[0] * np.exp(-bank.decay * edges[first])
        alive = strength > quiet
        if not alive.all():
            bank, both = bank.only(alive), np.tile(alive, 2)
            ahead, back = ahead[both], back[both]
        level = _levels(bank, envelope[some], edges[some], drift)
        angle = _angles(np.outer(warped[some], bank.frequency) + bank.phase)
        state = np.concatenate([np.sin(angle) * level, np.cos(angle) * level], axis=1)
        pieces.append(_product(state[:-1], ahead) + _product(state[1:], back))
    return np.concatenate(pieces).ravel()


def _product(state: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """state @ basis, in pieces that BLAS keeps on one core: waking the others takes longer than the work."""
    out = np.empty((len(state), basis.shape[1]), np.float32)
    rows = max(4, ONE_CORE // max(1, basis.size))
    for first in range(0, len(state), rows):
        np.matmul(state[first : first + rows], basis, out=out[first : first + rows])
    return out


def direct_tone(bank: Bank, envelope, warped, edges, block: int, rate: int, drift: float = 0.0) -> np.ndarray:
    """The same bank, one sine per partial and sample."""
    at = np.arange((len(edges) - 1) * block) / rate
    time = np.interp(at, edges, warped)
    level = _levels(bank, envelope, edges, drift)
    out = np.zeros((len(bank.gain), len(at)), np.float32)
    for p, hertz in enumerate(bank.frequency):
        sine = np.sin(_angles(hertz * time + bank.phase[p])) * np.interp(at, edges, level[:, p]).astype(
            np.float32
        )
        out += bank.gain[:, p, None] * sine
    return out


def _levels(bank: Bank, envelope: np.ndarray, edges: np.ndarray, drift: float) -> np.ndarray:
    exponent = np.outer(envelope, bank.power) - np.outer(edges, bank.decay)
    level = np.exp(np.maximum(exponent, -30).astype(np.float32))
    if drift:  # each partial breathes at its own slow pace
        pace = 0.7 + 3.1 * ((bank.phase * 7.3) % 1)
        level *= 1 + drift * np.sin(_angles(np.outer(edges, pace) + bank.phase))
    return level


def _phasors(turns: np.ndarray) -> np.ndarray:
    """(2P, B): what multiplies the sine and the cosine of the phase at the block's edge."""
    angle = _angles(turns)
    return np.concatenate([np.cos(angle), np.sin(angle)])


def _angles(turns: np.ndarray) -> np.ndarray:
    """Radians in single precision, after the whole turns are taken off in double precision."""
    return ((turns - np.rint(turns)) * (2 * np.pi)).astype(np.float32)


def loudness_weight(hertz: np.ndarray) -> np.ndarray:
    """How much a power at a frequency counts: half of the A curve's dB (all of it is too steep)."""
    square = np.maximum(hertz, 10.0) ** 2
    a = 1.2589 * 12194.0**2 * square**2
    a /= (square + 20.6**2) * np.sqrt((square + 107.7**2) * (square + 737.9**2)) * (square + 12194.0**2)
    return a
