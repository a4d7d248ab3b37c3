"""An obvious twin of numzero.frames: one stack of one episode, by the rule's words."""

from __future__ import annotations

from typing import Any

import numpy as np


def stack(frames: list[Any], actions: list[int], t: int, num_frames: int, num_actions: int, past_actions: bool) -> Any:
    """What the network sees at position t of an episode that showed `frames` and in which `actions` were played."""
    seen, led = [], []
    for k in range(t - num_frames + 1, t + 1):
        seen.append(np.atleast_1d(frames[max(k, 0)]))
        led.append(actions[k - 1] if k > 0 else None)
    if not past_actions:
        return seen[0] if num_frames == 1 and np.ndim(frames[0]) else np.concatenate(seen)
    for action in led:
        if np.ndim(frames[0]) >= 2:
            top = 255 if frames[0].dtype == np.uint8 else 1
            value = 0.0 if action is None else (action + 1) * top / num_actions
            seen.append(np.full((1, *np.shape(frames[0])[1:]), value))
        else:
            seen.append(np.array([float(action == a) for a in range(num_actions)]))
    return np.concatenate(seen)
