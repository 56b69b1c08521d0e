"""Native operations on pictures. They need the grant `vision`. `with vision.decode(sample) as image:` gives a picture back at once when it is no longer needed."""

from wit_world.imports.vision import *  # noqa: F403
