"""What time it is, and how long something takes. It needs the grant `clock`."""

from wit_world.imports.clock import *  # noqa: F403
