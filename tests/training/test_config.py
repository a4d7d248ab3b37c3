"""A run's settings: presets, files, overrides, and what is refused with which sentence."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import re
import tomllib
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec
import pytest

from numzero.errors import UserError
from numzero.networks.config import ConvConfig, OutsideConfig
from numzero.training.config import (
    LearnerConfig,
    RunConfig,
    arguments_of,
    game_of,
    load_config,
    load_general,
    load_preset,
    outside_code,
    preset_names,
    save_config,
)


def is_group(kind: Any) -> bool:
    return isinstance(kind, type) and (issubclass(kind, msgspec.Struct) or dataclasses.is_dataclass(kind))


def groups(kind: type = RunConfig, path: str = "") -> dict[str, type]:
    """Every struct of settings inside a run's, by its path; of several bodies the one that there is by default."""
    found = {path: kind}
    for name, hint in get_type_hints(kind).items():
        group = hint if is_group(hint) else get_args(hint)[0] if is_body(hint) else None
        if group is not None:
            found |= groups(group, f"{path}{name}.")
    return found


def is_body(hint: Any) -> bool:
    return bool(get_args(hint)) and all(map(is_group, get_args(hint)))


GROUPS = groups()


def settings(path: str) -> dict[str, Any]:
    """The settings of a group that are no groups themselves, with their types."""
    return own_settings(GROUPS[path])


def own_settings(kind: type) -> dict[str, Any]:
    return {name: hint for name, hint in get_type_hints(kind).items() if not (is_group(hint) or is_body(hint))}


def test_all_groups_are_found():
    """The tests below look into every corner."""
    names = {path.split(".")[0] for path in GROUPS}
    assert names == {"", *RunConfig.__struct_fields__} - {"game"}
    assert {"network.value.", "network.reward.", "network.body."} <= set(GROUPS)


# ---------------------------------------------------------------------------------------------------- documentation


@pytest.mark.parametrize("kind", [*GROUPS.values(), ConvConfig, OutsideConfig], ids=lambda kind: kind.__name__)
def test_every_setting_says_what_it_means(kind):
    """A string below each field, and one for the whole group; a field that is a group is explained by that group."""
    bases = [base for base in kind.__mro__ if base.__module__.startswith("numzero.")]
    assert set().union(*map(documented, bases)) >= set(own_settings(kind))


def documented(kind: type) -> set[str]:
    """The fields below which something is said, of those that a class declares itself."""
    module = ast.parse(Path(inspect.getfile(kind)).read_text("utf-8"))
    (body,) = (node.body for node in module.body if isinstance(node, ast.ClassDef) and node.name == kind.__name__)
    assert isinstance(body[0], ast.Expr)
    return {
        field.target.id
        for field, text in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and len(str(text.value.value)) > 15
    }


# ---------------------------------------------------------------------------------------------------- presets, files


def test_there_are_presets():
    """In order, under names without an ending."""
    assert {"cartpole", "tictactoe"} <= set(preset_names())
    assert preset_names() == sorted(preset_names())


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_loads_without_a_problem(name):
    """And says something: it is not all defaults."""
    config = load_preset(name)
    assert config.check() == []
    assert config != RunConfig(game=config.game)


@pytest.mark.parametrize("name", preset_names())
def test_saved_settings_are_the_same_when_loaded(tmp_path, name):
    """Also where every kind of value was changed; and every setting is written out, but for those that are None."""
    changes = ["search.value_bounds=[-2.0, 3]", "search.tree_wide_scaling=true", "learner.learning_rate=1e-7"]
    for config in (load_preset(name), load_preset(name, changes)):
        (tmp_path / "config.toml").write_bytes(save_config(config))
        assert load_config(tmp_path / "config.toml") == config
        assert load_preset(str(tmp_path / "config.toml")) == config
        written = tomllib.loads(save_config(config).decode())
        for path in GROUPS:
            table, held = written, config
            for part in path.split(".")[:-1]:
                table, held = table[part], getattr(held, part)
            names = held.__struct_fields__ if path == "network.body." else settings(path)  # of the body that it has
            assert {key for key in names if getattr(held, key) is not None} <= set(table)


