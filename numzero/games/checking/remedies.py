"""What to do about what is wrong with a field of an environment, in a sentence.

Knows fields and rules as reading and checks name them; knows no environment.
"""

from __future__ import annotations

import re

__all__ = ["remedy_of"]

_SEED = "Give it the arguments of gymnasium: reset(self, *, seed=None, options=None)."

_REMEDIES: tuple[tuple[str, str, str, str], ...] = (
    # field, rule, what was seen (each a regular expression), remedy
    (r"reset\(\)", "not raise", r"TypeError.*(seed|keyword)", _SEED),
    (r"reset\(\)", "seed by", "", "Call super().reset(seed=seed) with the seed of the call."),
    (r"reset\(\)", "tuple", "", "Return (observation, info) from reset."),
    (r"step\(\)", "tuple", "", "Return (observation, reward, terminated, truncated, info) from step."),
    (r".*\(\)", "not raise", "EOFError", "Ask nobody while it runs: no terminal is there."),
    (r".*\(\)", "not raise", "", "Mend it there; an action that must not be played belongs in the action mask."),
    (r"observation.*", "shape", "", "Return what observation_space declares, at resets and steps alike."),
    (r"observation.*", "keys|tuple of", "", "Return all parts of observation_space, at resets and steps alike."),
    (r"observation.*", "finite", "", "Find out where it comes from, and clip it before it is returned."),
    (r"observation.*", "uint8", "", "Return whole numbers from 0 to 255, or declare a Box of float32."),
    (r"observation.*", "array of numbers", "", "Return numbers; words and objects need codes."),
    (r"observation.*", "space's dtype", "", "numzero converts it; others may not. Use astype, or declare that one."),
    (r"observation.*", "within its space", "", "Widen low and high of observation_space, or clip what is returned."),
    (r"observation.*", "hold whole numbers", "", "Round it, or declare a Box of float32."),
    (r"observation.*", "as its space says", "", "Declare all that can be seen in observation_space, or correct it."),
    (r"reward", "one number", "", "Return float(reward)."),
    (r"reward", "finite", "", "Find out where it comes from, and clip it before it is returned."),
    (r"terminated|truncated", "True or False", "", "Return a bool: terminated at the end, truncated at a limit."),
    (r".*mask.*", "allow an action", "", "Terminate where nothing can be done, or allow an action that waits."),
    (r".*mask.*", "every step", "", "Put it into info at reset and at every step, or have a method action_masks()."),
    (r".*mask.*", "", "", "Make it an array of so many 0 and 1, 1 for what may be played."),
    (r".*chance.*", "", "", "Put the outcome into info at every step, or leave num_outcomes out."),
    (r"info", "dict", "", "Return {} where there is nothing to tell."),
)  # fmt: skip


def remedy_of(field: str, rule: str, seen: str) -> str:
    """The way out of one fault; a general one where none is known better."""
    for of_field, of_rule, of_seen, remedy in _REMEDIES:
        if re.fullmatch(of_field, field) and re.search(of_rule, rule) and re.search(of_seen, seen):
            return remedy
    return "Correct the environment, or wrap it."
