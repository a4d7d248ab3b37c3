"""Stores of games as files: one's own games, what is in a store, and stores put together.

Knows what a game is made of for whoever writes one down; `replay` has the bytes, `training.offline` learns from them.
"""

from __future__ import annotations

import functools
import importlib
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from numzero.errors import UserError
from numzero.folders import GAMES, LOCK, RUN, SEED, kind_of
from numzero.games import GameSpec, game_spec
from numzero.games.turns import edge_discounts, for_first_player, require_alternation
from numzero.replay import GAME_NOTE, MEBIBYTE, UNKNOWN_VERSION, DamagedData, Ended, GameStore, Trajectory
from numzero.replay.codec import content_digest
from numzero.training.offline import Source, decode_spec, find_source, fitting

if TYPE_CHECKING:
    from numzero.games.adapters.minari import DatasetEpisode

__all__ = ["Merged", "Store", "export_to_minari", "local", "merge", "store_info", "store_problems"]

GAMMA = 0.997
"""Of values that are made of the rewards that follow, unless told otherwise: the presets'."""
_AT_A_TIME = 256


class Store:
    """A file of one's own games, from which a run learns without an environment; use it as a context manager.

    Args:
        path: of the file; made where there is none, else added to.
        game: of which the games are: a name, as `train` takes it, or what is known of it; None: as the file says.
        gamma: the discount of values that are made of rewards.

    Attributes:
        spec: what is known of the game.
        games: the file itself.

    Raises:
        UserError: the file is something else, lies in the folder of a run or of self-play, holds another game's, or
            says no game and none is given.
    """

    def __init__(self, path: str | Path, game: str | GameSpec | None = None, *, gamma: float = GAMMA) -> None:
        if not 0.0 < gamma <= 1.0:
            raise UserError(f"gamma must be above 0 and at most 1; got {gamma}.")
        given = game_spec(game) if isinstance(game, str) else game
        if given is None and not Path(path).is_file():
            raise UserError(f"a new store must be told which game it holds; {path} is not there. Name the game.")
        _require_own(Path(path))
        self.gamma = gamma
        self.games = GameStore(path)
        try:
            self.spec = self._agree(given)
        except BaseException:
            self.games.close()
            raise

    def _agree(self, given: GameSpec | None) -> GameSpec:
        """What file and caller say of the game; the file learns it where it is new."""
        path, note = self.games.path, self.games.read_note(GAME_NOTE)
        held = None if note is None else decode_spec(note, path)
        if held is None and len(self):
            held = find_source(path).spec
        if held is not None and given is not None:
            _require_same(held, given, path)
        spec = held or given
        if spec is None:
            raise UserError(f"{path} says of no game that it holds it. Name the game.")
        if note is None:
            self.games.write_note(GAME_NOTE, msgspec.json.encode(spec))
        return spec

    def __enter__(self) -> Store:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file; closing twice is harmless."""
        self.games.close()

    def __len__(self) -> int:
        """How many games there are."""
        return self.games.num_games()

    def add(
        self,
        observations: ArrayLike,
        actions: ArrayLike,
        rewards: ArrayLike,
        *,
        ended: Ended = "terminated",
        legal: ArrayLike | None = None,
        players: ArrayLike | None = None,
        policies: ArrayLike | None = None,
        values: ArrayLike | None = None,
        outcomes: ArrayLike | None = None,
        game_id: str | None = None,
    ) -> bool:
        """Store one game of T steps, with A actions, at once and whole; returns whether it is new.

        Args:
            observations: `[T+1, *O]`, as the game shows them, that at the end too.
            actions: `[T]`, from 0 to A - 1.
            rewards: `[T]`, of the player who moved.
            ended: "terminated" where the game was over, "truncated" where it would have gone on.
            legal: `[T+1, A]` which actions could be played; None: all of them.
            players: `[T+1]` 0 or 1, whose move it is; None: player 0, or both in turn where there are two.
            policies: `[T, A]` how likely each action was meant to be, 1 in all; None: the one that was played.
            values: `[T+1]` worth of each position to who moves there; None: the rewards that follow, discounted.
            outcomes: `[T]` what chance made of each action, in games that say it.
            game_id: a name; None: one that the content gives, so that the same game is stored once.

        Raises:
            UserError: shapes or numbers are not those of a game; nothing is stored.
        """
        spec = self.spec
        if spec.vectors is not None:
            raise UserError(
                f"games of your own must have a list of actions; those of {spec.name} are vectors. Let self-play store "
                "them."
            )
        seen = _array("observations", observations, spec.observation_dtype)
        played = _array("actions", actions, np.int32)
        num_steps = len(played) if played.ndim == 1 else 0
        if num_steps == 0 or seen.shape != (num_steps + 1, *spec.observation_shape):
            raise UserError(
                f"a game of {spec.name} must be T actions [T] and observations [T+1, *{spec.observation_shape}], that "
                f"at the end too; got {played.shape} and {seen.shape}."
            )
        _require_actions(played, spec)
        earned = _array("rewards", rewards, np.float32)
        if legal is not None:
            legal = _shaped("legal", legal, np.bool_, (num_steps + 1, spec.num_actions), "[T+1, A]")
        if policies is not None:
            policies = _shaped("policies", policies, np.float32, (num_steps, spec.num_actions), "[T, A]")
            _require_policies(policies)
        movers = _players(spec, num_steps) if players is None else _array("players", players, np.int8)
        discount = self._discounts(movers, num_steps, ended)
        shares = _shares(policies, played)
        game = Trajectory(
            game_id=game_id or _named(seen, played, earned),
            ended=ended,
            observation=seen,
            action=played,
            reward=earned,
            discount=discount,
            legal=_legal(spec, num_steps, ended) if legal is None else legal,
            to_play=movers,
            policy_target=_one_hot(played, spec) if policies is None else policies,
            root_value=_values(earned, discount) if values is None else _array("values", values, np.float32),
            exploratory=np.zeros(num_steps, np.bool_),
            model_version=np.full(num_steps, UNKNOWN_VERSION, np.int64),
            outcome=_outcomes(spec, num_steps, outcomes),
            vector=np.zeros((num_steps, 0), np.float32),
            candidates=np.zeros((num_steps, spec.num_actions, 0), np.float32),
            likelihood=shares,
            prior=shares,
        )
        if int(game.outcome.max(initial=-1)) >= spec.num_outcomes:
            raise UserError(f"outcomes must be below {spec.num_outcomes}; got {int(game.outcome.max())}.")
        if not np.take_along_axis(game.legal[:-1], played[:, None], axis=1).all():
            raise UserError("every action must be legal where it was played. Correct legal, or the actions.")
        return self.games.add([game]) == 1

    def _discounts(self, movers: NDArray[np.int8], num_steps: int, ended: Ended) -> NDArray[np.float32]:
        """`[T]`, signed by whose turn it is, 0 where the game is over."""
        if movers.shape != (num_steps + 1,):
            raise UserError(f"players must be [T+1], {num_steps + 1} of them; got {movers.shape}.")
        over = np.zeros(num_steps, np.bool_)
        over[-1] = ended == "terminated"
        require_alternation(self.spec, movers[:-1], movers[1:], over)
        return edge_discounts(movers[:-1], movers[1:], over, self.gamma).astype(np.float32)


def _require_own(path: Path) -> None:
    """Refuse a file in a folder that a run or self-play works in: it would learn from games that are not its own."""
    folder = Path(os.path.realpath(path)).parent
    if not (folder / LOCK).exists():
        return
    try:
        kind = kind_of(folder, RUN, SEED, GAMES)
    except UserError:  # another kind's, or a person's with a file of that name
        return
    if kind is not None:
        raise UserError(
            f"{path} lies in the folder of {kind.title}, whose games are its own. Name a file elsewhere.",
            arguments=("out",),
        )


def _array(name: str, values: ArrayLike, dtype: Any) -> NDArray[Any]:
    """`values` in a column's dtype, if that changes no number."""
    try:
        given = np.asarray(values)
        with np.errstate(all="ignore"):
            array = given.astype(dtype)
    except (TypeError, ValueError) as error:
        raise UserError(f"{name} must be an array of numbers; numpy says: {error}.") from error
    if np.dtype(dtype).kind in "iub" and not np.array_equal(array, given):
        raise UserError(f"{name} must be whole numbers that {np.dtype(dtype).name} has; got {given.dtype} with others.")
    return array


