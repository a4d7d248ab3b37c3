"""What a run's figures mean: sentences for a person whose run does not learn, with what to try.

Knows events and settings; knows nothing of how they are shown. Every limit here is a rule of thumb, and says so by
being a finding, not an error.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Literal, NamedTuple

from numzero.games.checking.chance import ChanceSeen
from numzero.judging.measures import evaluation_score
from numzero.judging.verdict import Judged, Sample, judged, standing, verdict_of
from numzero.metrics import BY_LISTENER, Diagnosed, Evaluated, Event, Finished, Predicted, Progress, Started
from numzero.networks.config import SupportConfig
from numzero.networks.support import bin_values
from numzero.training.config import RunConfig

__all__ = ["Finding", "findings", "relative_error"]

LAST_SHARE = 0.25
"""Findings are about the last quarter of the diagnoses."""
NO_SPREAD = 1e-12
SMALL_SPREAD = 0.02
"""Targets that differ by less than one, or by less than the other of their mean, are all the same."""
ALIKE = 0.1
"""Latents that differ by less than this share of what observations do are all alike."""
FEW_UPDATES, FEW_EPISODES = 1000, 20
"""A run of less is too short to be judged by what it came to."""
MUCH_ERROR = 0.3
"""Beside a constant's, where the model misses what chance does."""
TINY_SPREAD = 1e-3
"""Differences of less are lost on bins that are not fitted: those lie 0.1 apart and more. Errors of less are none."""


Name = Literal[
    "age",
    "agreement",
    "chance",
    "end",
    "latents",
    "policy",
    "random",
    "replay ratio",
    "reward",
    "score",
    "search",
    "size of the reward",
    "size of the value",
    "threshold",
    "time limit",
    "too short",
    "unroll",
    "value",
    "waiting",
]
"""What is judged; docs/it-does-not-learn.md has a part for each."""
_Scalar = Literal["value", "reward"]
_Kind = Literal["good", "note", "look", "failed"]
_SIZES: dict[_Scalar, Name] = {"value": "size of the value", "reward": "size of the reward"}


class Finding(NamedTuple):
    """One figure, and what it means."""

    kind: _Kind
    """`failed`: the run came to nothing. `look`: this may be why it does not learn. `good` is nothing of a run that
    failed: what is as it should be there is a `note`."""
    name: Name
    sentence: str
    """The figure and its meaning; for `look`, also what to try."""


def findings(events: Sequence[Event], config: RunConfig) -> list[Finding]:
    """All that can be said of a run, what deserves a look first."""
    judgement = judged(events, config.evaluation.games)
    found = [] if judgement is None else [*_beside_random(judgement, events, config), *_time_limit(judgement, events)]
    diagnosed = [event for event in events if isinstance(event, Diagnosed)]
    if diagnosed:
        last = diagnosed[-max(1, round(LAST_SHARE * len(diagnosed))) :]
        takes_vectors = any(isinstance(event, Started) and event.takes_vectors for event in events)
        chance, agreement = (partial(judge, takes_vectors=takes_vectors) for judge in (_chance, _agreement))
        for judge in (_value, _reward, chance, _latents, _unroll, _policy, _search, agreement):
            found += judge(last, config)
    else:
        found.append(
            Finding("look", "too short", "The run ended before its first diagnosis: there is little to judge.")
        )
    for whole in (_end, _scores, _ratio, _age, _waiting):
        found += whole(events, config)
    if any(finding.kind == "failed" for finding in found):
        found = [finding._replace(kind="note") if finding.kind == "good" else finding for finding in found]
    return sorted(found, key=lambda finding: _ORDER.index(finding.kind))


_ORDER = ("failed", "look", "note", "good")


def _beside_random(judgement: Judged, events: Sequence[Event], config: RunConfig) -> Iterator[Finding]:
    """The run beside a random policy, and beside its task's threshold."""
    verdict = verdict_of(judgement)
    said = f"{verdict.sentence[0].upper()}{verdict.sentence[1:]}."
    if verdict.outcome == "failed":
        forgot = _forgot(judgement)
        once = "Earlier ones were better: it forgot what it knew." if forgot else "No evaluation was better."
        way_out = _failed_way_out(judgement, events, config, forgot=forgot)
        yield Finding("failed", "random", f"{said} {once} {way_out}")
    elif verdict.outcome == "unsure":
        games = judgement.latest.games
        yield Finding(
            "look",
            "random",
            f"{said} {games:,} games do not tell: judge by more of them (evaluation.games, or `evaluate` beside a "
            "random opponent), or train longer (schedule.num_updates).",
        )
    elif verdict.outcome == "unknown":
        yield Finding("note", "random", f"{said} {_unknown(judgement)}")
    elif judgement.threshold is None or verdict.outcome == "solved":
        yield Finding("good", "random", said)
    else:
        yield Finding("look", "threshold", f"{said} {_more(judgement, events)}")


