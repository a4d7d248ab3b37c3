"""A run's settings: one nested structure, read from TOML, checked as a whole.

Knows where settings live and how a person spells them; knows nothing of what they do. Imports no torch.
"""

from __future__ import annotations

import codecs
import contextlib
import dataclasses
import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

import msgspec
import tomli_w

from numzero.errors import UserError, nearest
from numzero.files import read_file
from numzero.frames import ObservationConfig
from numzero.games.naming import extended
from numzero.limits import ABOVE_0, ANY_ABOVE_0, BELOW_1, LARGEST_BUDGET, LARGEST_SIZE, Limit, at_least, beyond, seen
from numzero.networks.config import (
    NetworkConfig,
    OutsideConfig,
    body_settings,
    choose_body,
    modern_path,
    modern_table,
    strict_table,
    written_table,
)
from numzero.outside import is_outside
from numzero.replay import ReplayConfig
from numzero.runtime.base import RuntimeConfig
from numzero.search import SearchConfig
from numzero.targets import TargetConfig
from numzero.training.misfit import misfit
from numzero.training.roles.reanalyze import ReanalyzeConfig
from numzero.training.roles.selfplay import SelfPlayConfig

__all__ = ["GENERAL", "EvaluationConfig", "LearnerConfig", "ProcessConfig", "ReanalyzeConfig", "RunConfig"]
__all__ += [
    "ScheduleConfig",
    "arguments_of",
    "game_of",
    "load_config",
    "load_general",
    "load_preset",
    "load_tables",
    "outside_code",
    "preset_names",
]
__all__ += ["read_config", "save_config"]


LARGEST_SETTINGS = 2**18
"""Bytes of a file of settings; one with all of them and the longest comments has a tenth."""
LONGEST_LINE = 2000
"""Characters; Python's reader of TOML takes minutes over a key of fifty thousand parts."""
GENERAL = "general"
"""The preset that names no game."""
MOST_WORKERS = 1024
"""Processes of one role."""


class LearnerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How the network learns from a batch."""

    batch_size: int = 256
    """Windows per update; MuZero 2,048 (boards), 1,024 (Atari)."""
    learning_rate: float = 1e-3
    """Peak step size of AdamW; MuZero 0.1 with SGD."""
    final_learning_rate: float = 0.1
    """Share of the peak that the cosine ends at."""
    warmup_updates: int = 100
    """Updates of linear warm-up."""
    weight_decay: float = 1e-4
    """AdamW's decay, the paper's L2 term; MuZero 1e-4."""
    gradient_clip: float = 5.0
    """Largest norm of the whole gradient."""
    average_decay: float = 0.99
    """Decay per update of the running average of the weights; the average is what is evaluated and kept."""
    policy_weight: float = 1.0
    """Of the policy's cross-entropy; MuZero 1."""
    entropy_weight: float = 0.0
    """Of the policy's entropy, a bonus relative to its cross-entropy, against policies that become certain of what only
    errors of the network say: logits differ by 1 / weight improvements of a search at most. MuZero: none; 0: off. Of
    vectors of numbers it is the entropy of what tanh makes of the normals; EfficientZero V2 0.05."""
    vector_policy: Literal["by_size", "all", "best"] = "by_size"
    """What is learned of a search's candidates where actions are vectors of numbers: "all", each by its share of the
    policy target; "best", the one of the largest share alone. "by_size": all of vectors of one number, the best of
    longer ones, as EfficientZero V2 does. Sampled MuZero: all. Of choices always all."""
    value_weight: float = 1.0
    """Of the value's cross-entropy, the afterstates' too; MuZero 1 (0.25 with reanalyze)."""
    reward_weight: float = 1.0
    """Of the reward's cross-entropy; MuZero 1."""
    discount_weight: float = 1.0
    """Of the cross-entropy of whether the turn passes, in games whose turns vary; MuZero knows none."""
    outcome_weight: float = 1.0
    """Of the cross-entropy of what chance makes of actions, where the network knows of it; Stochastic MuZero 1."""
    commitment_weight: float = 0.05
    """Of the squared distance between the shares that the encoder gives to codes and the code that is made of them,
    where outcomes are learned. The more, the rather one code stands for all. The paper has the term, and does not tell
    its weight."""
    consistency_weight: float = 0.0
    """Of the unrolled latents' distance to encodings of the real observations; EfficientZero 2 (cosine); 0: off."""
    consistency: Literal["squared", "projected", "reconstruction"] = "squared"
    """How that distance is measured. "squared": of the latents themselves, which become all alike where observations
    follow each other by chance. "projected": by cosine, behind a projector and a predictor of its own, as EfficientZero
    does; its weight is then some 50 times as large. "reconstruction": of the observation that a linear layer reads off
    the latent to the real one, the sum of squares of what the body sees; for boards, whose next position can be
    told."""
    loss: str = ""
    """A loss of your own that is added, as module:function (see `training.learning.learner.OwnLoss`); "": none. To put
    it in place of another, set that one's weight to 0."""
    loss_weight: float = 1.0
    """Of your own loss; 0: off."""
    dynamics_gradient_scale: float = 0.5
    """The gradient is multiplied by it at each dynamics step; MuZero 0.5."""
    symmetries: bool = True
    """Turn each window by a random symmetry of the game, where it has any."""
    threads: int = 0
    """Threads that an update is split over, by rows of its batch; the same number gives the same bits. 0: one where
    everything is done in one process, which is the same everywhere; else the cores that workers leave free."""

    precision: Literal["float32", "bfloat16"] = "float32"
    """Of convolutions and matrix products while learning; "bfloat16" is twice as fast for convolutional networks on
    processors with instructions for it, and stays off elsewhere. Weights and losses are float32 in either case."""

    def learns_best_candidate(self, action_size: int) -> bool:
        """Whether the best candidate alone is learned from, of vectors of so many numbers."""
        return self.vector_policy == "best" or (self.vector_policy == "by_size" and action_size > 1)

    @property
    def looks_ahead(self) -> bool:
        """Whether a loss looks at the observations behind the first of a window."""
        return self.consistency_weight > 0.0 or bool(self.loss)

    def check(self) -> list[str]:
        """All that is wrong with the settings, one sentence each."""
        problems = (
            [] if ":" in self.loss or not self.loss else [f"learner.loss must be module:function; got {self.loss!r}."]
        )
        return problems + beyond(
            self,
            "learner",
            batch_size=at_least(1, LARGEST_SIZE),
            learning_rate=ABOVE_0,
            final_learning_rate=at_least(0),
            warmup_updates=at_least(0),
            weight_decay=at_least(0),
            gradient_clip=ANY_ABOVE_0,
            average_decay=BELOW_1,
            policy_weight=at_least(0),
            entropy_weight=at_least(0),
            value_weight=at_least(0),
            reward_weight=at_least(0),
            discount_weight=at_least(0),
            outcome_weight=at_least(0),
            commitment_weight=at_least(0),
            consistency_weight=at_least(0),
            loss_weight=at_least(0),
            dynamics_gradient_scale=at_least(0),
            threads=at_least(0, MOST_WORKERS),
        )


class EvaluationConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How the agent is judged while it trains."""

    games: int = 20
    """Games or episodes per evaluation."""
    interval: int = 1000
    """Learner updates between evaluations; 0: only at the end."""
    num_simulations: int = 16
    """Simulations per move, without noise."""
    max_steps: int = 0
    """An episode that has not ended after so many steps is cut off, and said to be; what it earned by then counts. 0:
    as many as the game says its longest episode has; where it does not say, 10,000, and 1,000 as long as none of the
    run's own episodes has ended. MuZero: 27,000 in Atari."""
    random_steps: int = 5000
    """Steps of a random policy, played once as the run begins and before any episode that is learned from, so that
    agents can be told from it; games of two need none, since two random players win alike. 0: none."""
    rated_games: int = 0
    """Games, an even number, that each agent plays against each of the three that were judged before it, with the same
    simulations; from all of them follow Elo ratings of the run's agents, which `report` draws. Of games of two; 0:
    none."""

    def check(self) -> list[str]:
        """All that is wrong with the settings, one sentence each."""
        problems = beyond(
            self,
            "evaluation",
            games=at_least(1),
            interval=at_least(0),
            num_simulations=at_least(0, LARGEST_BUDGET),
            max_steps=at_least(0),
            random_steps=at_least(0),
            rated_games=at_least(0, LARGEST_BUDGET),
        )
        if not problems and self.rated_games % 2:
            return [f"evaluation.rated_games must be even, half with each colour; got {self.rated_games}."]
        return problems


class ScheduleConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Who does what when."""

    num_updates: int = 10_000
    """Learner updates of the whole run; they drive every schedule, so a slow machine learns as much."""
    samples_per_step: float = 16.0
    """Learner samples (batch size times updates) per environment step: the replay ratio, held both ways."""
    start_steps: int = 1000
    """Environment steps before the first update."""
    publish_interval: int = 10
    """Updates between two versions of the weights that actors play with."""
    checkpoint_interval: int = 500
    """Updates between two checkpoints."""
    average_acts: bool = False
    """Actors (and reanalyze) use the running average of the weights instead of the newest."""
    gamma: float = 1.0
    """Discount per step; MuZero 1 (boards), 0.997 (Atari)."""

    def check(self) -> list[str]:
        """All that is wrong with the settings, one sentence each."""
        return beyond(
            self,
            "schedule",
            num_updates=at_least(1),
            samples_per_step=ABOVE_0,
            start_steps=at_least(1),
            publish_interval=at_least(1),
            checkpoint_interval=at_least(1),
            gamma=Limit("above 0 and at most 1", lambda gamma: 0 < gamma <= 1),
        )


class ProcessConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How the roles share the machine, unless the caller says otherwise."""

    workers: int = 0
    """Self-play processes; 0: everything in one process, bit for bit reproducible. Paper: 3,000 (boards)."""
    reanalyze_workers: int = 0
    """Reanalyze processes; 0: the learner's process does it between updates. Paper: as many as actors."""
    slack_updates: int = 32
    """Updates by which processes may be ahead of each other; with less they spend their time waiting, with more the
    replay ratio holds less closely on the way (at the end it holds exactly). Paper: none."""

    @property
    def several(self) -> bool:
        """Whether there are workers of either kind."""
        return self.workers > 0 or self.reanalyze_workers > 0

    def check(self) -> list[str]:
        """All that is wrong with the settings, one sentence each."""
        return beyond(
            self,
            "processes",
            workers=at_least(0, MOST_WORKERS),
            reanalyze_workers=at_least(0, MOST_WORKERS),
            slack_updates=at_least(0),
        )


class InferenceConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How the roles evaluate networks."""

    precision: Literal["float32", "int8"] = "float32"
    """Of convolutions in the weights that roles play and search with; "int8" is 2 to 3 times as fast on processors with
    VNNI instructions, and stays off where it is not faster. Each version is calibrated on positions of the window, and
    published in float32 if int8 changes policy or values much. Agents are float32 in either case: see `export`."""


class RunConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that decides what a run does, but for its seed and its workers."""

    game: str
    """What `make_game` accepts, arguments and wrappers included. A file may give them as tables: [game_arguments] of
    key = value, and [[wrappers]], each with its `name` ("module:Wrapper") and its arguments beside it."""
    search: SearchConfig = SearchConfig()
    selfplay: SelfPlayConfig = SelfPlayConfig()
    observation: ObservationConfig = ObservationConfig()
    replay: ReplayConfig = ReplayConfig()
    targets: TargetConfig = TargetConfig()
    network: NetworkConfig = NetworkConfig()
    learner: LearnerConfig = LearnerConfig()
    reanalyze: ReanalyzeConfig = ReanalyzeConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    inference: InferenceConfig = InferenceConfig()
    processes: ProcessConfig = ProcessConfig()
    runtime: RuntimeConfig = RuntimeConfig()

    @property
    def looks_ahead(self) -> bool:
        """Whether the learner looks at the observations behind the first of a window."""
        return self.learner.looks_ahead or self.network.chance in ("learned", "auto")

    def check(self) -> list[str]:
        """All that is wrong with the settings, one sentence each."""
        problems: list[str] = []
        for field in msgspec.structs.fields(self):
            part = getattr(self, field.name)
            problems += part.check() if hasattr(part, "check") else []
        return problems


def outside_code(config: RunConfig) -> list[str]:
    """The names of what these settings would have imported, but for the game, which is judged with all games.

    Settings that the user did not write herself (those in the folder of a run, of a study) must not have it run unless
    she says that she trusts them.
    """
    body = config.network.body
    names = [body.name] if isinstance(body, OutsideConfig) else []
    return [*names, *filter(is_outside, (config.learner.loss, config.runtime.kind))]