def _shaped(name: str, values: ArrayLike, dtype: Any, shape: tuple[int, ...], words: str) -> NDArray[Any]:
    array = _array(name, values, dtype)
    if array.shape != shape:
        raise UserError(f"{name} must be {words}, here {list(shape)}; got {list(array.shape)}.")
    return array


def _named(*arrays: NDArray[Any]) -> str:
    return f"own-{content_digest(b''.join(array.tobytes() for array in arrays)).hex()}"


def _players(spec: GameSpec, num_steps: int) -> NDArray[np.int8]:
    """`[T+1]` whose move it is where nobody says so."""
    if spec.num_players == 2 and spec.turns == "vary":
        raise UserError(f"turns vary in {spec.name}: say in players whose move each position is.")
    return (np.arange(num_steps + 1) % spec.num_players).astype(np.int8)


def _legal(spec: GameSpec, num_steps: int, ended: Ended) -> NDArray[np.bool_]:
    """`[T+1, A]` every action, but none where the game is over."""
    legal = np.ones((num_steps + 1, spec.num_actions), np.bool_)
    legal[-1] = ended != "terminated"
    return legal


def _require_actions(played: NDArray[np.int32], spec: GameSpec) -> None:
    if played.min() < 0 or played.max() >= spec.num_actions:
        raise UserError(f"actions must be from 0 to {spec.num_actions - 1}; got {played.min()} to {played.max()}.")