def _forgot(judgement: Judged) -> bool:
    """Whether a run that is no better than random once was."""
    return any(_surely_better(agent, judgement) for agent in judgement.agents)


def _surely_better(agent: Sample, judgement: Judged) -> bool:
    """Whether one of so many evaluations was better than random, and not by being one of many."""
    assert judgement.random is not None
    limit = statistics.NormalDist().inv_cdf(1.0 - 0.025 / len(judgement.agents))
    return standing(agent, judgement.random) > limit


def _failed_way_out(judgement: Judged, events: Sequence[Event], config: RunConfig, *, forgot: bool) -> str:
    short = _short(events, config)
    if short:
        return short
    if forgot:
        return (
            "Try a larger replay.capacity_steps, or a learning rate that falls further (learner.final_learning_rate)."
        )
    if judgement.random is not None and judgement.random.spread == 0.0 and judgement.agents[-1].spread == 0.0:
        return (
            "Every episode earned the same: either whatever one does is worth as much, or what earns more was never "
            "met. Then give rewards on the way, or an easier task first, and more random moves "
            "(selfplay.random_move_probability)."
        )
    memory = "" if config.observation.frames > 1 else "what was seen earlier may count (observation.frames), and "
    return (
        "Look at what is said below of reward, value, search and latents, in this order; `check-env` says whether the "
        f"environment is sound, {memory}longer runs (schedule.num_updates) or a wider network (network.body.width) "
        "may do."
    )


def _short(events: Sequence[Event], config: RunConfig) -> str:
    """That a run is too short to be judged, or nothing."""
    progress = [event for event in events if isinstance(event, Progress)]
    if not progress:
        return ""
    last = progress[-1]
    if last.updates < FEW_UPDATES:
        return (
            f"{last.updates:,} updates and {last.games:,} episodes are few: most tasks take 2,000 updates and more. "
            "Train longer (schedule.num_updates)."
        )
    if last.games < FEW_EPISODES:
        return (
            f"{last.games:,} episodes are few. Train longer (schedule.num_updates), or shorten them (the argument "
            "max_episode_steps of a registered environment)."
        )
    return ""


def _unknown(judgement: Judged) -> str:
    if judgement.random is not None:
        return "Random episodes were cut off after fewer steps than the agent's took, so the two cannot be compared."
    return "`evaluate` plays one beside the agent, as a random opponent."


