"""Sends an alert when speech begins, and a message with its start and end (topic `segment`) after it has ended.

The instance remembers where it is in the sound. That is right with `instance = "per-source"` alone: a policy does not see which source a sample came from, so each
source needs an instance of its own.
"""

import json

from hotshoe import Unsupported, config
from hotshoe.types import Action, Action_Alert, Action_Send, Alert, DeviceContext, Insight, Insight_Scalars, Message, Severity
from segments import Closed, Opened, Segments, Settings

_segments: Segments | None = None


def settings() -> Settings:
    default = Settings()

    def samples(name: str, otherwise: int) -> int:
        milliseconds = config.integer(name, otherwise * 1000 // default.rate, 0, 60_000)
        return milliseconds * default.rate // 1000

    return Settings(
        threshold=config.number("threshold", default.threshold),
        release=config.number("release", default.release),
        min_speech=samples("min-speech-ms", default.min_speech),
        min_silence=samples("min-silence-ms", default.min_silence),
        pad=samples("pad-ms", default.pad),
    )


def decide(insight: Insight, device: DeviceContext) -> list[Action]:
    """Most blocks change nothing, and then nothing leaves the device."""
    global _segments
    if not isinstance(insight, Insight_Scalars):
        raise Unsupported("this policy takes the probability of speech, and this insight is of another kind")
    if _segments is None:
        _segments = Segments(settings())
    [speech] = [scalar.value for scalar in insight.value if scalar.name == "speech"]
    rate = _segments.settings.rate
    match _segments.hear(speech):
        case Opened(start):
            return [Action_Alert(Alert(Severity.INFO, f"speech since {start / rate:.2f} s"))]
        case Closed(start, end):
            segment = {"start": start, "end": end, "rate": rate, "closed": device.sample_time}
            return [Action_Send(Message("segment", "application/json", json.dumps(segment).encode()))]
    return []
