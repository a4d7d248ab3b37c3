"""Tasks of one's own, as a user would bring them, with the best that can be had of each.

Nothing of numzero was tuned for one of them alone: `general` is to learn them as they are.
"""

from __future__ import annotations

import functools
import itertools
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from numzero.games import STAY, GameSpec, StepResult

# ------------------------------------------------------------------------------------------------ an inventory


class Inventory(gymnasium.Env[dict[str, Any], int]):
    """A shop: order each morning, sell what is asked for by day, pay for orders, stock and what runs out.

    Demand differs between the days of the week; an order must fit into the store. 40 days, then the time is up.
    """

    CAPACITY, DAYS, WEEK = 8, 40, 4
    MEAN_DEMAND = (1.0, 2.0, 4.0, 1.5)
    PRICE, COST, DELIVERY, HOLDING = 4.0, 1.5, 2.0, 0.2

    action_space = spaces.Discrete(CAPACITY + 1)
    observation_space = spaces.Dict(
        {"day": spaces.Discrete(WEEK), "stock": spaces.Box(0.0, float(CAPACITY), (1,), np.float32)}
    )

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Half full, on a day drawn at random."""
        super().reset(seed=seed)
        self.day, self.stock, self.num_days = int(self.np_random.integers(self.WEEK)), self.CAPACITY // 2, 0
        return self._observation(), self._info()

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Order `action` pieces, which arrive before the shop opens."""
        if not self._info()["action_mask"][action]:
            raise ValueError(f"the store holds {self.CAPACITY}; {self.stock} and {action} do not fit")
        demand = int(self.np_random.choice(self.CAPACITY + 1, p=self.demand_chances(self.day)))
        reward, self.stock = self.sell(self.stock, int(action), demand)
        self.day, self.num_days = (self.day + 1) % self.WEEK, self.num_days + 1
        return self._observation(), reward, False, self.num_days == self.DAYS, self._info()

    def _observation(self) -> dict[str, Any]:
        return {"day": self.day, "stock": np.array([self.stock], np.float32)}

    def _info(self) -> dict[str, Any]:
        return {"action_mask": (np.arange(self.CAPACITY + 1) <= self.CAPACITY - self.stock).astype(np.int8)}

    @classmethod
    def demand_chances(cls, day: int) -> NDArray[np.float64]:
        """`[CAPACITY + 1]` how likely each demand is; what is beyond the store counts as its size."""
        count = np.arange(cls.CAPACITY + 1)
        factorial = np.cumprod(np.maximum(count, 1))
        chances = cls.MEAN_DEMAND[day] ** count * np.exp(-cls.MEAN_DEMAND[day]) / factorial
        chances[-1] += 1.0 - chances.sum()
        return np.asarray(chances)

    @classmethod
    def sell(cls, stock: int, order: int, demand: int) -> tuple[float, int]:
        """The day's earnings, and the stock that is left."""
        sold = min(stock + order, demand)
        left = stock + order - sold
        return cls.PRICE * sold - cls.COST * order - cls.DELIVERY * (order > 0) - cls.HOLDING * left, left

    @classmethod
    def earnings(cls, orders: NDArray[np.int64] | None = None) -> float:
        """Mean return of orders `[WEEK, CAPACITY + 1]` by day and stock, from all first days alike; None: the best."""
        value = np.zeros((cls.WEEK, cls.CAPACITY + 1))
        for _ in range(cls.DAYS):
            value = cls._day_before(value, orders)
        return float(value[:, cls.CAPACITY // 2].mean())

    @classmethod
    def _day_before(cls, value: NDArray[np.float64], orders: NDArray[np.int64] | None) -> NDArray[np.float64]:
        found = np.full((cls.WEEK, cls.CAPACITY + 1), -np.inf)
        for day, stock in np.ndindex(*found.shape):
            choices = range(cls.CAPACITY - stock + 1) if orders is None else [int(orders[day, stock])]
            for order in choices:
                outcomes = [cls.sell(stock, order, demand) for demand in range(cls.CAPACITY + 1)]
                later = [reward + value[(day + 1) % cls.WEEK, left] for reward, left in outcomes]
                found[day, stock] = max(found[day, stock], float(cls.demand_chances(day) @ later))
        return found


# ------------------------------------------------------------------------------------------------ pictures


class Signal(gymnasium.Env[NDArray[np.float32], int]):
    """Play what is shown; what is shown next is drawn at random, so nothing but the reward tells signals apart.

    Args:
        size: what the right action earns; 20 times an episode.
    """

    LENGTH = 20

    def __init__(self, size: float = 1.0) -> None:
        self.size = size
        self.observation_space = spaces.Box(0.0, 1.0, (3,), np.float32)
        self.action_space = spaces.Discrete(3)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Draw the first."""
        super().reset(seed=seed)
        self.num_steps = 0
        return self._draw(), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Play, and see another."""
        reward, self.num_steps = self.size * (int(action) == self.signal), self.num_steps + 1
        return self._draw(), reward, False, self.num_steps == self.LENGTH, {}

    def _draw(self) -> NDArray[np.float32]:
        self.signal = int(self.np_random.integers(3))
        return np.eye(3, dtype=np.float32)[self.signal]


class Catch(gymnasium.Env[NDArray[np.uint8], int]):
    """A red ball falls, a green paddle is moved below it; pictures of 24 x 24 x 3. 1 if caught, -1 if not."""

    SIZE, PADDLE = 24, 5
    action_space = spaces.Discrete(3)
    observation_space = spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """The ball at the top, the paddle in the middle."""
        super().reset(seed=seed)
        self.row, self.column = 0, int(self.np_random.integers(self.SIZE - 1))
        self.paddle = (self.SIZE - self.PADDLE) // 2
        return self._picture(), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Left, stay or right, by two columns; the ball falls by two rows."""
        self.row += 2
        self.paddle = int(np.clip(self.paddle + 2 * (int(action) - 1), 0, self.SIZE - self.PADDLE))
        over = self.row >= self.SIZE - 2
        caught = self.paddle - 1 <= self.column < self.paddle + self.PADDLE
        return self._picture(), (1.0 if caught else -1.0) if over else 0.0, over, False, {}

    def _picture(self) -> NDArray[np.uint8]:
        picture = np.zeros((self.SIZE, self.SIZE, 3), np.uint8)
        picture[self.row : self.row + 2, self.column : self.column + 2, 0] = 255
        picture[-2:, self.paddle : self.paddle + self.PADDLE, 1] = 200
        return picture


# ------------------------------------------------------------------------------------------------ a board game

_SIDE = 4
_LINES = np.array(
    [
        [row * _SIDE + column + step * stride for step in range(3)]
        for stride, rows, columns in ((1, range(4), range(2)), (4, range(2), range(4)), (5, range(2), range(2)))
        for row in rows
        for column in columns
    ]
    + [[row * _SIDE + column + step * 3 for step in range(3)] for row in range(2) for column in range(2, 4)]
)
"""`[24, 3]` cells of each line of three; cell 4 * row + column, row 0 at the bottom."""


class ConnectThree:
    """Stones fall into four columns of four; three in a line win. Two players; written without numzero's own base."""

    symmetries: None = None

    def __init__(self, batch_size: int) -> None:
        self.spec = GameSpec(
            name="connect three",
            num_actions=_SIDE,
            observation_shape=(2, _SIDE, _SIDE),
            observation_dtype="uint8",
            num_players=2,
            max_steps=_SIDE**2,
            action_names=tuple("abcd"),
            observation_layout="Two planes of 4 x 4, rows from the bottom: the mover's stones, the opponent's.",
            legal_rule="Every column that is not full.",
        )
        self.batch_size = batch_size
        self.board = np.zeros((batch_size, _SIDE**2), np.int8)
        """`[B, 16]` 1 and 2: the stones of the first and of the second player."""
        self.running = np.zeros(batch_size, np.bool_)
        self.turn = np.zeros(batch_size, np.int8)

    def reset(self, which: NDArray[np.bool_], rng: np.random.Generator) -> None:
        """Empty boards."""
        self.board[which], self.turn[which], self.running[which] = 0, 0, True

    def observation(self) -> NDArray[np.uint8]:
        """`[B, 2, 4, 4]` the mover's stones, the opponent's."""
        mine = self.board == self.turn[:, None] + 1
        other = (self.board != 0) & ~mine
        return np.stack([mine, other], axis=1).astype(np.uint8).reshape(-1, 2, _SIDE, _SIDE)

    def legal(self) -> NDArray[np.bool_]:
        """Columns that are not full."""
        return (self.board[:, -_SIDE:] == 0) & self.running[:, None]

    def to_play(self) -> NDArray[np.int8]:
        """0: the first player."""
        return self.turn

    def step(self, action: NDArray[np.int32]) -> StepResult:
        """Let stones fall."""
        reward = np.zeros(self.batch_size, np.float32)
        terminated = np.zeros(self.batch_size, np.bool_)
        rows = np.flatnonzero(action != STAY)
        if not self.legal()[rows, action[rows]].all():
            raise ValueError("a column is full, or a copy is over")
        for row in rows:
            board = self.board[row]
            cell = action[row] + _SIDE * int((board[action[row] :: _SIDE] != 0).sum())
            board[cell] = self.turn[row] + 1
            reward[row] = float((board[_LINES] == board[cell]).all(axis=1).any())
            terminated[row] = reward[row] > 0.0 or (board != 0).all()
        self.turn[rows] ^= 1
        self.running[terminated] = False
        return StepResult(reward, terminated, np.zeros(self.batch_size, np.bool_))

    def render(self, row: int) -> str:
        """Rows from the top."""
        return "\n".join("".join(".XO"[mark] for mark in line) for line in self.board[row].reshape(_SIDE, _SIDE)[::-1])

    def close(self) -> None:
        """Nothing to let go of."""


@functools.cache
def connect_three_values() -> dict[bytes, tuple[int, ...]]:
    """The mover's outcome of each action, -2 where it is illegal, of every position that play can reach."""
    values: dict[bytes, tuple[int, ...]] = {}
    _solve(np.zeros(_SIDE**2, np.int8), 0, values)
    return values


def _solve(board: NDArray[np.int8], turn: int, values: dict[bytes, tuple[int, ...]]) -> int:
    key = board.tobytes()
    if key not in values:
        values[key] = tuple(_outcome(board, turn, column, values) for column in range(_SIDE))
    return max(values[key])


def _outcome(board: NDArray[np.int8], turn: int, column: int, values: dict[bytes, tuple[int, ...]]) -> int:
    height = int((board[column::_SIDE] != 0).sum())
    if height == _SIDE:
        return -2
    after = board.copy()
    after[column + _SIDE * height] = turn + 1
    if (after[_LINES] == turn + 1).all(axis=1).any():
        return 1
    return 0 if (after != 0).all() else -_solve(after, 1 - turn, values)


def connect_three_positions() -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.bool_]]:
    """`[N, 2, 4, 4]` what the mover sees of every position, `[N, 4]` what is legal and what keeps the outcome."""
    values = connect_three_values()
    boards = np.frombuffer(b"".join(values), np.int8).reshape(-1, _SIDE**2)
    mover = (boards != 0).sum(axis=1, keepdims=True) % 2 + 1
    planes = np.stack([boards == mover, (boards != 0) & (boards != mover)], axis=1)
    outcome = np.array(list(values.values()))
    best = outcome == outcome.max(axis=1, keepdims=True)
    return planes.astype(np.uint8).reshape(-1, 2, _SIDE, _SIDE), outcome > -2, best