def test_an_unknown_preset_is_answered_with_the_nearest():
    """Or with all, where none is near."""
    with pytest.raises(UserError, match=r"there is no preset 'tictactoo'\. Did you mean 'tictactoe'\?"):
        load_preset("tictactoo")
    with pytest.raises(UserError, match=r"there is no preset 'xyz'. Known: .*cartpole.*tictactoe"):
        load_preset("xyz")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"a.toml cannot be read: No such file or directory\."),
        (b"game = ", "a.toml is not TOML: "),
        (b"game = '\xff'", "a.toml is not TOML: "),
        (b"", "a.toml: .*missing required field `game`"),
        (b"game = 5", r"a.toml: game must be a text; got 5"),
        (b"game = 'x'\nsearch = 5", r"a.toml: search must be a table of settings; got 5"),
    ],
)
def test_a_file_that_is_no_settings_is_refused_by_name(tmp_path, content, message):
    """One sentence, whatever is wrong with it."""
    path = tmp_path / "a.toml"
    if content is not None:
        path.write_bytes(content)
    for load in (load_config, lambda path: load_preset(str(path))):
        with pytest.raises(UserError, match=message):
            load(path)


def test_a_file_extends_a_preset(tmp_path):
    """It says only what is different, at any depth; overrides go over both, and what is saved extends nothing."""
    path = tmp_path / "mine.toml"
    path.write_text('game = "Acrobot-v1"\nextends = "cartpole"\n[network.body]\nwidth = 32\n[schedule]\ngamma = 0.5\n')
    config, preset = load_preset(str(path), ["learner.batch_size=8"]), load_preset("cartpole")
    expected = load_preset("cartpole", ["network.body.width=32", "schedule.gamma=0.5", "learner.batch_size=8"])
    assert config == msgspec.structs.replace(expected, game="Acrobot-v1")
    assert config.search == preset.search != load_preset("tictactoe").search
    assert b"extends" not in save_config(config)
    general = load_general("CartPole-v1").search
    assert preset.search == general, "which extends in its turn"


def test_another_body_of_a_file_keeps_what_both_have(tmp_path):
    """As where `--set network.body.kind` names it."""
    path = tmp_path / "mine.toml"
    path.write_text('extends = "cartpole"\n[network.body]\nkind = "conv"\nblocks = 2\n')
    assert load_preset(str(path)) == load_preset("cartpole", ["network.body.kind=conv", "network.body.blocks=2"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            'game = "x"\nextends = "cartpol"',
            r"mine.toml: extends must name a preset; got 'cartpol'. Did you mean 'cartpole'\?",
        ),
        ('game = "x"\nextends = "mine.toml"', "extends must name a preset; got 'mine.toml'"),
        ('game = "x"\nextends = 5', "extends must name a preset; got 5"),
        ('extends = "general"', "missing required field `game`"),
        ('extends = "cartpole"\nsearch = 5', "search must be a table of settings; got 5"),
        ('extends = "cartpole"\n[search]\nextends = "general"', "there is no setting 'search.extends'"),
        ('extends = "cartpole"\n[network.body]\nkind = "mpl"', "mpl"),
    ],
)
def test_what_cannot_be_extended_is_refused(tmp_path, content, message):
    """Only presets can, by name, and as a whole."""
    path = tmp_path / "mine.toml"
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        load_preset(str(path))


# ------------------------------------------------------------------------------------------------------------- games

TABLES = """
game = "mine:Env(size=3, seed=1)"
game_arguments = {size = 4, map = ["SF", "FG"]}
[[wrappers]]
name = "gymnasium.wrappers:TimeLimit"
max_episode_steps = 100
[[wrappers]]
name = "mine.py:Doubled"
"""
FOLDED = (
    'mine:Env(map=["SF", "FG"], seed=1, size=4) > gymnasium.wrappers:TimeLimit(max_episode_steps=100) > mine.py:Doubled'
)


