// Breakthrough for pages: the twin of breakthrough.py, to which tests compare it. What a rules module is says
// docs/page.md.

export default function breakthrough({ size = 8, rows = size, columns = size } = {}) {
  const moves = listMoves(rows, columns);
  const half = moves.length / 2;

  function start() {
    const full = (stone) => Array(2 * columns).fill(stone);
    return { cells: [...full(2), ...Array((rows - 4) * columns).fill(0), ...full(1)], player: 0, over: null };
  }

  function legal({ cells, player, over }) {
    return moves.map(([from, to], action) => {
      const mine = cells[from] === player + 1 && action >= half === (player === 1) && cells[to] !== player + 1;
      const isStraight = from % columns === to % columns;
      return Number(!over && mine && !(cells[to] && isStraight));
    });
  }

  function play({ cells, player }, action) {
    const [from, to] = moves[action];
    const next = [...cells];
    next[from] = 0;
    next[to] = player + 1;
    const isThrough = Math.floor(to / columns) === (player === 0 ? 0 : rows - 1);
    const over = isThrough || !next.includes(2 - player) ? { winner: player, cells: [to] } : null;
    return { cells: next, player: 1 - player, over };
  }

  function observation({ cells, player }) {
    const planes = [player + 1, 2 - player, 0];
    const pieces = planes.flatMap((wanted) => cells.map((piece) => Number(piece === wanted)));
    return [...pieces, ...Array(cells.length).fill(Number(player === 0))];
  }

  return { start, legal, play, observation };
}

/** From which cell to which, of each action: the first half moves up. */
function listMoves(rows, columns) {
  const moves = [];
  for (const down of [-1, 1]) {
    for (let from = 0; from < rows * columns; from++) {
      for (const right of [-1, 0, 1]) {
        const [row, column] = [Math.floor(from / columns) + down, (from % columns) + right];
        if (row >= 0 && row < rows && column >= 0 && column < columns) moves.push([from, row * columns + column]);
      }
    }
  }
  return moves;
}
