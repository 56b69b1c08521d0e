"""The component's own metrics. They need the grant `metrics`."""

from wit_world.imports.metrics import *  # noqa: F403
