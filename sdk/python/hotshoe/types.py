"""Plain data: insights, actions, geometry. An insight is made by the class of its kind, `Insight_Detections([...])`, an action too, `Action_Drop("why")`."""

from wit_world.imports.types import *  # noqa: F403
