"""Makes segments of speech from the probability of speech in each block. It is plain Python, so it runs anywhere.

It opens and closes segments as `get_speech_timestamps` of silero-vad does, but while the sound comes in: a segment opens with a block of at least `threshold`, and it
ends where blocks fall below `release`, once they have not come back above `threshold` for `min_silence`. One of no more than `min_speech` counts for nothing. `pad` is
added on both sides. All lengths are in samples of sound.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """The defaults are silero-vad's."""

    rate: int = 16000
    window: int = 512
    threshold: float = 0.5
    release: float = 0.35
    min_speech: int = 4000
    min_silence: int = 1600
    pad: int = 480

    def __post_init__(self) -> None:
        # Then two segments never meet, and a segment is final when it closes.
        if 2 * self.pad > self.min_silence:
            raise ValueError("a padding above half of the silence between two segments would make them meet; make it smaller")
        if not 0 <= self.release <= self.threshold <= 1:
            raise ValueError("the thresholds must be 0 <= release <= threshold <= 1")


@dataclass(frozen=True)
class Opened:
    """Speech that will be a segment in any case."""

    start: int


@dataclass(frozen=True)
class Closed:
    """A segment, from its first sample to the one after its last, counted from the first block."""

    start: int
    end: int


class Segments:
    """The state of one stream of sound."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.blocks = 0
        self.start: int | None = None
        self.silent_since: int | None = None
        self.told = False

    def hear(self, speech: float) -> Opened | Closed | None:
        """Processes the next block."""
        now = self.blocks * self.settings.window
        self.blocks += 1
        if speech >= self.settings.threshold:
            self.silent_since = None
            if self.start is None:
                self.start = now
                self.told = False
                return None
        if self.start is None:
            return None
        if speech < self.settings.release:
            if self.silent_since is None:
                self.silent_since = now
            if now - self.silent_since >= self.settings.min_silence:
                return self._close(self.start, self.silent_since)
        if self.silent_since is None and not self.told and self.blocks * self.settings.window - self.start > self.settings.min_speech:
            self.told = True
            return Opened(self._padded(self.start))
        return None

    def _close(self, start: int, end: int) -> Closed | None:
        self.start = self.silent_since = None
        if end - start <= self.settings.min_speech:
            return None
        return Closed(self._padded(start), end + self.settings.pad)

    def _padded(self, start: int) -> int:
        return max(0, start - self.settings.pad)