def test_tables_of_arguments_and_wrappers_become_part_of_the_games_name(tmp_path):
    """Which is all that is saved; what is saved reads the same."""
    (tmp_path / "mine.toml").write_text(TABLES)
    config = load_config(tmp_path / "mine.toml")
    assert config.game == FOLDED
    (tmp_path / "config.toml").write_bytes(save_config(config))
    assert load_config(tmp_path / "config.toml") == config


def test_overrides_give_a_game_arguments_and_wrappers(tmp_path):
    """In any order; another game comes without those of the file's."""
    (tmp_path / "mine.toml").write_text(TABLES)
    more = ["game_arguments.size=5", "game_arguments.word=a b", 'wrappers=[{name = "w:W"}]']
    assert load_config(tmp_path / "mine.toml", more).game == (
        FOLDED.replace("size=4", "size=5").replace(")", ', word="a b")', 1) + " > w:W"
    )
    for overrides in (["game=CartPole-v1", more[0]], [more[0], "game=CartPole-v1"]):
        assert load_config(tmp_path / "mine.toml", overrides).game == "CartPole-v1(size=5)"
    assert game_of("a:B", [*more, "search.num_simulations=3"]) == (
        'a:B(size=5, word="a b") > w:W',
        ["search.num_simulations=3"],
    )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("game=Env(size)", "arguments must be key=value"),
        ("game_arguments=3", "game_arguments must be a table of key = value; got '3'"),
        ("game_arguments.a-b=3", "an argument must be called as in Python.* got 'a-b = 3'"),
        ("game_arguments.day=2020-01-01", "an argument must be called as in Python"),
        ("wrappers=mine:W", r"wrappers must be a list of tables, \[\[wrappers\]\]; got 'mine:W'"),
        ("wrapers=[]", "there is no setting 'wrapers'. Did you mean 'wrappers'"),
        ("game_argument.a=1", "there is no setting 'game_argument'. Did you mean 'game_arguments'"),
    ],
)
def test_what_cannot_be_a_games_name_is_refused(override, message):
    """In a sentence that says the form."""
    with pytest.raises(UserError, match=message):
        load_preset("tictactoe", [override])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("8x8", "8x8"),
        ("a b", "a b"),
        ("True", True),
        ('"True"', "True"),
        ("None", None),
        ("-.5", -0.5),
        ("2.", 2.0),
        ("inf", float("inf")),
        ("['SF', 'FG']", ["SF", "FG"]),
        ("{a = 1}", {"a": 1}),
        ('{"a": [1, null]}', {"a": [1, None]}),
        ("", ""),
    ],
)
def test_arguments_are_typed_as_people_type_them(text, value):
    """TOML, JSON, or what Python calls it; other words are text."""
    found = arguments_of([f"game_arguments.x={text}"])["x"]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("text", ["(1, 2)", "[True]", "{'a': 1}", "'a"])
def test_an_argument_that_looks_like_more_than_a_word_is_no_text(text):
    """It is refused rather than given to the environment as text."""
    with pytest.raises(UserError, match=r"must be as in TOML or JSON: .* got "):
        arguments_of([f"game_arguments.x={text}"])


def test_arguments_belong_to_a_game(tmp_path):
    """A file that has them and no game says so."""
    (tmp_path / "a.toml").write_text("game_arguments = {size = 3}")
    with pytest.raises(UserError, match="game_arguments and wrappers belong to a game; name it"):
        load_config(tmp_path / "a.toml")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
def test_a_file_that_powershell_wrote_is_read(tmp_path, encoding):
    """Its `>` writes UTF-16, and editors on Windows put a byte-order mark before UTF-8."""
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    (tmp_path / "mine.toml").write_bytes((mark + 'game = "tictactoe" # größer\r\n').encode(encoding))
    assert load_preset(str(tmp_path / "mine.toml")).game == "tictactoe"


# ---------------------------------------------------------------------------------------------------- unknown settings


