// Go for pages: area scoring, komi, positional superko. The twin of go.py, to which tests compare it. What a rules module
// is says docs/page.md.

export default function go({ size = 9, komi = 7.5 } = {}) {
  const numCells = size * size;
  const pass = numCells;
  const mostMoves = 2 * numCells;
  const near = [...Array(numCells).keys()].map((cell) => neighbours(cell, size));
  const known = new WeakMap(); // of each state what may be played there: superko asks for every cell

  const start = () => ({
    cells: Array(numCells).fill(0),
    player: 0,
    over: null,
    numMoves: 0,
    numPasses: 0,
    seen: new Set(),
  });

  function legal(state) {
    if (!known.has(state)) known.set(state, findLegal(state));
    return known.get(state);
  }

  function findLegal({ cells, player, over, seen }) {
    if (over) return Array(numCells + 1).fill(0);
    const may = cells.map((stone, cell) => {
      if (stone) return 0;
      const next = set(cells, player, cell);
      return Number(next !== null && !seen.has(next.join("")));
    });
    return [...may, 1];
  }

  /** The cells after a stone was set and what has no liberty taken off; null if the stone itself would have none. */
  function set(cells, player, cell) {
    const next = [...cells];
    next[cell] = player + 1;
    for (const other of near[cell]) {
      if (next[other] !== 2 - player) continue;
      const group = groupOf(next, other);
      if (!group.liberties) for (const taken of group.cells) next[taken] = 0;
    }
    return groupOf(next, cell).liberties ? next : null;
  }

  /** The stones that are joined with one, or the empty cells, and whether any of them is beside an empty cell. */
  function groupOf(cells, first) {
    const group = [first];
    const reached = new Set(group);
    let liberties = false;
    for (const cell of group) {
      // which grows meanwhile
      for (const other of near[cell]) {
        liberties ||= cells[other] === 0;
        if (cells[other] !== cells[first] || reached.has(other)) continue;
        reached.add(other);
        group.push(other);
      }
    }
    return { cells: group, liberties };
  }

  function play({ cells, player, numMoves, numPasses, seen }, action) {
    const next = action === pass ? cells : set(cells, player, action);
    const state = { cells: next, player: 1 - player, over: null, numMoves: numMoves + 1, numPasses: 0, seen };
    if (action === pass) state.numPasses = numPasses + 1;
    else state.seen = new Set(seen).add(next.join(""));
    if (state.numPasses === 2 || state.numMoves === mostMoves) state.over = result(state);
    return state;
  }

  function result(state) {
    const [black, white] = score(state);
    return { winner: black === white ? null : Number(white > black), cells: [] };
  }

  /** Stones and surrounded cells of each player, White's with komi. */
  function score({ cells }) {
    const points = [0, komi];
    const reached = new Set();
    cells.forEach((stone, cell) => {
      if (stone) points[stone - 1] += 1;
      if (stone || reached.has(cell)) return;
      const empty = groupOf(cells, cell).cells;
      empty.forEach((each) => reached.add(each));
      const beside = new Set(empty.flatMap((each) => near[each].map((other) => cells[other])).filter((other) => other));
      if (beside.size === 1) points[[...beside][0] - 1] += empty.length;
    });
    return points;
  }

  function observation(state) {
    const { cells, player, over, numPasses } = state;
    const stones = [player + 1, 2 - player, 0].flatMap((wanted) => cells.map((stone) => Number(stone === wanted)));
    const may = legal(state);
    const forbidden = cells.map((stone, cell) => Number(!stone && !over && !may[cell]));
    const everywhere = (is) => Array(numCells).fill(Number(is));
    return [...stones, ...everywhere(player === 0), ...forbidden, ...everywhere(numPasses > 0)];
  }

  return { start, legal, play, observation, score };
}

function neighbours(cell, size) {
  const [row, column] = [Math.floor(cell / size), cell % size];
  const all = [
    [row - 1, column],
    [row, column - 1],
    [row, column + 1],
    [row + 1, column],
  ];
  return all.filter(([r, c]) => r >= 0 && r < size && c >= 0 && c < size).map(([r, c]) => r * size + c);
}
