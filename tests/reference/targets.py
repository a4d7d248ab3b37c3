"""Obvious twins of numzero.targets: lists, loops and the definitions, nothing shared with what they check."""

from __future__ import annotations

from typing import Any


def n_step_return(game: dict[str, list[float]], t: int, n: int) -> float:
    """r_t + d_t (r_t+1 + d_t+1 (... b)), cut after n steps, at the end, or at an exploratory move; b is v, or given.

    Of a position that explored itself the root value is the target, whatever stands for it in earlier returns.
    """
    if t < len(game["reward"]) and game["exploratory"][t]:
        return game["root_value"][t]
    return _seen_from(game, t, n)


def _seen_from(game: dict[str, list[float]], t: int, n: int) -> float:
    if n == 0 or t == len(game["reward"]) or game["exploratory"][t]:
        return game.get("bootstrap", game["root_value"])[t]
    return game["reward"][t] + game["discount"][t] * _seen_from(game, t + 1, n - 1)


def lambda_return(game: dict[str, list[float]], t: int, trace_decay: float) -> float:
    """The mixture of all n-step returns that defines it, (1 - lambda) lambda^(n-1) each, the rest on the longest."""
    longest = 1
    while t + longest < len(game["reward"]) and not game["exploratory"][t + longest]:
        longest += 1
    mixture = trace_decay ** (longest - 1) * n_step_return(game, t, longest)
    for n in range(1, longest):
        mixture += (1 - trace_decay) * trace_decay ** (n - 1) * n_step_return(game, t, n)
    return mixture


def trusted_return(
    game: dict[str, list[float]], t: int, trust: list[float], trace_decay: float, rest: str = "root_value"
) -> float:
    """What each move is trusted for is looked through: all of it, a part of it, or none of it.

    rest: whose value stands for what is not looked through at t; further on it is what bootstraps.
    """
    bootstrap = "bootstrap" if "bootstrap" in game else "root_value"
    if t == len(game["reward"]):
        return game[bootstrap][t]
    later = (1 - trace_decay) * game[bootstrap][t + 1] + trace_decay * trusted_return(
        game, t + 1, trust, trace_decay, bootstrap
    )
    seen = game["reward"][t] + game["discount"][t] * later
    return trust[t] * seen + (1 - trust[t]) * game[rest][t]


def trust_of(game: dict[str, list[float]], prior: list[float], likelihood: list[float]) -> list[float]:
    """How far a return looks through each move of one game: by how much of its likelihood the newest policy leaves."""
    trust = []
    for explored, now, then in zip(game["exploratory"], prior, likelihood, strict=True):
        if then == 0:  # nobody knows
            trust.append(0.0 if explored else 1.0)
        else:
            trust.append(1.0 if now >= then else now / then)
    return trust


def value_targets(
    game: dict[str, list[float]], kind: str, n: int, trace_decay: float, root_value_share: float = 0.0
) -> list[float]:
    """The value target of each position of one game."""
    positions = range(len(game["root_value"]))
    if kind == "n_step":
        returns = [n_step_return(game, t, n) for t in positions]
    else:
        returns = [lambda_return(game, t, 1.0 if kind == "outcome" else trace_decay) for t in positions]
    own, share = [*game["root_value"][:-1], returns[-1]], root_value_share
    return [(1 - share) * r + share * v for r, v in zip(returns, own, strict=True)]


def batch_row(steps: Any, slot: int, unroll_steps: int) -> dict[str, list[Any]]:
    """One row of a batch; None where the action, or the outcome, is drawn at random."""
    final = int(steps.final_slot[slot])
    over = bool(steps.terminated[slot])
    num_actions = steps.policy_target.shape[1]
    row: dict[str, list[Any]] = {name: [] for name in _ROW_FIELDS}
    for p in range(slot, slot + unroll_steps + 1):
        row["observation"].append(steps.observation[min(p, final)].tolist())
        row["observation_mask"].append(1 if p <= final else 0)
        if p < final:
            row["policy_target"].append(steps.policy_target[p].tolist())
            row["policy_mask"].append(1 if any(steps.policy_target[p]) else 0)
            row["value_target"].append(steps.value_target[p])
            row["value_mask"].append(1)
        else:
            row["policy_target"].append([0.0] * num_actions)
            row["policy_mask"].append(0)
            row["value_target"].append(0.0)
            row["value_mask"].append(1 if over else 0)
    for p in range(slot, slot + unroll_steps):
        row["action"].append(int(steps.action[p]) if p < final else None)
        row["reward_target"].append(steps.reward[p] if p < final else 0.0)
        row["reward_mask"].append(1 if p < final or over else 0)
        row["discount_target"].append(steps.discount[p] if p < final else 0.0)
        row["discount_mask"].append(1 if p < final and steps.discount[p] != 0 else 0)
        row["outcome"].append(int(steps.outcome[p, 0]) if p < final else None)
        row["outcome_mask"].append(1 if p < final else 0)
        behind = steps.discount[p] * steps.value_target[p + 1] if p < final else 0.0
        row["afterstate_target"].append(steps.reward[p] + behind if p < final else 0.0)
        row["afterstate_mask"].append(1 if p < final or over else 0)
    return row


_ROW_FIELDS = (
    "observation",
    "observation_mask",
    "action",
    "policy_target",
    "policy_mask",
    "value_target",
    "value_mask",
    "reward_target",
    "reward_mask",
    "discount_target",
    "discount_mask",
    "outcome",
    "outcome_mask",
    "afterstate_target",
    "afterstate_mask",
)
