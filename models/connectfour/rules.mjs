// Gomoku and tic-tac-toe for pages, and Connect Four, where stones fall: the twin of gomoku.py and connectfour.py, to
// which tests compare it. What a rules module is says docs/page.md.

const LINES = [
  [0, 1],
  [1, 0],
  [1, 1],
  [1, -1],
];

export default function gomoku({ size = 9, rows = size, columns = size, length = 5, falls = false } = {}) {
  const start = () => ({ cells: Array(rows * columns).fill(0), player: 0, over: null });

  const legal = ({ cells, over }) =>
    cells.slice(0, falls ? columns : cells.length).map((stone) => (over || stone ? 0 : 1));

  function play({ cells, player }, action) {
    const next = [...cells];
    let cell = falls ? (rows - 1) * columns + action : action;
    while (falls && next[cell]) cell -= columns;
    next[cell] = player + 1;
    const line = longestRow(next, cell);
    const isFull = next.every((stone) => stone);
    const over = line.length >= length ? { winner: player, cells: line } : isFull ? { winner: null, cells: [] } : null;
    return { cells: next, player: 1 - player, over };
  }

  /** The cells of the longest row, column or diagonal of one colour through a stone. */
  function longestRow(cells, cell) {
    const run = (down, right) => {
      const found = [];
      let [row, column] = [Math.floor(cell / columns) + down, (cell % columns) + right];
      while (
        row >= 0 &&
        row < rows &&
        column >= 0 &&
        column < columns &&
        cells[row * columns + column] === cells[cell]
      ) {
        found.push(row * columns + column);
        [row, column] = [row + down, column + right];
      }
      return found;
    };
    const all = LINES.map(([down, right]) => [...run(-down, -right).reverse(), cell, ...run(down, right)]);
    return all.reduce((longest, line) => (line.length > longest.length ? line : longest));
  }

  function observation({ cells, player }) {
    const planes = [player + 1, 2 - player, 0];
    return planes.flatMap((wanted) => cells.map((stone) => Number(stone === wanted)));
  }

  return { start, legal, play, observation };
}
