"""What the networks' settings refuse."""

from __future__ import annotations

import msgspec
import pytest

from numzero.networks import NetworkConfig, SupportConfig


def test_the_defaults_have_no_problem():
    """A run that sets nothing can begin."""
    assert NetworkConfig().check() == []


@pytest.mark.parametrize("lowest", [1, 0], ids=["sizes", "counts"])
def test_a_size_below_its_least_is_refused_and_the_least_is_not(lowest):
    """Each field has its own sentence, with the value seen."""
    names = {
        1: ("width", "latent_size", "channels", "head_channels", "dynamics_layers", "prediction_layers"),
        0: ("representation_layers", "blocks"),
    }[lowest]
    for name in names:
        assert NetworkConfig(**{name: lowest}).check() == []
        wanted = [f"network.{name} must be {lowest} or more; got {lowest - 1}."]
        assert NetworkConfig(**{name: lowest - 1}).check() == wanted


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
    bad = NetworkConfig(width=0, blocks=-1, value=SupportConfig(num_bins=0), reward=SupportConfig(limit=-1.0))
    assert len(bad.check()) == 4


@pytest.mark.parametrize("name", ["body", "activation", "latent_scaling", "observation_scaling"])
def test_a_choice_must_be_one_of_its_names(name):
    """Read from a file, a misspelt name is an error and no silent default."""
    with pytest.raises(msgspec.ValidationError, match="Invalid enum value 'mlpp'"):
        msgspec.convert({name: "mlpp"}, NetworkConfig)
