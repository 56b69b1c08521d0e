"""The release's models, run natively. They need the grant `infer`."""

from wit_world.imports.infer import *  # noqa: F403
