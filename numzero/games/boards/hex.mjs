// Hex for pages: the twin of hex.py, to which tests compare it. What a rules module is says docs/page.md.

const NEAR = [
  [0, 1],
  [0, -1],
  [1, 0],
  [-1, 0],
  [1, -1],
  [-1, 1],
];

export default function hex({ size = 7, swap = false } = {}) {
  const numCells = size * size;

  const start = () => ({ cells: Array(numCells).fill(0), player: 0, over: null });

  function legal({ cells, player, over }) {
    const found = cells.map((stone) => (over || stone ? 0 : 1));
    const isSecond = !over && player === 1 && cells.filter((stone) => stone).length === 1;
    return swap ? [...found, Number(isSecond)] : found;
  }

  function play({ cells, player }, action) {
    const next = [...cells];
    if (action === numCells) {
      const cell = cells.indexOf(1);
      next[cell] = 0;
      next[(cell % size) * size + Math.floor(cell / size)] = 2;
      return { cells: next, player: 1 - player, over: null };
    }
    next[action] = player + 1;
    const chain = chainOf(next, action);
    const along = (cell) => (player === 0 ? Math.floor(cell / size) : cell % size);
    const joins = [0, size - 1].every((side) => chain.some((cell) => along(cell) === side));
    return { cells: next, player: 1 - player, over: joins ? { winner: player, cells: chain } : null };
  }

  /** The cells that a stone is joined with, itself included. */
  function chainOf(cells, first) {
    const chain = [first];
    for (const cell of chain) {
      // which grows meanwhile
      for (const [down, right] of NEAR) {
        const [row, column] = [Math.floor(cell / size) + down, (cell % size) + right];
        const next = row * size + column;
        if (row < 0 || row >= size || column < 0 || column >= size) continue;
        if (cells[next] === cells[first] && !chain.includes(next)) chain.push(next);
      }
    }
    return chain;
  }

  function observation({ cells, player }) {
    const planes = [player + 1, 2 - player, 0];
    const stones = planes.flatMap((wanted) => cells.map((stone) => Number(stone === wanted)));
    return [...stones, ...Array(numCells).fill(Number(player === 0))];
  }

  return { start, legal, play, observation };
}