# ------------------------------------------------------------------------------------------------ of gymnasium


def frozen_lake_success(policy: NDArray[np.int32] | None = None) -> float:
    """How often a policy `[16]` reaches the goal in FrozenLake-v1 within its 100 steps; None: the best that can be."""
    chances: Any = gymnasium.make("FrozenLake-v1").unwrapped.P  # type: ignore[attr-defined]
    value = np.zeros(16)
    for _ in range(100):
        q = np.array(
            [
                [sum(p * (reward + (not over) * value[to]) for p, to, reward, over in chances[s][a]) for a in range(4)]
                for s in range(16)
            ]
        )
        value = q.max(axis=1) if policy is None else q[np.arange(16), policy]
    return float(value[0])


_CARDS = [(card, (4 if card == 10 else 1) / 13) for card in range(1, 11)]


def blackjack_return(hits: NDArray[np.bool_] | None = None) -> float:
    """Mean return in Blackjack-v1 of hitting where `hits` `[32, 11, 2]` says so: sum, dealer's card, usable ace.

    None: of the best decisions.
    """

    @functools.cache
    def value(total: int, ace: bool, up: int) -> float:
        """Of a hand whose aces count 1 in `total`."""
        if total > 21:
            return -1.0
        usable = ace and total <= 11
        points = total + 10 * usable
        stand = _standing(points, up)
        if hits is not None and not hits[points, up, int(usable)]:
            return stand
        hit = sum(p * value(total + card, ace or card == 1, up) for card, p in _CARDS)
        return hit if hits is not None else max(stand, hit)

    starts = itertools.product(_CARDS, _CARDS, _CARDS)
    return sum(p * q * r * value(one + two, 1 in (one, two), up) for (one, p), (two, q), (up, r) in starts)


@functools.cache
def _standing(points: int, up: int) -> float:
    return sum(p * ((points > final) - float(points < final)) for final, p in _dealers(up, up == 1).items())


@functools.cache
def _dealers(total: int, ace: bool) -> dict[int, float]:
    """How likely each final sum of the dealer is, 0 where he goes bust."""
    points = total + 10 * (ace and total <= 11)
    if points >= 17:
        return {points if points <= 21 else 0: 1.0}
    chances: dict[int, float] = {}
    for card, p in _CARDS:
        for final, q in _dealers(total + card, ace or card == 1).items():
            chances[final] = chances.get(final, 0.0) + p * q
    return chances
