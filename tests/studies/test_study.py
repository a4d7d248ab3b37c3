"""Studies: every seed is trained once, results are the final agents', and nothing foreign is counted."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from numzero.agent import Agent
from numzero.errors import UserError
from numzero.folders import SEED, STUDY, FolderLock
from numzero.judging.evaluate import exhaustive
from numzero.judging.measures import evaluation_score
from numzero.metrics import read_metrics
from numzero.studies import study as study_module
from numzero.studies.results import SeedResult
from numzero.studies.study import Study, Variant, parse_variant, train_seed
from numzero.studies.trainers import Trainer
from numzero.training.run import TrainingRun
from tests.tiny import RUN

TINY = (*RUN, "selfplay.batch_size=4", "evaluation.interval=6")
FEW = Variant(name="few", overrides=("search.num_simulations=1",))


def tiny_study(folder: Path, *variants: Variant, preset: str = "tictactoe", seeds: int = 2) -> Study:
    return Study(preset, TINY, variants, seeds, folder)


@pytest.fixture(autouse=True)
def no_rehearsal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels may be compiled while tests train; nothing here looks at the clock."""
    monkeypatch.setattr(study_module, "rehearse", lambda config: None)


def test_a_study_trains_each_seed_of_each_variant_once(tmp_path: Path):
    """A second run of the same study trains nothing; one more seed trains only that, in the order of seeds."""
    trained: list[tuple[str, int]] = []
    study = tiny_study(tmp_path / "s", FEW)
    assert study.missing() == [("preset", 0), ("few", 0), ("preset", 1), ("few", 1)]
    study.run(1, lambda result: trained.append((result.variant, result.seed)))
    assert trained == [("preset", 0), ("few", 0), ("preset", 1), ("few", 1)]
    first = study.results()
    assert [(each.variant, each.seed) for each in first] == [("preset", 0), ("preset", 1), ("few", 0), ("few", 1)]
    again = tiny_study(tmp_path / "s", FEW, seeds=3)
    assert again.missing() == [("preset", 2), ("few", 2)]
    study.run(1, lambda result: pytest.fail(f"trained {result} again"))
    assert study.results() == first


def test_results_are_those_of_the_final_agent(tmp_path: Path):
    """Every position of tic-tac-toe, by the bare policy and by 8 simulations; the curve has the run's evaluations."""
    study = tiny_study(tmp_path / "s", seeds=1)
    study.run(1, lambda result: None)
    (result,) = study.results()
    agent = Agent.load(tmp_path / "s" / "runs" / "preset" / "seed-0")
    assert agent.info.model_version == result.updates == 12
    assert result.scores == {
        "positions right, bare policy": exhaustive(agent, simulations=0)["optimal"],
        "positions right, 8 simulations": exhaustive(agent, simulations=8)["optimal"],
    }
    assert [point.updates for point in result.curve] == [6, 12]
    assert all(0.0 <= point.score <= 1.0 for point in result.curve)
    seconds = [point.seconds for point in result.curve]
    assert None not in seconds
    assert seconds == sorted(seconds)
    assert result.cpu_seconds > 0


def test_what_a_crash_left_half_done_is_trained_anew(tmp_path: Path):
    """A seed without a result is no result, however far it came, and no obstacle; what is not numzero's stays."""
    study = tiny_study(tmp_path / "s", preset="cartpole", seeds=1)
    FolderLock(study.folder, STUDY).close()
    left = tmp_path / "s" / "runs" / "preset" / "seed-0"
    config = study.configs["preset"]
    TrainingRun(config, left, seed=7, on_event=lambda event: None, anew=True).train()
    (left / "notes").write_text("mine", encoding="utf-8")
    (left / "agents" / "000000012" / "notes").write_text("mine", encoding="utf-8")
    assert study.missing() == [("preset", 0)]
    study.run(1, lambda result: None)
    assert read_metrics(left / "metrics.jsonl")[0].seed == 0
    assert (left / "notes").read_text("utf-8") == "mine"
    assert (left / "agents" / "000000012" / "notes").read_text("utf-8") == "mine"
    assert Agent.load(left).info.training["seed"] == 0
    (result,) = study.results()
    assert result.scores.keys() == {"mean return"}
    assert result.steps >= 156