@pytest.mark.parametrize("path", sorted(GROUPS))
def test_an_unknown_setting_is_refused_with_the_nearest_at_every_depth(tmp_path, path):
    """In an override and in a file alike; a slip of one letter finds the name meant."""
    meant = sorted(settings(path))[0]
    slip = f"{path}{meant}x"
    message = rf"there is no setting '{slip}'. Did you mean '{path}{meant}'\?"
    with pytest.raises(UserError, match=message):
        load_preset("tictactoe", [f"{slip}=1"])
    tables = f"[{path[:-1]}]\n" if path else ""
    (tmp_path / "a.toml").write_text(f"game = 'tictactoe'\n{tables}{meant}x = 1\n")
    with pytest.raises(UserError, match=message):
        load_config(tmp_path / "a.toml")


def test_an_unknown_group_is_refused():
    """Not taken for a new one."""
    with pytest.raises(UserError, match=r"there is no setting 'serch'. Did you mean 'search'\?"):
        load_preset("tictactoe", ["serch.num_simulations=3"])


# ---------------------------------------------------------------------------------------------------- overrides


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("search.num_simulations=33", 33),
        (" search.num_simulations = 33 ", 33),
        ("learner.learning_rate=2e-3", 2e-3),
        ("learner.learning_rate=1", 1.0),
        ("schedule.average_acts=true", True),
        ("learner.symmetries=false", False),
        ("network.body.width=5", 5),
        ("network.body.activation=silu", "silu"),
        ("network.value.num_bins=5", 5),
        ("network.reward.transform=h", "h"),
        ("search.value_bounds=[-1, 1]", (-1.0, 1.0)),
        ("game=CartPole-v1", "CartPole-v1"),
        ("game=package.module:Class", "package.module:Class"),
        ("game=a=b", "a=b"),
    ],
)
def test_an_override_sets_what_it_names_and_nothing_else(override, value):
    """Integers, floats, truth values, bare and quoted words, arrays, nested groups."""
    path = override.partition("=")[0].strip()
    before = msgspec.to_builtins(load_preset("tictactoe"))
    changed = load_preset("tictactoe", [override])
    found: Any = changed
    for part in path.split("."):
        found = getattr(found, part)
    assert found == value
    assert type(found) is type(value)
    after = msgspec.to_builtins(changed)
    *parents, last = path.split(".")
    for parent in parents:
        before, after = before[parent], after[parent]
    assert {**after, last: None} == {**before, last: None}


@pytest.mark.parametrize("override", ["network.body=conv", "network.body = conv ", 'network.body.kind="conv"'])
def test_another_body_keeps_what_both_have(override):
    """Whatever the order: the body is chosen before its settings are set."""
    before = load_preset("tictactoe", ["network.body.width=7"]).network
    for overrides in ([override, "network.body.blocks=3"], ["network.body.blocks=3", override]):
        config = load_preset("tictactoe", ["network.body.width=7", *overrides]).network
        assert config.body == ConvConfig(width=7, blocks=3, latent_scaling="layernorm", head_scale=0.1)
        assert msgspec.structs.replace(config, body=before.body) == before


def test_a_setting_of_another_body_is_refused():
    """The nearest of the right body's is named."""
    with pytest.raises(UserError, match=r"there is no setting 'network.body.blocks'\."):
        load_preset("tictactoe", ["network.body.blocks=3"])
    with pytest.raises(UserError, match=r"there is no setting 'network.body.latent_size'\."):
        load_preset("tictactoe", ["network.body=conv", "network.body.latent_size=3"])
    with pytest.raises(
        UserError, match=r"network.body.kind must be mlp, conv, image, .*; got 'mpl'. Did you mean 'mlp'\?"
    ):
        load_preset("tictactoe", ["network.body=mpl"])


@pytest.mark.parametrize("name", ["width", "latent_size", "representation_layers", "prediction_layers"])
def test_where_a_setting_of_the_body_was_before_it_still_is(name):
    """Command lines of before go on."""
    assert load_preset("cartpole", [f"network.{name}=3"]) == load_preset("cartpole", [f"network.body.{name}=3"])


OLD = Path(__file__).parent / "old"
"""config.toml of runs, written by the code that knew bodies by a word; seals left out."""


