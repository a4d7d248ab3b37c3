"""A move from agent.onnx, with onnxruntime and numpy alone: the search is inside the file.

Each line of the input is a position: simulations, a 0 or 1 for each action (is it legal?), and the observation, row by
row. Each line of the output is the answer: the action, its position's value, and the visits of each action.
"""

import os
import sys
from collections.abc import Iterator

import numpy as np

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # before the import: else the library reports to a Microsoft host
import onnxruntime

REFUSED = "agent.onnx refuses the position: no action is legal, or a number in it is not finite"


class Agent:
    """Positions in, moves out."""

    def __init__(self, path: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # small networks: further threads only cost
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        observation, legal, simulations, noise = self.session.get_inputs()
        self.names = [observation.name, legal.name, simulations.name, noise.name]
        self.shape = [1, *observation.shape[1:]]  # files made since they take batches have a free first dimension

    def act(self, observation: list[float], legal: list[bool], simulations: int) -> tuple[int, float, list[int]]:
        """The action, the value of the position to the player to move, the visits of each action; or ValueError."""
        inputs = [
            np.array(observation, np.float32).reshape(self.shape),
            np.array([legal], np.bool_),
            np.array([simulations], np.int64),
            np.zeros((1, len(legal)), np.float32),  # noise: zeros play the best move, draws vary the play
        ]
        feeds = dict(zip(self.names, inputs, strict=True))
        action, visits, _, value = self.session.run(["action", "visit_counts", "q_values", "value"], feeds)
        if action[0] < 0:
            raise ValueError(REFUSED)
        return int(action[0]), float(value[0]), visits[0].tolist()


def positions(lines: Iterator[str]) -> Iterator[tuple[list[float], list[bool], int]]:
    """Observation, legal and simulations of each line."""
    for line in lines:
        simulations, legal, *observation = line.split()
        yield [float(number) for number in observation], [digit == "1" for digit in legal], int(simulations)


if __name__ == "__main__":
    agent = Agent(sys.argv[1])
    for position in positions(sys.stdin):
        try:
            action, value, visits = agent.act(*position)
        except ValueError as error:
            sys.exit(str(error))
        print(action, f"{value:.5f}", *visits)
