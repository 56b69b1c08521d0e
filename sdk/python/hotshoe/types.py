"""Plain data: insights, actions, geometry. Each kind of insight and action has a class: `Insight_Detections([...])`, `Action_Drop("why")`."""

from wit_world.imports.types import *  # noqa: F403
