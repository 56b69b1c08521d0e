"""A picture becomes the input of a model: decoded, scaled to the model's size, as numbers from 0 to 1."""

from hotshoe import NamedTensor, Sample, config
from hotshoe.vision import Channels, Filter, Layout, Normalisation, decode, normalise, resize

# 1 / 255 makes 0..255 to 0..1; then the mean is taken off and divided by the standard deviation, which changes nothing here.
UNIT = Normalisation(Layout.NCHW, Channels.RGB, scale=1 / 255, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def prepare(sample: Sample) -> list[NamedTensor]:
    """Called for every sample. Gives the model's inputs under the names that the model has for them."""
    width = config.integer("width", 32, 1, 4096)
    height = config.integer("height", 32, 1, 4096)
    # Pictures and tensors stay with the host; what we hold are handles. `with` gives a handle back at its end.
    with decode(sample) as picture, resize(picture, width, height, Filter.BILINEAR) as small:
        tensor = normalise([small], width, height, UNIT)
    return [NamedTensor(config.text("input", "x"), tensor)]
