"""A body that somebody else wrote: a torch module, named in the settings as module:Class.

It is made and looks like this; settings beside `kind` are given to it by name:

    class MyBody(torch.nn.Module):
        def __init__(self, observation_shape, num_actions, num_outputs, *, size=16):
            super().__init__()
            self.latent_shape = (size,)  # *H, any shape

        def representation(self, observation):  # [N, *O] float32, scaled as network.observation_scaling says
            return latent  # [N, *H]

        def dynamics(self, latent, action):  # [N, *H], [N] int64
            return latent  # [N, *H], best kept in a fixed range: it is unrolled many times

        def prediction(self, latent):  # [N, *H]
            return outputs  # [N, num_outputs], the logits of all heads one after another

Its gradients are autograd's, and torch.onnx writes its files, which are compared with it as all are. All parameters are
trained, float32; what is not trained is a buffer, and the same in each process that makes the body. Training and
playing compute the same: no dropout, no batch statistics.

Knows this contract; knows nothing of what is inside.
"""

from __future__ import annotations

import inspect
from typing import Any, cast

import torch
from torch import nn

from numzero.errors import UserError
from numzero.networks.bodies.base import Body
from numzero.networks.config import OutsideConfig
from numzero.networks.layers import Dynamics, Layer
from numzero.outside import load

__all__ = ["make_body"]

_PARTS = ("representation", "dynamics", "prediction")


def make_body(observation_shape: tuple[int, ...], num_actions: int, num_outputs: int, config: OutsideConfig) -> Body:
    """See `bodies`.

    Raises:
        UserError: it is no such class, or does not keep to the contract.
    """
    module = _make(config, observation_shape=observation_shape, num_actions=num_actions, num_outputs=num_outputs)
    body = Body(tuple(module.latent_shape), _Part(module, "representation"), _Step(module), _Part(module, "prediction"))
    if problem := _problem(module, body, observation_shape, num_actions, num_outputs):
        raise UserError(f"network.body {config.name}: {problem}")
    return body


def _make(config: OutsideConfig, **sizes: Any) -> Any:
    """The module, if it can be made so and has all parts."""
    kind = load(config.name, "network.body.kind")
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        raise UserError(f"network.body {config.name}: it must be a class derived from torch.nn.Module; got {kind!r}.")
    try:
        inspect.signature(kind).bind(**sizes, **config.settings)
    except TypeError as error:
        raise UserError(
            f"network.body {config.name}: its __init__ must take {', '.join(sizes)} and the settings given "
            f"({', '.join(config.settings) or 'none'}); {error}."
        ) from error
    module = kind(**sizes, **config.settings)
    missing = [name for name in ("latent_shape", *_PARTS) if not hasattr(module, name)]
    if missing:
        raise UserError(
            f"network.body {config.name}: it must have {', '.join(missing)}; see numzero.networks.bodies.outside."
        )
    shape = module.latent_shape
    if (
        not isinstance(shape, tuple | list)
        or not shape
        or not all(isinstance(each, int) and each > 0 for each in shape)
    ):
        raise UserError(f"network.body {config.name}: latent_shape must be sizes, as in (16,); got {shape!r}.")
    return module


class _Part(Layer):
    """Representation or prediction of a module."""

    def __init__(self, module: nn.Module, name: str) -> None:
        super().__init__()
        self.module, self.name = module, name

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As the module has it."""
        return cast(torch.Tensor, getattr(self.module, self.name)(x))


class _Step(Dynamics):
    """The dynamics of a module."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, latent: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """As the module has it; torch's own functions want indices as int64."""
        return cast(torch.Tensor, cast(Any, self.module).dynamics(latent, action.long()))


def _problem(
    module: nn.Module, body: Body, observation_shape: tuple[int, ...], num_actions: int, num_outputs: int
) -> str:
    """In what a module does not keep to the contract, found by running it; "" if it does."""
    for name, parameter in module.named_parameters():
        if parameter.dtype != torch.float32 or not parameter.requires_grad:
            return f"parameter {name} must be float32 and trained; make it a buffer if it is not."
    before = {name: buffer.clone() for name, buffer in module.named_buffers()}
    trained = _run(module.train(), body, observation_shape, num_actions)
    changed = [name for name, buffer in module.named_buffers() if not torch.equal(buffer, before[name])]
    shapes = {"representation": body.latent_shape, "dynamics": body.latent_shape, "prediction": (num_outputs,)}
    for (name, shape), result in zip(shapes.items(), trained, strict=True):
        if found := _misfit(result, (2, *shape)):
            return f"{name} must return {[2, *shape]} float32 for 2 rows; got {found}."
    played = _run(module.eval(), body, observation_shape, num_actions)
    module.train()
    if changed or not all(map(torch.equal, trained, played)):
        return (
            "it must compute the same in training and in play, which dropout and batch statistics do not"
            f"{'; a pass changes ' + ', '.join(changed) if changed else ''}."
        )
    return ""


def _misfit(result: object, shape: tuple[int, ...]) -> str:
    """What a part returned, in words, if it is something else than it must be."""
    if not isinstance(result, torch.Tensor):
        return f"a {type(result).__name__}"
    if result.dtype == torch.float32 and tuple(result.shape) == shape:
        return ""
    return f"{list(result.shape)} {str(result.dtype).removeprefix('torch.')}"


@torch.no_grad()
def _run(module: nn.Module, body: Body, observation_shape: tuple[int, ...], num_actions: int) -> list[torch.Tensor]:
    """What the three parts return for two rows."""
    generator = torch.Generator().manual_seed(0)
    latent = body.representation(torch.randn(2, *observation_shape, generator=generator))
    after = body.dynamics(latent, torch.arange(2, dtype=torch.int32) % num_actions)
    return [latent, after, body.prediction(latent)]