@pytest.mark.parametrize("name", ["cartpole", "conv"])
def test_runs_made_before_have_the_settings_they_had(tmp_path, name):
    """Field by field, and again once they are written as settings are now."""
    config = load_config(OLD / f"{name}.toml")
    was = tomllib.loads((OLD / f"{name}.toml").read_text("utf-8"))["network"]
    network = msgspec.to_builtins(config.network)
    body = network.pop("body")
    assert body.pop("kind") == was.pop("body")
    assert (network.pop("chance"), network.pop("num_codes")) == ("none", 32)  # came later
    assert not network["value"].pop("fitted")  # came later
    assert not network["reward"].pop("fitted")
    ignored = {"conv": {"latent_size", "representation_layers", "dynamics_layers"}}
    ignored["cartpole"] = {"channels", "blocks", "head_channels"}
    assert {**network, **body} == {key: value for key, value in was.items() if key not in ignored[name]}
    (tmp_path / "config.toml").write_bytes(save_config(config))
    assert load_config(tmp_path / "config.toml") == config


def test_a_class_of_ones_own_keeps_its_settings(tmp_path):
    """In a file, by overrides, and in the file that a run keeps; another class begins anew."""
    text = "game = 'tictactoe'\n[network.body]\nkind = 'mine:Body'\nsize = 3\n"
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    config = load_config(tmp_path / "mine.toml")
    assert config.network.body == OutsideConfig(name="mine:Body", settings={"size": 3})
    changes = ["network.body.size=4", "network.body.deep=true", "network.body=mine:Body"]
    changed = load_config(tmp_path / "mine.toml", changes)
    assert changed.network.body == OutsideConfig(name="mine:Body", settings={"size": 4, "deep": True})
    (tmp_path / "config.toml").write_bytes(save_config(changed))
    assert load_config(tmp_path / "config.toml") == changed
    other = load_preset("tictactoe", ["network.body=other.py:Body", "network.body.x=1"])
    assert other.network.body == OutsideConfig(name="other.py:Body", settings={"x": 1})


def test_the_last_of_several_overrides_counts():
    """As on every command line."""
    config = load_preset("cartpole", ["learner.batch_size=2", "search.num_simulations=4", "learner.batch_size=8"])
    assert (config.learner.batch_size, config.search.num_simulations) == (8, 4)


@pytest.mark.parametrize("override", ["search.num_simulations", "", "=5", "  =5"])
def test_an_override_without_a_path_and_a_value_is_refused(override):
    """The message shows how it is written."""
    with pytest.raises(UserError, match=r"a setting is path=value, like search\.num_simulations=32; got "):
        load_preset("tictactoe", [override])