def test_a_persons_own_run_where_a_seed_belongs_is_not_trained_over(tmp_path: Path):
    """A run that no study began is refused before anything is trained, and stays as it is."""
    left = tmp_path / "s" / "runs" / "preset" / "seed-0"
    tiny_study(tmp_path / "s", seeds=1).run(1, lambda result: None)
    shutil.rmtree(left)
    left.with_name("seed-0.json").unlink()
    config = tiny_study(tmp_path / "s", seeds=1).configs["preset"]
    TrainingRun(config, left, seed=7, on_event=lambda event: None).train()
    with pytest.raises(UserError, match="is the folder of a run, not of a seed of a study"):
        tiny_study(tmp_path / "s", seeds=1)
    with pytest.raises(UserError, match="is the folder of a run, not of a seed of a study"):
        train_seed(config, left, "preset", 0)
    assert Agent.load(left).info.training["seed"] == 7


def test_a_seed_that_another_process_trains_is_left_alone(tmp_path: Path):
    """The lock comes before anything is removed."""
    study = tiny_study(tmp_path / "s", seeds=1)
    FolderLock(study.folder, STUDY).close()
    left = tmp_path / "s" / "runs" / "preset" / "seed-0"
    config = study.configs["preset"]
    held = TrainingRun(config, left, seed=7, on_event=lambda event: None, anew=True)
    held.train()
    with FolderLock(left, SEED), pytest.raises(UserError, match="is in use by another process"):
        study.run(1, lambda result: None)
    assert Agent.load(left).info.training["seed"] == 7


def _but_for_time(result: SeedResult) -> object:
    return result.seed, result.scores, [(point.updates, point.steps, point.score) for point in result.curve]


def test_processes_give_the_results_of_this_one(tmp_path: Path):
    """Two at a time, on cores of their own, bit for bit: the seed decides."""
    one, two = (tiny_study(tmp_path / name, preset="cartpole") for name in ("one", "two"))
    one.run(1, lambda result: None)
    seen: list[int] = []
    two.run(2, lambda result: seen.append(result.seed))
    assert sorted(seen) == [0, 1]
    assert [_but_for_time(each) for each in one.results()] == [_but_for_time(each) for each in two.results()]


@pytest.mark.parametrize(
    ("work", "argument", "said"),
    [(int, "x", "Traceback.*ValueError: invalid literal.*"), (parse_variant, "-", "a variant is name:path=value,.*")],
    ids=["fault", "bad input"],
)
def test_the_log_says_why_a_process_failed(work: Callable[..., None], argument: str, said: str, tmp_path: Path):
    """A fault with its traceback, bad input in a sentence."""
    trainer = Trainer(work, (argument,), tmp_path / "log", None)
    trainer.process.join()
    assert trainer.ended()
    assert trainer.exit_code == 1
    assert re.fullmatch(said, (tmp_path / "log").read_text("utf-8"), re.DOTALL)


def test_seeds_train_with_the_processes_that_the_settings_ask_for(tmp_path: Path):
    """Workers are a setting like others: the run has them, and they share all cores with other seeds."""
    two = Variant(name="two", overrides=("processes.workers=1",))
    study = tiny_study(tmp_path / "s", two, preset="cartpole", seeds=1)
    study.run(2, lambda result: None)
    assert [(each.variant, each.updates) for each in study.results()] == [("preset", 12), ("two", 12)]
    started = {
        name: read_metrics(tmp_path / "s" / "runs" / name / "seed-0" / "metrics.jsonl")[0] for name in ("preset", "two")
    }
    assert {name: event.workers for name, event in started.items()} == {"preset": 0, "two": 1}


def test_settings_that_changed_are_refused(tmp_path: Path):
    """Runs of other settings are not counted as this variant's; another name is welcome."""
    tiny_study(tmp_path / "s", FEW, seeds=1).run(1, lambda result: None)
    other = Variant(name="few", overrides=("search.num_simulations=3",))
    with pytest.raises(UserError, match=r"variant .few. was begun in .* with other settings"):
        tiny_study(tmp_path / "s", other)
    assert tiny_study(tmp_path / "s", Variant(name="three", overrides=other.overrides), seeds=1).missing() == [
        ("three", 0)
    ]


COIN = ("game='tests.games.coin:SilentCoin'", "network.chance=auto", "network.num_codes=2", *TINY[1:])


