// Othello for pages: the twin of othello.py, to which tests compare it. What a rules module is says docs/page.md.

const WAYS = [
  [-1, -1],
  [-1, 0],
  [-1, 1],
  [0, -1],
  [0, 1],
  [1, -1],
  [1, 0],
  [1, 1],
];

export default function othello({ size = 8 } = {}) {
  const numCells = size * size;
  const pass = numCells;

  function start() {
    const cells = Array(numCells).fill(0);
    const corner = (size / 2 - 1) * (size + 1);
    [cells[corner], cells[corner + 1], cells[corner + size], cells[corner + size + 1]] = [2, 1, 1, 2];
    return { cells, player: 0, over: null };
  }

  /** The discs that a disc of the player's on an empty cell would turn over. */
  function enclosed(cells, player, cell) {
    return WAYS.flatMap(([down, right]) => {
      const found = [];
      let [row, column] = [Math.floor(cell / size) + down, (cell % size) + right];
      const isInside = () => row >= 0 && row < size && column >= 0 && column < size;
      while (isInside() && cells[row * size + column] === 2 - player) {
        found.push(row * size + column);
        [row, column] = [row + down, column + right];
      }
      return isInside() && cells[row * size + column] === player + 1 ? found : [];
    });
  }

  const moves = (cells, player) => cells.map((disc, cell) => Number(!disc && enclosed(cells, player, cell).length > 0));

  function legal({ cells, player, over }) {
    if (over) return Array(numCells + 1).fill(0);
    const found = moves(cells, player);
    return [...found, Number(!found.includes(1))];
  }

  function play({ cells, player }, action) {
    if (action === pass) return { cells, player: 1 - player, over: null };
    const next = [...cells];
    for (const cell of [action, ...enclosed(cells, player, action)]) next[cell] = player + 1;
    const goesOn = [0, 1].some((each) => moves(next, each).includes(1));
    return { cells: next, player: 1 - player, over: goesOn ? null : result(next) };
  }

  function result(cells) {
    const [first, second] = score({ cells });
    return { winner: first === second ? null : Number(second > first), cells: [] };
  }

  /** Discs of each player. */
  const score = ({ cells }) => [1, 2].map((wanted) => cells.filter((disc) => disc === wanted).length);

  function observation({ cells, player }) {
    const planes = [player + 1, 2 - player, 0];
    return planes.flatMap((wanted) => cells.map((disc) => Number(disc === wanted)));
  }

  return { start, legal, play, observation, score };
}
