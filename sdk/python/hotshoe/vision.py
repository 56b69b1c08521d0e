"""Native operations on pictures. They need the grant `vision`. `with vision.decode(sample) as image:` releases a picture at the end of its block."""

from wit_world.imports.vision import *  # noqa: F403
