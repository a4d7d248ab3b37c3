"""A body of one's own: from a file outside the package to an agent that plays, and what is refused on the way."""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from numzero.agent import Agent
from numzero.errors import UserError
from numzero.inference import OnnxModel
from numzero.metrics import Progress
from numzero.networks.activations import ACTIVATIONS, Activation
from numzero.networks.config import network_config
from numzero.networks.export import Exporter, ParityError, check_parity
from numzero.networks.gradients import AutogradUnroll, make_unroll
from numzero.networks.network import MuZeroNetwork, make_network
from numzero.networks.taken import take_weights
from numzero.training.config import load_preset
from numzero.training.run import TrainingRun
from tests import warm
from tests.reference.agents import BOARD, NUM_ACTIONS, small_network
from tests.tiny import RUN

ROOT = Path(__file__).resolve().parents[2]
RESEARCH = ROOT / "docs" / "research.md"
MY_BODY = '''
import torch
from torch import nn
from torch.nn import functional


class MyBody(nn.Module):
    """Attention over cells, a gate, an embedding: nothing that the package has."""

    def __init__(self, observation_shape, num_actions, num_outputs, *, size=8):
        super().__init__()
        planes, self.cells = observation_shape[0], observation_shape[1] * observation_shape[2]
        self.latent_shape = (self.cells, size)
        self.into = nn.Linear(planes, size)
        self.attention = nn.Linear(size, 3 * size)
        self.norm = nn.LayerNorm(size)
        self.action = nn.Embedding(num_actions, size)
        self.gate = nn.Linear(2 * size, size)
        self.out = nn.Linear(self.cells * size, num_outputs)

    def mix(self, x):
        q, k, v = self.attention(x).chunk(3, dim=-1)
        return self.norm(x + (q @ k.transpose(1, 2) / 3.0).softmax(-1) @ v)

    def representation(self, observation):
        return self.mix(functional.gelu(self.into(observation.flatten(2).transpose(1, 2))))

    def dynamics(self, latent, action):
        played = self.action(action)[:, None].expand_as(latent)
        gate = torch.sigmoid(self.gate(torch.cat([latent, played], dim=-1)))
        return self.mix(gate * latent + (1 - gate) * played)

    def prediction(self, latent):
        return self.out(latent.flatten(1))
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a body in a file."""
    (tmp_path / "mybody.py").write_text(MY_BODY, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make(folder: Path, seed: int = 0, **settings: int) -> MuZeroNetwork:
    config = network_config(body={"kind": f"{folder / 'mybody.py'}:MyBody", **settings})
    return make_network(BOARD, NUM_ACTIONS, config, seed)


def test_weights_are_taken_back_from_files_that_torch_wrote(folder):
    """Of a body of one's own, whose parameters have names of its own; those of another size are named."""
    given = make(folder, 1)
    taken = make(folder, 2)
    assert take_weights(taken, Exporter(given, 1.0).files(given, 0), 0) == []
    for name, weights in given.stored().items():
        assert torch.equal(taken.stored()[name], weights)
    with pytest.raises(UserError, match=r"representation\S*into\.weight is \[8, 2\] there and \[4, 2\] here, and "):
        take_weights(make(folder, 2, size=4), Exporter(given, 1.0).files(given, 0), 0)


def write_body(folder: Path, changes: dict[str, str]) -> str:
    """A body that is changed in places; its name."""
    content = MY_BODY
    for one, other in changes.items():
        assert one in content
        content = content.replace(one, other)
    (folder / "changed.py").write_text(content, encoding="utf-8")
    return f"{folder / 'changed.py'}:MyBody"


def test_a_body_of_ones_own_trains_is_exported_with_check_and_plays(folder):
    """By the command line, in a folder of its own, with nothing edited inside the package."""
    (folder / "mine.toml").write_text(
        textwrap.dedent(
            """
            game = "tictactoe"
            [network.body]
            kind = "mybody:MyBody"
            size = 4
            """
        ),
        encoding="utf-8",
    )

    def command(*arguments: str, typed: str = "", code: int = 0, cwd: Path = folder) -> str:
        done = warm.run(*arguments, cwd=cwd, input=typed)
        assert done.returncode == code, done.stderr
        return done.stderr if code else done.stdout

    tiny = [word for each in RUN if not each.startswith("network") for word in ("--set", each)]
    command("train", "mine.toml", "--run", "run", "--json", *tiny)
    assert 'kind = "mybody:MyBody"' in (folder / "run" / "config.toml").read_text("utf-8")
    export = ("--games", "0", "--check", "--positions", "30", "--json")
    run, elsewhere = str(folder / "run"), folder.parent  # where no module of that name is the one that she trained with
    assert f"the run in {run} names 'mybody:MyBody'" in command(
        "export", run, "--out", "x", *export, code=2, cwd=elsewhere
    )
    report = json.loads(command("export", "run", "--out", "agent", *export))
    assert report["check"]["torch_error"] < 1e-4
    assert report["check"]["search"]["different"] == 0
    assert "You left the game." in command("play", "agent", typed="quit\n")
    agent = Agent.load(folder / "agent")
    assert agent.info.model_version == 12


def test_the_file_that_docs_show_trains(folder):
    """The body, and the target in place of the learner's own, of docs/research.md."""
    (block, *_) = re.findall(r"^```python\n(.*?)^```$", RESEARCH.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    (folder / "mine.py").write_text(block, encoding="utf-8")
    tiny = [each for each in RUN if not each.startswith("network")]
    own = ["network.body=mine.py:Gated", "network.body.size=8", "learner.loss=mine.py:sharper_policy"]
    config = load_preset("cartpole", [*tiny, *own, "learner.policy_weight=0", "evaluation.interval=0"])
    events: list[object] = []
    TrainingRun(config, folder / "run", seed=0, on_event=events.append).train()
    losses = [event.losses for event in events if isinstance(event, Progress) and event.losses]
    assert losses[-1]["own"] > 0.0
    assert np.isfinite(losses[-1]["total"])


def test_its_gradients_are_autograds_and_its_settings_arrive(folder):
    """Parameters are counted once, though two parts share them."""
    network = make(folder, size=6)
    assert network.latent_shape == (9, 6)
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    assert isinstance(make_unroll(network, 0.5), AutogradUnroll)
    module = network.representation.module
    assert sum(p.numel() for p in network.parameters()) == sum(p.numel() for p in module.parameters())
    again, other = (make(folder, seed=seed, size=6).representation.module for seed in (0, 1))
    assert torch.equal(again.gate.weight, module.gate.weight)
    assert not torch.equal(other.gate.weight, module.gate.weight)


def test_new_weights_of_a_traced_network_are_all_replaced(folder):
    """Equal biases and norms of a fresh network are not taken for one parameter."""
    first, second = make(folder, seed=1), make(folder, seed=2)
    with torch.no_grad():
        for parameter in second.parameters():
            parameter.add_(torch.randn_like(parameter))
    files = Exporter(first, -1.0).files(second, 7)
    check_parity(second, files)
    model = OnnxModel(files)
    assert (model.version, model.discount, model.latent_shape) == (7, -1.0, (9, 8))
    for rows in (1, 5):
        assert model.initial(np.zeros((rows, *BOARD), np.float32)).value.shape == (rows,)
    with pytest.raises(ParityError):
        check_parity(first, files)


def test_an_activation_without_nodes_is_written_by_torch(monkeypatch):
    """Its name is enough; a network whose layers all say how has fewer nodes."""
    by_hand = [
        len(onnx.load_from_string(content).graph.node)
        for content in Exporter(small_network(), 1.0).files(small_network(), 0).by_name().values()
    ]
    monkeypatch.setitem(ACTIVATIONS, "mish", Activation("mish"))
    network = small_network(activation="mish")
    files = Exporter(network, 1.0).files(network, 0)
    assert check_parity(network, files) < 1e-4
    traced = [len(onnx.load_from_string(content).graph.node) for content in files.by_name().values()]
    assert all(more > fewer for more, fewer in zip(traced, by_hand, strict=True))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class MyBody(nn.Module)": "class MyBody"}, r"must be a class derived from torch.nn.Module; got <class"),
        ({"*, size=8": "*, width=8", "size": "width"}, r"__init__ must take observation_shape, .*\(size\); .*'size'"),
        ({"def dynamics": "def dynamic"}, r"it must have dynamics; see"),
        ({"self.latent_shape = (self.cells, size)": "self.latent_shape = size"}, r"latent_shape must be sizes.*got 3"),
        ({"self.latent_shape = (self.cells, size)": "self.latent_shape = (size, size)"}, r"representation must return"),
        ({"self.out(latent.flatten(1))": "self.out(latent.flatten(1))[:, 1:]"}, r"prediction must return \[2, 87\]"),
        ({"return self.out(latent.flatten(1))": "return [self.out(latent.flatten(1))]"}, r"got a list"),
        ({"functional.gelu(": "functional.dropout("}, r"must compute the same in training and in play"),
        (
            {"nn.LayerNorm(size)": "nn.BatchNorm1d(self.cells)"},
            r"a pass changes norm.running_mean, norm.running_var, norm.num",
        ),
        ({"nn.LayerNorm(size)": "nn.LayerNorm(size).double()"}, r"parameter norm.weight must be float32 and trained"),
        ({"nn.LayerNorm(size)": "nn.LayerNorm(size).requires_grad_(False)"}, r"make it a buffer"),
    ],
)
def test_a_body_that_breaks_the_contract_is_refused_in_a_sentence(tmp_path, changes, message):
    """When it is made, before anything is trained."""
    name = write_body(tmp_path, changes)
    body = {"kind": name, "size": 3}
    with pytest.raises(UserError, match=message):
        make_network(BOARD, NUM_ACTIONS, network_config(body=body), seed=0)


def test_a_graph_that_torch_cannot_write_is_refused_in_a_sentence(tmp_path):
    """With what the exporter says."""
    name = write_body(tmp_path, {"functional.gelu(": "torch.special.i0("})
    network = make_network(BOARD, NUM_ACTIONS, network_config(body={"kind": name}), seed=0)
    with pytest.raises(UserError, match=r"torch.onnx must be able to write the network; got .*i0"):
        Exporter(network, 1.0)


def test_what_a_trace_freezes_is_found(tmp_path):
    """A number read from a weight while the graph is written is none of the new weights'."""
    name = write_body(tmp_path, {"gate * latent": "gate * latent * float(self.gate.bias[0].detach())"})
    network = make_network(BOARD, NUM_ACTIONS, network_config(body={"kind": name}), seed=0)
    with pytest.warns(torch.jit.TracerWarning), pytest.raises(ParityError, match="torch and ONNX differ"):
        Exporter(network, 1.0)