def preset_names() -> list[str]:
    """The presets that ship with numzero and name a game: all but `general`."""
    folder = resources.files("numzero") / "presets"
    names = {entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")}
    return sorted(names - {GENERAL})


def load_preset(name: str, overrides: Iterable[str] = ()) -> RunConfig:
    """A preset by name, or a TOML file by path, with `path=value` overrides applied.

    A file may say `extends = "general"`, or another preset's name, and then only what is different.

    Raises:
        UserError: no such preset, an unknown field, or a value that does not fit; names the nearest right one.
    """
    if name.endswith(".toml"):
        return load_config(Path(name), overrides, follow=True)
    if name == GENERAL:
        raise UserError("the preset 'general' is for any game and names none. Name the game, or a file of tasks.")
    if name not in preset_names():
        raise UserError(f"there is no preset {name!r}.{nearest(name, preset_names())}")
    return _convert(_shipped(name), overrides, name)


def load_general(game: str, overrides: Iterable[str] = ()) -> RunConfig:
    """The preset for games that have none of their own, for this game; raises as `load_preset`."""
    return _convert(_shipped(GENERAL) | {"game": game}, overrides, GENERAL)


def _shipped(name: str) -> dict[str, Any]:
    """The tables of a preset that ships."""
    return _tables((resources.files("numzero") / "presets" / f"{name}.toml").read_text("utf-8"), name)


def load_config(path: Path, overrides: Iterable[str] = (), *, follow: bool = False) -> RunConfig:
    """The settings in a TOML file, with overrides applied; raises as `load_preset`.

    `follow` takes a link that leads out of its folder, for a file that the user named.
    """
    return _convert(load_tables(path, follow=follow), overrides, str(path))


def load_tables(path: Path, *, follow: bool = True) -> dict[str, Any]:
    """What a TOML file of settings holds; UserError where it cannot be read or is none."""
    try:
        text = _decoded(read_file(path, LARGEST_SETTINGS, follow=follow))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not TOML: {error}.") from error
    if (longest := max(map(len, text.split("\n")))) > LONGEST_LINE:
        raise UserError(
            f"{path} must have lines of {LONGEST_LINE:,} characters at most; one has {longest:,}. Break it."
        )
    return _tables(text, str(path))


def _decoded(content: bytes) -> str:
    """The text of a file in UTF-8, or in what its byte-order mark says: PowerShell's `>` writes UTF-16."""
    for mark, encoding in ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16")):
        if content.startswith(mark):
            return content.decode(encoding)
    return content.decode("utf-8-sig")


def _tables(text: str, source: str) -> dict[str, Any]:
    """TOML as nested tables; a number of thousands of digits and too deep a nesting are refused as bad TOML is."""
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise UserError(f"{source} is not TOML: it is nested too deep.") from error
    except ValueError as error:
        raise UserError(f"{source} is not TOML: {error}.") from error


def read_config(content: bytes) -> RunConfig:
    """What `save_config` wrote."""
    return _convert(tomllib.loads(content.decode()), (), "the settings")


def save_config(config: RunConfig) -> bytes:
    """The settings as TOML, every field written out."""
    # msgspec leaves out what a dataclass that it made itself took from its defaults; a copy holds every field.
    config = msgspec.structs.replace(config, search=dataclasses.replace(config.search))
    tables = msgspec.to_builtins(config)
    tables["network"] = written_table(tables["network"])
    return tomli_w.dumps(_without_none(tables)).encode()


def _without_none(value: Any) -> Any:
    """TOML has no null; a field left out means None."""
    if isinstance(value, dict):
        return {key: _without_none(inner) for key, inner in value.items() if inner is not None}
    return value


def _extended(raw: dict[str, Any], source: str) -> dict[str, Any]:
    """The settings of the preset that these extend, and over them these; as they are where they extend none."""
    if "extends" not in raw:
        return raw
    name, there = raw.pop("extends"), [*preset_names(), GENERAL]
    if not isinstance(name, str) or name not in there:
        guess = nearest(name, there) if isinstance(name, str) else ""
        raise UserError(f"{source}: extends must name a preset; got {seen(name)}.{guess} `numzero presets` lists them.")
    below = _extended(_shipped(name), name)
    _lay_over(below, _leaves(raw))
    return below


def _leaves(tables: Mapping[str, Any], above: Sequence[str] = ()) -> Iterator[tuple[list[str], Any]]:
    """Path and value of all that nested tables hold, as of overrides."""
    for name, value in tables.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, [*above, name])
        else:
            yield modern_path([*above, name]), value


def _lay_over(raw: dict[str, Any], settings: Iterable[tuple[list[str], Any]]) -> None:
    """Set what lies at these paths; a body comes first: those that follow are its settings."""
    for path, value in sorted(settings, key=lambda each: each[0] not in _BODY_PATHS):
        _override(raw, path, value)


def _convert(raw: dict[str, Any], overrides: Iterable[str], source: str) -> RunConfig:
    raw = _extended(raw, source)
    if isinstance(network := raw.setdefault("network", {}), dict):
        raw["network"] = modern_table(network)
    _name_game(raw)
    _lay_over(raw, map(_parsed, overrides))
    _name_game(raw)
    _refuse_unknown(raw, RunConfig, "")
    if isinstance(raw["network"], dict):
        raw["network"] = strict_table(raw["network"])
    try:
        config = msgspec.convert(raw, RunConfig)
    except msgspec.ValidationError as error:
        raise UserError(f"{source}: {misfit(error, raw, RunConfig)}") from error
    if problems := config.check():
        raise UserError(f"{source}: {' '.join(problems)}")
    return config


