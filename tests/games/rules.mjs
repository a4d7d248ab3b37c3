// Plays games by rules modules. stdin: { module: address, arguments, games: [[action, ...], ...] }, a line each. stdout: for
// each of them, as JSON, a list of all states that its games went through.

import { createInterface } from "node:readline";

for await (const line of createInterface({ input: process.stdin })) {
  const given = JSON.parse(line);
  const { default: makeRules } = await import(given.module);
  const rules = makeRules(given.arguments);
  const seen = (state) => ({
    cells: state.cells.join(""),
    player: state.player,
    legal: [...rules.legal(state)].join(""),
    observation: rules.observation(state).join(""),
    over: state.over && { winner: state.over.winner },
    score: rules.score?.(state) ?? null,
  });
  const states = given.games.flatMap((actions) => {
    let state = rules.start();
    return [seen(state), ...actions.map((action) => seen((state = rules.play(state, action))))];
  });
  console.log(JSON.stringify(states));
}