SUMS_TO_1 = 1e-3
"""The shares of a policy may differ by so much from 1 together, as rounded ones do."""


def _require_policies(policies: NDArray[np.float32]) -> None:
    """Refuse what are no shares of 1, as counts of visits are none: losses and trust would be multiples of theirs."""
    with np.errstate(all="ignore"):
        total = policies.sum(axis=1, dtype=np.float64)
        wrong = ~((policies >= 0.0).all(axis=1) & (np.abs(total - 1.0) <= SUMS_TO_1))
    if wrong.any():
        step = int(wrong.argmax())
        raise UserError(
            f"policies must be 0 or more and 1 in all at each step; step {step} has {policies[step].min():g} at least "
            f"and {total[step]:g} in all. Divide counts by their sum."
        )


def _one_hot(played: NDArray[np.int32], spec: GameSpec) -> NDArray[np.float32]:
    return np.eye(spec.num_actions, dtype=np.float32)[played]


def _shares(policies: NDArray[np.float32] | None, played: NDArray[np.int32]) -> NDArray[np.float32]:
    """`[T, 1]` how likely the actions were by `[T, A]`; `[T, 0]` where nobody said."""
    if policies is None:
        return np.zeros((len(played), 0), np.float32)
    return np.take_along_axis(policies, played[:, None], axis=1).astype(np.float32)


def _values(rewards: NDArray[np.float32], discount: NDArray[np.float32]) -> NDArray[np.float32]:
    """`[T+1]` return[t] = reward[t] + discount[t] * return[t + 1]; nothing is known of what follows the end."""
    if rewards.shape != discount.shape:
        raise UserError(f"rewards must be [T], {len(discount)} of them; got {rewards.shape}.")
    values = np.zeros(len(rewards) + 1, np.float32)
    for t in range(len(rewards) - 1, -1, -1):
        values[t] = rewards[t] + discount[t] * values[t + 1]
    return values


def _outcomes(spec: GameSpec, num_steps: int, outcomes: ArrayLike | None) -> NDArray[np.int32]:
    """`[T, 1]`, or `[T, 0]` of a game that says nothing of chance."""
    if bool(spec.num_outcomes) != (outcomes is not None):
        must = "be given" if spec.num_outcomes else "be left out"
        raise UserError(f"outcomes must {must}: {spec.name} tells of {spec.num_outcomes} outcomes of chance.")
    if outcomes is None:
        return np.zeros((num_steps, 0), np.int32)
    return _array("outcomes", outcomes, np.int32).reshape(-1, 1)