def game_of(game: str, overrides: Iterable[str]) -> tuple[str, list[str]]:
    """A game's name after those overrides that speak of it, and the others."""
    raw, others = {"game": game}, []
    for override in overrides:
        path, value = _parsed(override)
        if path[0] in ("game", *_GAME_TABLES):
            _override(raw, path, value)
        else:
            others.append(override)
    _name_game(raw)
    return str(raw["game"]), others


def arguments_of(settings: Iterable[str]) -> dict[str, Any]:
    """The table that "game_arguments.key=value" settings make."""
    raw: dict[str, Any] = {"game_arguments": {}}
    for path, value in map(_parsed, settings):
        _override(raw, path, value)
    table: dict[str, Any] = raw["game_arguments"]
    return table


def _name_game(raw: dict[str, Any]) -> None:
    """Write the game's arguments and wrappers into its name, of which there is one form."""
    tables = [raw.pop(name, default) for name, default in _GAME_TABLES.items()]
    if isinstance(raw.get("game"), str):
        raw["game"] = extended(raw["game"], *tables)
    elif any(tables):
        raise UserError(f'{" and ".join(_GAME_TABLES)} belong to a game; name it: game = "CartPole-v1".')


_GAME_TABLES: dict[str, Any] = {"game_arguments": {}, "wrappers": []}
_BODY_PATHS = ["network", "body"], ["network", "body", "kind"]


def _parsed(override: str) -> tuple[list[str], Any]:
    """Path and value of one "search.num_simulations=32"; the value is TOML, or a bare word as a string."""
    path, equals, text = override.partition("=")
    if not equals or not path.strip():
        raise UserError(
            f"a setting is path=value, like search.num_simulations=32; got {override!r}.", arguments=("overrides",)
        )
    parts = path.strip().split(".")
    try:
        value = _tables(f"value = {text}", override)["value"]
    except UserError:
        value = _bare_argument(text.strip()) if parts[0] == "game_arguments" else text.strip()
    return modern_path(parts), value


_PYTHON = {"True": True, "False": False, "None": None}
_PYTHON_FLOAT = re.compile(r"[+-]?(\d+\.|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)


def _bare_argument(text: str) -> Any:
    """An environment's argument that is no TOML: as JSON or a word of Python's would have it, else text."""
    if _PYTHON_FLOAT.fullmatch(text):
        return float(text)
    with contextlib.suppress(ValueError, RecursionError):
        return json.loads(text)
    if text[:1] in tuple("[{(\"'"):
        raise UserError(
            f'an argument\'s value must be as in TOML or JSON: 3, 0.5, true, [1, 2], {{"a": 1}}; got {text[:80]!r}.',
            arguments=("env_arg",),
        )
    return _PYTHON.get(text, text)


def _override(raw: dict[str, Any], path: list[str], value: Any) -> None:
    """Set what lies at a path."""
    if path in _BODY_PATHS and isinstance(raw["network"], dict):
        choose_body(raw["network"], value)
        return
    *parents, last = path
    table = raw
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            raise UserError(f"setting {'.'.join(path)}: {parent!r} is a value, not a group of settings.")
    table[last] = value


def _refuse_unknown(raw: Mapping[str, Any], kind: type, path: str) -> None:
    hints = get_type_hints(kind)
    _refuse_names(raw, hints if path else [*hints, *_GAME_TABLES], path)
    for name, value in raw.items():
        if not isinstance(value, Mapping):
            continue
        if path + name == "network.body":
            known = body_settings(value.get("kind"))
            _refuse_names(value, value if known is None else ["kind", *known], f"{path}{name}.")
        elif (
            inner := next((arg for arg in (hints[name], *get_args(hints[name])) if _is_group(arg)), None)
        ) is not None:
            _refuse_unknown(value, inner, f"{path}{name}.")


def _refuse_names(raw: Iterable[str], known: Iterable[str], path: str) -> None:
    known = [f"{path}{name}" for name in known]
    for name in raw:
        if path + name not in known:
            raise UserError(f"there is no setting {path + name!r}.{nearest(path + name, known)}")


def _is_group(kind: Any) -> bool:
    return isinstance(kind, type) and (issubclass(kind, msgspec.Struct) or dataclasses.is_dataclass(kind))
