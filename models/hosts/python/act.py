"""A move from agent.onnx, with onnxruntime and numpy alone: the search is inside the file.

Each line of the input is a position: simulations, a 0 or 1 for each action (is it legal?), and the observation, row by
row. Each line of the output is the answer: the action, its position's value, and the visits of each action. Where
actions are vectors, candidates stand for them, and the answer begins with the numbers of one, by commas; where these
are choices, legal has a 0 or 1 for each choice of each factor.
"""

import os
import sys
from collections.abc import Iterator

import numpy as np

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # before the import: else the library reports to a Microsoft host
import onnxruntime

REFUSED = "agent.onnx refuses the position: no action is legal, a factor has no choice, or a number is not finite"


class Agent:
    """Positions in, moves out."""

    def __init__(self, path: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # small networks: further threads only cost
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        observation, legal, simulations, noise, *vectors = self.session.get_inputs()
        self.names = [observation.name, legal.name, simulations.name, noise.name]
        # Of action vectors candidates are drawn; no draws: those that `numzero.Agent` has.
        self.more = {each.name: np.zeros((1, 0, 1), np.float32) for each in vectors}
        self.noise = np.zeros((1, noise.shape[1]), np.float32)  # zeros play the best move, draws vary the play
        self.shape = [1, *observation.shape[1:]]  # files made since they take batches have a free first dimension
        self.outputs = ["action", "visit_counts", "value", *["vector"] * len(vectors)]

    def act(
        self, observation: list[float], legal: list[bool], simulations: int
    ) -> tuple[list[float], float, list[int]]:
        """The action or vector, the value to the player to move, the visits of each action; or ValueError."""
        inputs = [
            np.array(observation, np.float32).reshape(self.shape),
            np.array([legal], np.bool_),
            np.array([simulations], np.int64),
            self.noise,
        ]
        feeds = dict(zip(self.names, inputs, strict=True)) | self.more
        action, visits, value, *vector = self.session.run(self.outputs, feeds)
        if action[0] < 0:
            raise ValueError(REFUSED)
        played = vector[0][0] if vector else action
        return played.tolist(), float(value[0]), visits[0].tolist()


def positions(lines: Iterator[str]) -> Iterator[tuple[list[float], list[bool], int]]:
    """Observation, legal and simulations of each line."""
    for line in lines:
        simulations, legal, *observation = line.split()
        yield [float(number) for number in observation], [digit == "1" for digit in legal], int(simulations)


if __name__ == "__main__":
    agent = Agent(sys.argv[1])
    for position in positions(sys.stdin):
        try:
            played, value, visits = agent.act(*position)
        except ValueError as error:
            sys.exit(str(error))
        print(",".join(map("{:g}".format, played)), f"{value:.5f}", *visits)
