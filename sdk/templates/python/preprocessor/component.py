"""Makes a model's input of a picture: decodes it, scales it to the model's size, and gives numbers from 0 to 1."""

from hotshoe import NamedTensor, Sample, config
from hotshoe.vision import Channels, Filter, Layout, Normalisation, decode, normalise, resize

# The host multiplies 0..255 by 1 / 255, subtracts the mean and divides by the standard deviation. A mean of 0 and a deviation of 1 change nothing.
UNIT = Normalisation(Layout.NCHW, Channels.RGB, scale=1 / 255, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def prepare(sample: Sample) -> list[NamedTensor]:
    """Called for every sample. Returns the model's inputs, under their names in the model."""
    width = config.integer("width", 32, 1, 4096)
    height = config.integer("height", 32, 1, 4096)
    # Pictures and tensors stay with the host; the component holds handles. `with` releases a handle at its end.
    with decode(sample) as picture, resize(picture, width, height, Filter.BILINEAR) as small:
        tensor = normalise([small], width, height, UNIT)
    return [NamedTensor(config.text("input", "x"), tensor)]
