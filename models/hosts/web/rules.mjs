// Tic-tac-toe: what the page must know of the game itself. A position is the list of moves that led to it, each a cell
// from 0 to 8, row by row. X moves first.

export const LINES = [
  [0, 1, 2], [3, 4, 5], [6, 7, 8], [0, 3, 6], [1, 4, 7], [2, 5, 8], [0, 4, 8], [2, 4, 6],
];

/** The player who moves after so many moves, "X" or "O". */
export const mover = (moves) => (moves.length % 2 ? "O" : "X");

/** Nine marks: "X", "O", or "" for an empty cell. */
export function board(moves) {
  const cells = Array(9).fill("");
  moves.forEach((cell, step) => (cells[cell] = step % 2 ? "O" : "X"));
  return cells;
}

/** { winner: "X", "O" or "" for a draw, line: its cells }, or null while the game goes on. */
export function result(moves) {
  const cells = board(moves);
  const line = LINES.find(([a, b, c]) => cells[a] && cells[a] === cells[b] && cells[a] === cells[c]);
  if (line) return { winner: cells[line[0]], line };
  return moves.length === 9 ? { winner: "", line: [] } : null;
}

/** Nine numbers: 1 where the player to move may go. */
export const legal = (moves) => board(moves).map((mark) => (mark || result(moves) ? 0 : 1));

/** 27 numbers, three planes: the mover's marks, the opponent's, the empty cells. */
export function observation(moves) {
  const mine = mover(moves);
  const cells = board(moves);
  const planes = [(mark) => mark === mine, (mark) => mark && mark !== mine, (mark) => !mark];
  return planes.flatMap((holds) => cells.map((mark) => (holds(mark) ? 1 : 0)));
}