_MUST_AGREE = ("num_actions", "observation_shape", "observation_dtype", "num_players", "turns", "num_outcomes")


def _require_same(held: GameSpec, other: GameSpec, place: Path) -> None:
    """Refuse games that a network could not learn from together."""
    for what in ("name", *_MUST_AGREE):
        if getattr(held, what) != getattr(other, what):
            raise UserError(
                f"games of one store must be of one game; {place} has {what} {getattr(held, what)!r}, "
                f"the others {getattr(other, what)!r}. Write them into another file."
            )


# ---------------------------------------------------------------------------------------------------- what is there


def store_info(path: Path) -> dict[str, Any]:
    """What is in a run's folder of games, or in a store's file; every game is read.

    Returns:
        `store`, `game`, `games` (pieces of long episodes count each), `steps`, `bytes`, `limit_bytes` (0: none),
        `ended` (how many terminated, truncated, or are pieces that were cut), `searched_again`, `newest_version` of
        weights (-1: unknown), `damaged`, and of whole games `mean_return`, `least_return`, `largest_return` (of
        player 0) and `mean_length`.

    Raises:
        UserError: there is no store, it holds nothing, or its game is not known.
    """
    source = find_source(local(path))
    damaged: list[str] = []
    pieces, endings, versions = list[_Piece](), Counter[str](), [UNKNOWN_VERSION]
    with GameStore(source.store, reading=True, on_damage=damaged.append) as store:
        for game in _games(store):
            endings[game.ended] += 1
            versions.append(int(game.model_version.max()))
            pieces.append(_piece(game))
        found: dict[str, Any] = {
            "store": str(source.store),
            "game": source.spec.name,
            "games": store.num_games(),
            "steps": store.num_steps(),
            "bytes": store.num_bytes(),
            "limit_bytes": store.limit(),
            "ended": dict(endings),
            "searched_again": store.num_searched_again(),
            "newest_version": max(versions),
            "damaged": len(damaged),
        }
    if episodes := list(_episodes(pieces, _cut(pieces))):
        returns = [sum(piece.total for piece in episode) for episode in episodes]
        found |= {"mean_return": float(np.mean(returns)), "least_return": min(returns), "largest_return": max(returns)}
        found["mean_length"] = float(np.mean([sum(piece.num_steps for piece in episode) for episode in episodes]))
    return found


class _Piece(NamedTuple):
    """What is counted of a game, or of a piece of an episode."""

    game_id: str
    ended: Ended
    total: float
    """Of rewards, as player 0 sees them."""
    num_steps: int


def _piece(game: Trajectory) -> _Piece:
    own = slice(game.lead_in, None)
    rewards = for_first_player(game.reward, game.to_play[:-1])[own]
    return _Piece(game.game_id, game.ended, float(np.sum(rewards, dtype=np.float64)), game.num_own_steps)


_AnyPiece = TypeVar("_AnyPiece", bound=_Piece | Trajectory)


class _Cut(NamedTuple):
    """Which episodes are in pieces, called EPISODE-0, EPISODE-1, ..., as the names of those say that were cut."""

    episodes: frozenset[str]
    players: frozenset[str]
    """Of runs' episodes, PLAYER-NUMBER: of one whose other pieces have left, the last is still known to be a piece."""

    def split(self, game_id: str) -> tuple[str, str] | None:
        """Episode and number of a piece; None of a game that is whole."""
        episode, _, part = game_id.rpartition("-")
        player, _, number = episode.rpartition("-")
        is_piece = episode in self.episodes or (player in self.players and number.isdecimal() and part.isdecimal())
        return (episode, part) if is_piece else None


def _cut(games: Iterable[_Piece] | Iterable[Trajectory]) -> _Cut:
    episodes = frozenset(each.game_id.rpartition("-")[0] for each in games if each.ended == "cut")
    return _Cut(episodes, frozenset(each.rpartition("-")[0] for each in episodes) - {""})


