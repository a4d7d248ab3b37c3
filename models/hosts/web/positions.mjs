// Positions of the game: by the rules module in the agent's folder, or by the program that serves the page.
//
// A position is { cells, player, legal, observation, over, score, text }: cells row by row, 0 empty, 1 and 2 the stones of
// who moves first and second, null where the game shows itself in `text` only; player 0 or 1, who moves; legal, 0 or 1 for
// each action; over null, or { winner: 0, 1 or null, cells: those that decided }; score null, or two numbers.

/** { start, play }: start() and play(position, action) are promises of positions. */
export async function makePositions({ rules, agent }, game) {
  if (rules === "server")
    return { start: () => askServer([]), play: ({ moves }, action) => askServer([...moves, action]) };
  if (!game.rules)
    throw new Error(`${game.name} has no rules for pages; play --web asks the program that serves the page`);
  const { default: make } = await import(new URL(agent + game.rules, document.baseURI).href);
  const made = make(game.arguments);
  const position = (state) => ({
    ...state,
    state,
    legal: made.legal(state),
    observation: made.observation(state),
    score: made.score?.(state) ?? null,
  });
  return {
    start: async () => position(made.start()),
    play: async ({ state }, action) => position(made.play(state, action)),
  };
}

async function askServer(moves) {
  const body = JSON.stringify({ moves });
  const answer = await fetch("position", { method: "POST", headers: { "Content-Type": "application/json" }, body });
  if (!answer.ok) throw new Error((await answer.text()).trim() || `the server answered ${answer.status}`);
  return { ...(await answer.json()), moves };
}