def test_whether_there_is_chance_is_decided_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """For all seeds of all variants, also those that are added; each variant's simulations are told."""
    notes = list[str]()
    with Study("tictactoe", COIN, (FEW,), 1, tmp_path / "s").held(notes.append):
        pass
    assert "chance nodes with 2 learned codes are used (network.chance = learned), and 4 simulations" in notes[0]
    judged = "evaluation.num_simulations=4"
    few = ["network.chance=learned", "search.num_simulations=2", judged]
    assert notes[1:] == [f"variant 'few' trains with {', '.join(few)}."]
    monkeypatch.setattr(study_module, "decide_chance", lambda *_, **__: pytest.fail("it was decided"))
    added = Variant(name="added", overrides=("search.num_simulations=3",))
    study = Study("tictactoe", COIN, (FEW, added), 2, tmp_path / "s")
    with study.held(notes.append):
        jobs = study.seed_jobs()
    assert [job.config.network.chance for job in jobs] == ["learned"] * 6
    asked = [study.configs[job.variant].search.num_simulations for job in jobs]
    assert [job.config.search.num_simulations for job in jobs] == [2 * each for each in asked]
    more = ["network.chance=learned", "search.num_simulations=6", judged]
    assert notes[2:] == [f"variant 'added' trains with {', '.join(more)}."]
    shown = study.outcome("study").settings
    same = [each for each in COIN if each.partition("=")[0] not in {line.partition("=")[0] for line in more}]
    assert shown == {
        "preset": [*same, "network.chance=learned", "search.num_simulations=4", judged],
        "few": [*same, *few],
        "added": [*same, *more],
    }
    decided = tmp_path / "s" / "runs" / "preset" / "decided.toml"
    decided.write_bytes(decided.read_bytes().replace(b"num_codes = 2", b"num_codes = 3"))
    with pytest.raises(UserError, match=r"variant .preset. was begun in .* with other settings"):
        Study("tictactoe", COIN, (FEW,), 2, tmp_path / "s")


def test_a_study_of_before_simulations_were_doubled_goes_on_without(tmp_path: Path):
    """Also with variants that are added to it, which would not be compared alike else."""
    with Study("tictactoe", COIN, (), 1, tmp_path / "s").held():
        pass
    decided = tmp_path / "s" / "runs" / "preset" / "decided.toml"
    begun = decided.with_name("config.toml").read_text("utf-8")
    decided.write_text(begun.replace('chance = "auto"', 'chance = "learned"'), "utf-8")  # as 0.2.0 decided it
    study, notes = Study("tictactoe", COIN, (FEW,), 1, tmp_path / "s"), list[str]()
    with study.held(notes.append):
        jobs = study.seed_jobs()
    found = {job.variant: (job.config.network.chance, job.config.search.num_simulations) for job in jobs}
    assert found == {"preset": ("learned", 2), "few": ("learned", 1)}
    assert notes == ["variant 'few' trains with network.chance=learned."]
    assert study.outcome("study").settings["few"][-2:] == ["search.num_simulations=1", "network.chance=learned"]


def test_a_folder_of_something_else_is_refused(tmp_path: Path):
    """Nothing is written between a person's files."""
    (tmp_path / "thesis.tex").write_text("x", encoding="utf-8")
    with pytest.raises(UserError, match=r"not the folder of a study that numzero made: it holds .thesis\.tex."):
        tiny_study(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_each_variant_needs_a_name_of_its_own(tmp_path: Path):
    """Also other than the preset's."""
    for variants in ((FEW, FEW), (Variant(name="preset", overrides=FEW.overrides),)):
        with pytest.raises(UserError, match="needs a name of its own"):
            tiny_study(tmp_path / "s", *variants)
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("text", "overrides"),
    [
        ("few:search.num_simulations=4", ("search.num_simulations=4",)),
        ("a-1:x.y=1,z.w=abc", ("x.y=1", "z.w=abc")),
        ("b:x.y=[1, 2],z.w='a,b'", ("x.y=[1, 2]", "z.w='a,b'")),
    ],
)
def test_variants_are_read_as_written(text, overrides):
    """Commas part settings, unless what follows is none."""
    assert parse_variant(text) == Variant(name=text.partition(":")[0], overrides=overrides)


@pytest.mark.parametrize("text", ["few", "few:", ":x=1", "a b:x=1", "../up:x=1"])
def test_variants_that_say_nothing_or_escape_the_folder_are_refused(text):
    """With the form that is right."""
    with pytest.raises(UserError, match=r"variant"):
        parse_variant(text)


def test_one_number_stands_for_an_evaluation():
    """A mean return as it is, a match as the share of its points."""
    assert evaluation_score({"mean_return": 42.5, "min_return": 1.0}) == 42.5
    assert evaluation_score({"wins": 2, "draws": 1, "losses": 1, "as_first": {}}) == 0.625