def _more(judgement: Judged, events: Sequence[Event]) -> str:
    """What to do about a score below the threshold."""
    met = f"{said}. " if (said := _all_met_limit(events)) else ""
    agents = judgement.agents
    before = agents[len(agents) // 2 : -1] if len(agents) > 2 else agents[:-1]
    if before and agents[-1].mean > max(agent.mean for agent in before):
        return f"{met}It was still rising when it ended: train longer (schedule.num_updates)."
    return (
        f"{met}Train longer (schedule.num_updates), learn more from each step (schedule.samples_per_step), or search "
        "more (search.num_simulations); `study` says over several seeds what a setting is worth."
    )


def _time_limit(judgement: Judged, events: Sequence[Event]) -> Iterator[Finding]:
    """Episodes that all met their time limit, where that is no success and never was."""
    outcome, said = verdict_of(judgement).outcome, _all_met_limit(events)
    if said and outcome in ("failed", "unsure") and not _forgot(judgement):
        yield Finding(
            "failed" if outcome == "failed" else "look",
            "time limit",
            f"{said}, and none reached an end. If an end is the goal, it was never found from where episodes begin: "
            "nearer starts, rewards on the way, a longer limit (the argument max_episode_steps) or more random moves "
            "(selfplay.random_move_probability) lead there.",
        )


def _all_met_limit(events: Sequence[Event]) -> str:
    """That all episodes of the last evaluation did, or nothing."""
    last = [event for event in events if isinstance(event, Evaluated)][-1]
    met = last.scores.get("truncated", 0) + last.scores.get("unfinished", 0)
    if not met or met < (last.games or 0):
        return ""
    return f"Every one of {met:,} episodes met the time limit of {last.scores['mean_length']:,.0f} steps"


def relative_error(predicted: Predicted, k: int) -> float | None:
    """The error at unroll step k (from 0) over that of a constant: 1 says nothing, 0 is exact.

    None where the targets are all the same.
    """
    spread = predicted.spread[k]
    return predicted.error[k] / spread if spread > max(NO_SPREAD, SMALL_SPREAD * abs(predicted.target[k])) else None


def _resolved(name: _Scalar, last: Sequence[Diagnosed], support: SupportConfig) -> Finding | None:
    """What to say of targets whose differences the bins cannot tell; None where they can, or there are none."""
    spread = _mean(last, lambda event: getattr(event, name).spread[0])
    if spread is None or support.fitted or not NO_SPREAD < spread < TINY_SPREAD:
        return None
    bins = bin_values(support)
    apart = float(bins[len(bins) // 2 + 1] - bins[len(bins) // 2])  # about 0, where they are closest
    return Finding(
        "look",
        _SIZES[name],
        f"The {name}'s targets differ by {spread:.2g}, and the network's bins lie {apart:.2g} apart, "
        f"{_times(apart / spread)} times as much: differences so small are lost. Set network.value.fitted and "
        "network.reward.fitted, so that bins follow what is earned, or multiply the rewards.",
    )


def _times(factor: float) -> str:
    """A factor with the two digits that it has: 1,200."""
    return f"{float(f'{factor:.2g}'):,.0f}"


def _fits(what: str, support: SupportConfig, path: str) -> str:
    """What else to check, where bins are fixed."""
    return "" if support.fitted else f", and {what} fit {path}.limit ({support.limit:g} after the transform)"


def _mean(last: Sequence[Diagnosed], figure: Callable[[Diagnosed], float | None]) -> float | None:
    found = [x for x in map(figure, last) if x is not None]
    return statistics.fmean(found) if found else None


def _value(last: Sequence[Diagnosed], config: RunConfig) -> Iterator[Finding]:
    yield _predicted(
        "value",
        last,
        config.network.value,
        "The value targets hardly differ from one position to another.",
        "the network hardly knows good positions from bad ones. Search then improves nothing. Try more updates per "
        "step (schedule.samples_per_step), a higher learner.learning_rate, and value targets that look further "
        "(targets.kind); check that observations tell positions apart"
        f"{_fits('returns', config.network.value, 'network.value')}.",
    )


def _reward(last: Sequence[Diagnosed], config: RunConfig) -> Iterator[Finding]:
    yield _predicted(
        "reward",
        last,
        config.network.reward,
        "The reward is the same at nearly every step; there is little to predict.",
        "the model does not know what moves earn. Try a higher learner.reward_weight or a wider network "
        "(network.body.width); check that rewards depend on what is observed"
        f"{_fits('they', config.network.reward, 'network.reward')}.",
    )


def _predicted(name: _Scalar, last: Sequence[Diagnosed], support: SupportConfig, alike: str, unknown: str) -> Finding:
    """How well a scalar is predicted; `alike` where there is nothing to predict, `unknown` where a constant does it."""
    if small := _resolved(name, last, support):
        return small
    error = _mean(last, lambda event: relative_error(getattr(event, name), 0))
    if error is None:
        return Finding("good", name, alike)
    said = f"The {name}'s error is {error:.0%} of what a constant would have"
    return Finding("good", name, f"{said}.") if error < 0.7 else Finding("look", name, f"{said}: {unknown}")


def _chance(last: Sequence[Diagnosed], config: RunConfig, *, takes_vectors: bool) -> Iterator[Finding]:
    """Whether a model without chance is asked to tell what is by chance, and errs."""
    seen = ChanceSeen(last[-1].repeated, last[-1].repeated_by_chance)
    if config.network.chance != "none" or not seen.decides:
        return
    said = (
        f"What follows an action is by chance in {seen.num_by_chance:,} of {seen.num_repeated:,} situations that came "
        "again, and in this model an action leads to one position"
    )
    error, what = _mean(last, lambda event: relative_error(event.reward, 0)), "reward"
    if error is None:  # a reward so rare that it is the same nearly everywhere
        error, what = _mean(last, lambda event: relative_error(event.value, 1)), "value one step ahead"
    if error is None or error < MUCH_ERROR:
        yield Finding("note", "chance", f"{said}. It does no harm: the {what} is told all the same.")
    else:
        way = (
            "There are no chance nodes yet where actions are vectors; where the past tells what comes, see "
            "observation.frames."
            if takes_vectors
            else "See chance nodes: network.chance=auto, which takes outcomes that the game reports, or learned codes."
        )
        yield Finding(
            "look",
            "chance",
            f"{said}: the {what} has {error:.0%} of the error that a constant would have, and longer training does not "
            f"mend what is by chance. {way}",
        )


def _latents(last: Sequence[Diagnosed], config: RunConfig) -> Iterator[Finding]:
    """Whether the network tells positions apart: latents that are all alike make a model of nothing."""
    seen, made = (
        _mean(last, figure) for figure in (lambda event: event.observation_spread, lambda event: event.latent_spread)
    )
    if seen is None or made is None or seen < SMALL_SPREAD:
        return
    said = f"Latents of positions differ by {made:.1%} of their size, what the network sees of them by {seen:.0%}"
    if made >= ALIKE * seen:
        yield Finding("good", "latents", f"{said}.")
        return
    plain = config.learner.consistency == "squared" and config.learner.consistency_weight > 0.0
    cure = (
        "The plain consistency loss does that where observations follow each other by chance: set "
        "learner.consistency=projected with learner.consistency_weight=32, or learner.consistency_weight=0."
        if plain
        else "Try a lower learner.learning_rate, a wider network.body.latent_size, or observations in units that "
        "differ by about 1 (network.observation_scaling)."
    )
    yield Finding("look", "latents", f"{said}: they have collapsed, and the model cannot tell positions apart. {cure}")


def _unroll(last: Sequence[Diagnosed], config: RunConfig) -> Iterator[Finding]:
    end = config.targets.unroll_steps
    near, far = (_mean(last, lambda event, k=k: event.value.error[k]) for k in (0, end))  # type: ignore[misc]
    if near is None or far is None or near < TINY_SPREAD:
        return
    if far / near < 2.0:
        yield Finding(
            "good", "unroll", f"{end} imagined steps ahead the value's error is {far / near:.1f} times that here."
        )
    else:
        yield Finding(
            "look",
            "unroll",
            f"{end} imagined steps ahead the value's error is {far / near:.1f} times that here: the model loses track. "
            f"Try learner.consistency_weight (now {config.learner.consistency_weight:g}; 0.5 to 2), a wider "
            "network.body.latent_size, or observations that say more (speeds, the last moves).",
        )


def _policy(last: Sequence[Diagnosed], config: RunConfig) -> Iterator[Finding]:
    entropy = _mean(last, lambda event: event.policy_entropy / event.uniform_entropy if event.uniform_entropy else None)
    if entropy is None:
        return
    if entropy > 0.9:
        yield Finding(
            "look",
            "policy",
            f"The policy's entropy is {entropy:.0%} of a uniform one: it has learned no preference. Where the search's "
            "is high too, see there; else train more, or raise learner.policy_weight.",
        )
    elif entropy < 0.02:
        yield Finding(
            "look",
            "policy",
            f"The policy's entropy is {entropy:.1%} of a uniform one: nearly certain everywhere. Fine for a solved "
            "task; if scores are poor it settled too early: raise noise or randomness of moves (search, selfplay), or "
            "lower search.value_scale.",
        )
    else:
        yield Finding("good", "policy", f"The policy's entropy is {entropy:.0%} of a uniform one.")


def _search(last: Sequence[Diagnosed], config: RunConfig) -> Iterator[Finding]:
    entropy = _mean(last, lambda event: event.search_entropy / event.uniform_entropy if event.uniform_entropy else None)
    if entropy is not None and entropy > 0.85:
        least = config.search.least_range
        smaller = f"search.least_range smaller than {least:g}, " if least > 0.0 else ""
        yield Finding(
            "look",
            "search",
            f"The search's own policy has {entropy:.0%} of a uniform one's entropy: it finds no action better than "
            "others, so the policy learns nothing. Rewards may be too rare, or differences of value too small: try "
            f"{smaller}search.value_scale higher, more search.num_simulations, or a discount (schedule.gamma) nearer "
            "to 1.",
        )


def _agreement(last: Sequence[Diagnosed], config: RunConfig, *, takes_vectors: bool) -> Iterator[Finding]:
    """Whether policy and search favour the same action; of vectors each search draws its own, so that says little."""
    share = _mean(last, lambda event: event.search_agreement)
    if share is None or takes_vectors:
        return
    if share > 0.5:
        yield Finding(
            "good", "agreement", f"Policy and search agree on the best action in {share:.0%} of the positions."
        )
    else:
        yield Finding(
            "look",
            "agreement",
            f"Policy and search agree on the best action in {share:.0%} of the positions only: the policy lags behind, "
            "or targets contradict each other because they are old. Try more updates per step "
            "(schedule.samples_per_step), a smaller replay.capacity_steps, or reanalyze.",
        )


def _end(events: Sequence[Event], config: RunConfig) -> Iterator[Finding]:
    finished = [event for event in events if isinstance(event, Finished | Started)]  # a run may be taken up again
    last = finished[-1] if finished else None
    if not isinstance(last, Finished):
        yield Finding("look", "end", "The run has not ended, or was killed: the figures are those so far.")
    elif last.reason != "finished":
        done, wanted = last.updates, config.schedule.num_updates
        kind: _Kind = "note" if last.reason == BY_LISTENER else "look"  # the user's own condition was met
        yield Finding(kind, "end", f"The run was {last.reason} after {done:,} of {wanted:,} updates.")


def _scores(events: Sequence[Event], config: RunConfig) -> Iterator[Finding]:
    scores = [(event.updates, evaluation_score(event.scores)) for event in events if isinstance(event, Evaluated)]
    if len(scores) < 2:
        return
    (best_at, best), (_, last) = max(scores, key=lambda each: each[1]), scores[-1]
    span = best - min(score for _, score in scores)
    if span > 0.0 and best - last > 0.2 * span:
        yield Finding(
            "look",
            "score",
            f"The last evaluation, {last:.4g}, is below the best, {best:.4g} after {best_at:,} updates. A solved task "
            "stops showing failures, so replay forgets them: try a larger replay.capacity_steps, a learning rate that "
            f"falls further (learner.final_learning_rate), or more evaluation.games than {config.evaluation.games}.",
        )
    else:
        yield Finding("good", "score", f"The last evaluation, {last:.4g}, is about the best one.")


def _ratio(events: Sequence[Event], config: RunConfig) -> Iterator[Finding]:
    ratios = [event.samples_per_step for event in events if isinstance(event, Progress) and event.updates]
    found, wanted = ratios[-1] if ratios else None, config.schedule.samples_per_step
    if found is not None and found < 0.5 * wanted:
        yield Finding(
            "look",
            "replay ratio",
            f"{found:.2g} samples were learned from per environment step, where schedule.samples_per_step asks for "
            f"{wanted:g}: the run is too short for its schedule.start_steps.",
        )


def _age(events: Sequence[Event], config: RunConfig) -> Iterator[Finding]:
    ages = [e.target_age for e in events if isinstance(e, Progress) and e.updates and e.target_age is not None]
    if not ages:
        return
    share = ages[-1] / config.schedule.num_updates
    if share < 0.25:
        yield Finding("good", "age", f"Targets are {ages[-1]:,.0f} updates old, {share:.0%} of the run.")
    else:
        yield Finding(
            "look",
            "age",
            f"Targets are {ages[-1]:,.0f} updates old, {share:.0%} of the run: much is learned from what weak networks "
            "said. Try reanalyze.fraction, or a smaller replay.capacity_steps.",
        )


def _waiting(events: Sequence[Event], config: RunConfig) -> Iterator[Finding]:
    """Of runs with processes of their own, over the last quarter; in one process roles share its time."""
    started = [event for event in events if isinstance(event, Started)]
    busy = [event.busy for event in events if isinstance(event, Progress) and event.busy]
    if not busy or not started or not started[-1].workers:
        return
    last = busy[-max(1, round(LAST_SHARE * len(busy))) :]
    learner, actors = (statistics.fmean(each.get(role, 0.0) for each in last) for role in ("learner", "selfplay"))
    said = f"The learner is at work {learner:.0%} of the time, self-play {actors:.0%}"
    if learner < 0.6 and actors > 0.8:
        yield Finding(
            "look", "waiting", f"{said}: the learner waits for games. More self-play workers would make it faster."
        )
    elif actors < 0.3:
        yield Finding("good", "waiting", f"{said}: fewer self-play workers would do.")
    else:
        yield Finding("good", "waiting", f"{said}.")
