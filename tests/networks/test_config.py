"""What the networks' settings refuse, and that settings written before bodies had structs of their own still count."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from numzero.errors import UserError
from numzero.networks import NetworkConfig, SupportConfig
from numzero.networks.config import ConvConfig, MlpConfig, OutsideConfig, network_config, written_table


def test_the_defaults_have_no_problem():
    """A run that sets nothing can begin."""
    assert NetworkConfig().check() == []
    assert NetworkConfig(body=ConvConfig()).check() == []


@pytest.mark.parametrize(
    ("kind", "name", "lowest"),
    [(kind, name, 1) for kind in (MlpConfig, ConvConfig) for name in ("width", "prediction_layers")]
    + [(MlpConfig, "latent_size", 1), (MlpConfig, "dynamics_layers", 1), (MlpConfig, "representation_layers", 0)]
    + [(ConvConfig, "channels", 1), (ConvConfig, "head_channels", 1), (ConvConfig, "blocks", 0)],
)
def test_a_size_below_its_least_is_refused_and_the_least_is_not(kind, name, lowest):
    """Each field has its own sentence, with the value seen."""
    assert NetworkConfig(body=kind(**{name: lowest})).check() == []
    wanted = [f"network.body.{name} must be {lowest} or more; got {lowest - 1}."]
    assert NetworkConfig(body=kind(**{name: lowest - 1})).check() == wanted


def test_every_body_checks_its_own_settings():
    """And an activation must be one that there is."""
    bad = MlpConfig(width=0, latent_size=0, activation="siluu")
    assert NetworkConfig(body=bad).check() == [
        "network.body.width must be 1 or more; got 0.",
        "network.body.activation must be one of relu, silu; got 'siluu'. Did you mean 'silu'?",
        "network.body.latent_size must be 1 or more; got 0.",
    ]
    wanted = ["network.body.name must be module:Class; got 'mine'."]
    assert NetworkConfig(body=OutsideConfig(name="mine")).check() == wanted


@pytest.mark.parametrize("support", ["value", "reward"])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_bins": 1}, "num_bins must be 2 or more; got 1."),
        ({"limit": 0.0}, "limit must be above 0; got 0.0."),
        ({"limit": float("nan")}, "limit must be above 0; got nan."),
        ({"limit": float("inf")}, "limit must be above 0 and finite; got inf."),
    ],
)
def test_a_support_without_two_finite_bins_is_refused_by_its_path(support, changes, message):
    """The sentence says whether value or reward is meant."""
    assert NetworkConfig(**{support: SupportConfig(**changes)}).check() == [f"network.{support}.{message}"]


def test_all_problems_are_told_at_once():
    """Nobody has to start four times to learn of four mistakes."""
    body = ConvConfig(width=0, blocks=-1)
    bad = NetworkConfig(body=body, value=SupportConfig(num_bins=0), reward=SupportConfig(limit=-1.0))
    assert len(bad.check()) == 4


@pytest.mark.parametrize("name", ["latent_scaling", "observation_scaling"])
def test_a_choice_must_be_one_of_its_names(name):
    """Read from a file, a misspelt name is an error and no silent default."""
    with pytest.raises(msgspec.ValidationError, match="Invalid enum value 'mlpp'"):
        network_config(**{name: "mlpp"})


def test_a_body_must_be_one_that_there_is():
    """Or a class by its module."""
    message = r"network.body.kind must be mlp, conv, image, axial, or a class of your own as module:Class; got 'mlpp'"
    with pytest.raises(UserError, match=message):
        network_config(body="mlpp")


OLD = {  # as the code before wrote them into config.toml: the settings of all bodies, whichever was chosen
    "width": 96,
    "latent_size": 48,
    "representation_layers": 2,
    "dynamics_layers": 3,
    "prediction_layers": 2,
    "channels": 16,
    "blocks": 4,
    "head_channels": 2,
    "activation": "silu",
    "hidden_norm": True,
    "latent_scaling": "layernorm",
    "observation_scaling": "symlog",
    "head_scale": 0.5,
    "value": {"num_bins": 3, "limit": 1.0, "transform": "none"},
    "reward": {"num_bins": 5, "limit": 2.0, "transform": "h"},
}
SHARED: dict[str, Any] = {"width": 96, "prediction_layers": 2, "activation": "silu", "hidden_norm": True}
SHARED |= {"latent_scaling": "layernorm", "head_scale": 0.5}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("mlp", MlpConfig(latent_size=48, representation_layers=2, dynamics_layers=3, **SHARED)),
        ("conv", ConvConfig(channels=16, blocks=4, head_channels=2, **SHARED)),
    ],
)
def test_settings_written_flat_mean_what_they_meant(body, expected):
    """Every one that the body has; those of the other body meant nothing."""
    value = SupportConfig(num_bins=3, limit=1.0, transform="none")
    wanted = NetworkConfig(
        body=expected, observation_scaling="symlog", value=value, reward=SupportConfig(num_bins=5, limit=2.0)
    )
    assert network_config(body=body, **OLD) == wanted
    if body == "mlp":
        assert network_config(**OLD) == wanted


def test_a_class_of_ones_own_is_written_as_it_is_read():
    """Its name is the body's kind, its settings stand beside it."""
    body = {"kind": "mine:Body", "size": 3, "deep": {"er": [1.5]}}
    config = network_config(body=body)
    assert config.body == OutsideConfig(name="mine:Body", settings={"size": 3, "deep": {"er": [1.5]}})
    assert written_table(msgspec.to_builtins(config))["body"] == body
    assert network_config(**written_table(msgspec.to_builtins(config))) == config