def test_an_override_below_a_value_is_refused():
    """A setting has no settings of its own."""
    with pytest.raises(UserError, match="'num_simulations' is a value, not a group of settings"):
        load_preset("tictactoe", ["search.num_simulations.low=3"])
    with pytest.raises(UserError, match="'game' is a value, not a group of settings"):
        load_preset("tictactoe", ["game.name=3"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("search=5", "search must be a table of settings; got 5."),
        ("search.num_simulations=3.5", "search.num_simulations must be a whole number; got 3.5."),
        ("search.num_simulations=many", "search.num_simulations must be a whole number; got 'many'."),
        ("search.num_simulations=true", "search.num_simulations must be a whole number; got True."),
        ("schedule.average_acts=1", "schedule.average_acts must be true or false; got 1."),
        (
            "search.rule=papers",
            "search.rule must be 'paper', 'parent_siblings' or 'gumbel'; got 'papers'. Did you mean 'paper'?",
        ),
        (
            "network.body.latent_scaling=max",
            "network.body.latent_scaling must be 'minmax' or 'layernorm'; got 'max'. Did you mean 'minmax'?",
        ),
        ("network.body=5", "network.body must be a table of settings; got 5."),
        ("search.num_simulations=-1", "search.num_simulations must be 0 or more; got -1."),
        ("selfplay.batch_size=0", "selfplay.batch_size must be 1 or more; got 0."),
        ("replay.capacity_steps=1", "replay.capacity_steps must be 2 or more; got 1."),
        ("targets.unroll_steps=0", "targets.unroll_steps must be 1 or more; got 0."),
        ("network.value.num_bins=1", "network.value.num_bins must be 2 or more; got 1."),
        ("network.body.width=0", "network.body.width must be 1 or more; got 0."),
        ("learner.batch_size=0", "learner.batch_size must be 1 or more; got 0."),
        ("learner.learning_rate=nan", "learner.learning_rate must be above 0; got nan."),
        ("learner.gradient_clip=0", "learner.gradient_clip must be above 0; got 0.0."),
        ("learner.value_weight=-1", "learner.value_weight must be 0 or more; got -1.0."),
        ("learner.loss=mine", "learner.loss must be module:function; got 'mine'."),
        ("learner.loss_weight=-1", "learner.loss_weight must be 0 or more; got -1.0."),
        ("learner.warmup_updates=-1", "learner.warmup_updates must be 0 or more; got -1."),
        ("learner.average_decay=1", "learner.average_decay must be from 0 to below 1; got 1.0."),
        ("reanalyze.fraction=-1", "reanalyze.fraction must be 0 or more; got -1.0."),
        ("reanalyze.positions=0", "reanalyze.positions must be 1 or more; got 0."),
        ("reanalyze.order=backwards", "reanalyze.order must be 'sweep' or 'random'; got 'backwards'."),
        ("replay.memory_mb=0", "replay.memory_mb must be 1 or more; got 0."),
        ("processes.workers=-1", "processes.workers must be 0 or more; got -1."),
        ("evaluation.games=0", "evaluation.games must be 1 or more; got 0."),
        ("evaluation.num_simulations=-1", "evaluation.num_simulations must be 0 or more; got -1."),
        ("schedule.num_updates=0", "schedule.num_updates must be 1 or more; got 0."),
        ("schedule.samples_per_step=0", "schedule.samples_per_step must be above 0; got 0.0."),
        ("schedule.gamma=0", "schedule.gamma must be above 0 and at most 1; got 0.0."),
        ("schedule.gamma=1.01", "schedule.gamma must be above 0 and at most 1; got 1.01."),
    ],
)
def test_a_bad_value_is_refused_in_a_sentence_that_says_where(override, message):
    """Wrong types and values out of range, of every group."""
    with pytest.raises(UserError, match=f"tictactoe: {re.escape(message)}"):
        load_preset("tictactoe", [override])


def settings_below(group, path=""):
    """The path of every setting."""
    for field in dataclasses.fields(group) if dataclasses.is_dataclass(group) else msgspec.structs.fields(group):
        value, place = getattr(group, field.name), f"{path}{field.name}"
        is_group = dataclasses.is_dataclass(value) or isinstance(value, msgspec.Struct)
        yield from settings_below(value, f"{place}.") if is_group else [place]


@pytest.mark.parametrize("value", ["[[]]", "{q=1}"])
def test_every_setting_says_what_it_must_be(value):
    """By its name, in words: nothing takes a list of lists or a table."""
    for path in settings_below(load_preset("tictactoe")):
        with pytest.raises(UserError, match=rf"{re.escape(path)} must be .*; got "):
            load_preset("tictactoe", [f"{path}={value}"])


def test_all_problems_are_told_at_once():
    """Across groups, in one error."""
    with pytest.raises(
        UserError, match=r"selfplay.batch_size .* network.body.width .* learner.batch_size .* schedule.gamma"
    ):
        load_preset(
            "tictactoe", ["schedule.gamma=0", "learner.batch_size=0", "selfplay.batch_size=0", "network.width=0"]
        )


def test_settings_can_be_changed_in_code_too():
    """What a researcher does: replace, check."""
    config = msgspec.structs.replace(load_preset("tictactoe"), learner=LearnerConfig(batch_size=-1))
    assert config.check() == ["learner.batch_size must be 1 or more; got -1."]


def test_code_that_settings_name_is_told():
    """So that whoever reads a stranger's settings can ask first; the game's is told by its own rule."""
    assert outside_code(load_preset("tictactoe")) == []
    config = load_preset("cartpole", ["network.body=mine:Body", "learner.loss=losses.py:mine"])
    assert outside_code(config) == ["mine:Body", "losses.py:mine"]
    assert outside_code(load_preset("cartpole", ["learner.loss=a:b"])) == ["a:b"]