def _episodes(pieces: Iterable[_AnyPiece], cut: _Cut) -> Iterator[list[_AnyPiece]]:
    """The pieces of each episode that is there from its beginning to its end."""
    begun: dict[str, list[_AnyPiece]] = {}
    for each in pieces:
        if (found := cut.split(each.game_id)) is None:
            yield [each]
            continue
        episode, part = found
        before = begun.get(episode, [])
        if part != f"{len(before)}":  # what was before it has left the store
            continue
        if each.ended == "cut":
            begun[episode] = [*before, each]
        else:
            yield [*begun.pop(episode, []), each]


def _games(store: GameStore) -> Iterator[Trajectory]:
    """All games, oldest first, a few at a time."""
    sequences = [row.sequence for row in store.index()]
    for first in range(0, len(sequences), _AT_A_TIME):
        yield from store.read_games(sequences[first : first + _AT_A_TIME])


def store_problems(path: Path) -> list[str]:
    """All that is damaged in a store, one sentence each; reads everything.

    Raises:
        UserError: there is no store.
    """
    source = find_source(local(path))
    with GameStore(source.store, reading=True) as store:
        found = store.problems()
        for game in () if found else _games(store):
            try:
                fitting(game, source.spec)
            except DamagedData as error:
                found.append(str(error))
    return found


# ---------------------------------------------------------------------------------------------------- Minari

MINARI = "minari:"
"""Before the name of a dataset of Minari's, in place of a path."""


def export_to_minari(path: Path, name: str) -> dict[str, Any]:
    """Write the whole episodes of a store as a dataset of Minari's; returns what is in it.

    Returns:
        `minari`, its name; `game`; `episodes`; `pieces_left_out`, of episodes that are not there from beginning to end;
        `damaged`, games that could not be read.

    Raises:
        UserError: games of two, Minari is not installed, or it has such a dataset.
    """
    adapter = _minari()
    source = find_source(path)
    if source.spec.num_players != 1:
        raise UserError(f"Minari's datasets are of one player; {source.spec.name} is played by two.")
    with GameStore(source.store, reading=True, on_damage=lambda sentence: None) as store:
        pieces = [_piece(game) for game in _games(store)]
        cut = _cut(pieces)
        episodes = (_joined(each) for each in _episodes(_games(store), cut))
        count = adapter.write_dataset(name, source.spec, episodes, f"Games of {source.spec.name}, played by numzero.")
        damaged = store.num_games() - len(pieces)
    left_out = len(pieces) - sum(map(len, _episodes(pieces, cut)))
    counts = {"episodes": count, "pieces_left_out": left_out, "damaged": damaged}
    return {"minari": name, "game": source.spec.name, **counts}


def _joined(pieces: Sequence[Trajectory]) -> DatasetEpisode:
    """One episode of its pieces; each ends in the position that the next begins with."""
    from numzero.games.adapters.minari import DatasetEpisode

    own = [(piece, slice(piece.lead_in, None)) for piece in pieces]
    seen = [piece.observation[part][:-1] for piece, part in own] + [pieces[-1].observation[-1:]]
    return DatasetEpisode(
        np.concatenate(seen),
        np.concatenate([piece.action[part] for piece, part in own]),
        np.concatenate([piece.reward[part] for piece, part in own]),
        pieces[-1].ended == "terminated",
    )


def local(path: Path) -> Path:
    """Where games are: the path itself, or of minari:NAME a store of the dataset's episodes, made for this process.

    Raises:
        UserError: Minari is not installed, or there is no such dataset that can be read.
    """
    text = path.as_posix()
    return _of_minari(text.removeprefix(MINARI)) if text.startswith(MINARI) else path


@functools.cache
def _of_minari(name: str) -> Path:
    spec, episodes = _minari().read_dataset(name)
    folder = tempfile.TemporaryDirectory(prefix="numzero-")
    _TEMPORARY.append(folder)  # goes with the process
    place = Path(folder.name) / "replay.sqlite"
    with Store(place, spec) as store:
        for number, each in enumerate(episodes):
            ended: Ended = "terminated" if each.terminated else "truncated"
            store.add(each.observations, each.actions, each.rewards, ended=ended, game_id=f"{name} {number}")
    return place


