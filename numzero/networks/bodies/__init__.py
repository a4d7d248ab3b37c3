"""The bodies of networks, a module each, named as their `kind` is in the settings.

A module has `make_body(observation_shape, num_actions, num_outputs, config)`, where `config` is the body's own struct
of `networks.config`, and nothing else need be changed for a new one.
"""

from __future__ import annotations

import importlib
from typing import cast

from numzero.networks.bodies.base import Body
from numzero.networks.config import Body as BodySettings

__all__ = ["Body", "make_body"]


def make_body(observation_shape: tuple[int, ...], num_actions: int, num_outputs: int, config: BodySettings) -> Body:
    """A body with fresh weights.

    Raises:
        UserError: it does not fit the observation.
    """
    kind = config.__struct_config__.tag
    module = importlib.import_module(f"{__name__}.{kind}")
    return cast(Body, module.make_body(observation_shape, num_actions, num_outputs, config))