def test_settings_are_read_without_running_what_they_name(tmp_path):
    """Reading, checking and writing a file imports nothing that it names."""
    (tmp_path / "trap.py").write_text("raise SystemExit('run')\n", encoding="utf-8")
    trap = f"{tmp_path}/trap.py:Body"
    config = load_preset("cartpole", [f"network.body={trap}", f"learner.loss={trap}"])
    assert config.check() == []
    (tmp_path / "config.toml").write_bytes(save_config(config))
    assert outside_code(load_config(tmp_path / "config.toml")) == [trap, trap]


# ---------------------------------------------------------------------------------------------------- odd numbers


def numbers_of(kind: type) -> list[str]:
    """Every setting of that type, with its group: "learner.learning_rate"."""
    return sorted(
        f"{path}{name}"
        for path, group in GROUPS.items()
        for name, hint in get_type_hints(group).items()
        if hint is kind and path
    )


MAY_BE_INFINITE = {"learner.gradient_clip", "runtime.patience_seconds", "runtime.start_patience_seconds"}
"""As their fields say: infinity switches the limit off."""


def test_numbers_of_settings_are_found():
    """In groups of groups too."""
    assert {"network.body.head_scale", "network.value.limit", "search.value_scale"} <= set(numbers_of(float))
    assert {"network.body.width", "search.num_simulations"} <= set(numbers_of(int))


@pytest.mark.parametrize("path", numbers_of(float))
def test_a_number_that_is_none_or_without_end_is_refused(path):
    """Every setting of every group: none reaches a network or a formula."""
    for value in ("nan", "inf", "-inf", "1e308", "-1e308"):
        if path in MAY_BE_INFINITE and value in ("inf", "1e308"):
            load_preset("tictactoe", [f"{path}={value}"])
            continue
        with pytest.raises(UserError, match=rf"tictactoe: {path} must be .*; got "):
            load_preset("tictactoe", [f"{path}={value}"])


@pytest.mark.parametrize("path", numbers_of(int))
def test_a_whole_number_without_end_is_refused(path):
    """Every one: sizes that no machine has are no traceback of numpy or torch."""
    for value in (str(10**12), str(10**30), "0x" + "f" * 5000, "9" * 5000):
        with pytest.raises(UserError, match=r"at most|must be a whole number") as refusal:
            load_preset("tictactoe", [f"{path}={value}"])
        assert len(str(refusal.value)) < 500


def test_networks_that_no_memory_holds_are_refused():
    """Though each of their sizes would do alone."""
    for settings in (
        ["network.width=65536", "network.dynamics_layers=100"],
        ["network.body=conv", "network.channels=65536", "network.blocks=1"],
    ):
        with pytest.raises(UserError, match=r"network must have .* weights at most"):
            load_preset("tictactoe", settings)


ODD_FILES = {
    "deep nesting": "x = " + "[\n" * 100_000 + "]\n" * 100_000,
    "deep tables": "x = " + "{a=" * 600 + "1" + "}" * 600,
    "deep nesting in one line": "x = " + "[" * 100_000,
    "a number of 5,000 digits": "x = " + "9" * 5000,
    "a number that Python does not write": "game = 'tictactoe'\n[schedule]\nnum_updates = 0x" + "f" * 1900,
    "a key of many parts": ".".join("a" * 50_000) + " = 1",
    "controls": "game = '\\u001b[31mred'\nx = 1",
    "dates": "game = 1979-05-27",
}


@pytest.mark.parametrize("name", ODD_FILES)
def test_a_file_of_odd_toml_is_refused_in_a_sentence(tmp_path, name):
    """At once, and without a traceback."""
    path = tmp_path / "odd.toml"
    path.write_text(ODD_FILES[name])
    with pytest.raises(UserError) as refusal:
        load_preset(str(path))
    assert len(str(refusal.value)) < 500
    assert str(refusal.value).isprintable()