_TEMPORARY: list[tempfile.TemporaryDirectory[str]] = []


def _minari() -> ModuleType:
    """The adapter, where the library is installed."""
    try:
        return importlib.import_module("numzero.games.adapters.minari")
    except ModuleNotFoundError as error:
        raise UserError(
            f"datasets of Minari need {error.name}, which is not installed: pip install 'numzero[minari]'."
        ) from error


# ---------------------------------------------------------------------------------------------------- merging


class Merged(NamedTuple):
    """What came of stores that were put together."""

    added: int
    twice: int
    """Games that were there already, from another store or before."""
    damaged: int
    """Games that could not be read, or fit no longer; they are left out."""
    games: int
    """In the store now."""


def merge(out: Path, sources: Sequence[Path]) -> Merged:
    """Copy all games of some stores into one, with what later searches said of them; weights count as unknown.

    Args:
        out: the file; a new one, or a store of the same game, which is added to.
        sources: runs, folders of self-play or files.

    Raises:
        UserError: games are of different games, or `out` is one of the sources, lies in the folder of a run or of
            self-play, or has a limit, by which games would leave it.
    """
    found = [find_source(local(path)) for path in sources]
    if not found:
        raise UserError("stores must be named whose games are put together; got none.")
    for source in found:
        if source.store.resolve() == out.resolve():
            raise UserError(f"{out} must be another file than those that are put together. Name a new one.")
        _require_same(found[0].spec, source.spec, found[0].store)
    added = twice = damaged = 0
    with Store(out, found[0].spec) as store:
        if limit := store.games.limit():
            raise UserError(
                f"{out} must keep all games; it was a run's, and keeps {limit / MEBIBYTE:,.0f} MiB of them. Name "
                "another file.",
                arguments=("out",),
            )
        for source in found:
            new, known, lost = _copy(source, store.games)
            added, twice, damaged = added + new, twice + known, damaged + lost
        return Merged(added, twice, damaged, len(store))


def _copy(source: Source, ours: GameStore) -> tuple[int, int, int]:
    """How many games of `source` are new here, were here, and could not be copied."""
    lost: list[str] = []
    new = known = 0
    with GameStore(source.store, reading=True, on_damage=lost.append) as theirs:
        cut = _cut(_games(theirs))
        names = _new_names(theirs, ours, cut) if cut.episodes else {}
        for game in _games(theirs):
            try:
                fitted = fitting(game, source.spec)
            except DamagedData as error:
                lost.append(str(error))
                continue
            unknown = np.full(game.num_steps, UNKNOWN_VERSION, np.int64)
            episode, part = cut.split(game.game_id) or ("", "")
            name = f"{names[episode]}-{part}" if episode in names else game.game_id
            is_new = _add(msgspec.structs.replace(fitted, model_version=unknown, game_id=name), ours)
            new, known = new + is_new, known + (not is_new)
    return new, known, len(lost)


def _new_names(theirs: GameStore, ours: GameStore, cut: _Cut) -> dict[str, str]:
    """Of episodes in pieces of which one has the name of another game here: all pieces go by a name of their own."""
    digests = dict[str, list[bytes]]()
    taken = set[str]()
    for game in _games(theirs):
        if (found := cut.split(game.game_id)) is not None:
            digests.setdefault(found[0], []).append(_played(game))
            if any(_played(held) != _played(game) for held in ours.read_named([game.game_id])):
                taken.add(found[0])
    return {episode: f"{episode}~{content_digest(b''.join(digests[episode]))[:8].hex()}" for episode in taken}


def _add(game: Trajectory, store: GameStore) -> bool:
    """Store a game; under another name where its own is taken by another game."""
    if store.add([game]):
        return True
    (held,) = store.read_named([game.game_id])
    if _played(held) == _played(game):
        return False
    return store.add([msgspec.structs.replace(game, game_id=f"{game.game_id}~{_played(game)[:8].hex()}")]) == 1


def _played(game: Trajectory) -> bytes:
    """What tells a game from others, whatever was thought of it: what was seen, played and earned."""
    return content_digest(game.observation.tobytes() + game.action.tobytes() + game.reward.tobytes())
