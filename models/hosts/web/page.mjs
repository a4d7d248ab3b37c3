// The page: a game, what the agent thinks of it, and the controls. Rules are in positions.mjs, thinking in engine.mjs, the
// drawing in board.mjs and graph.mjs.

import { makeBoard, makeText, pieceIcon } from "./board.mjs";
import { makeEngine } from "./engine.mjs";
import { drawGraph } from "./graph.mjs";
import { makePositions } from "./positions.mjs";

const AMOUNTS = { simulations: [0, 8, 16, 50, 200, 800], seconds: [0.2, 1, 3, 10] };
const NOTES = {
  simulations: "0 is the network's instinct; every simulation plays one line further in its learned model.",
  seconds: "It searches as far as it comes in this time, up to 1,023 simulations.",
};
const MOST_SIMULATIONS = 1023;
const LONGEST_LINE = 8;
const MOST_ROWS = 8; // of the table of moves
const SHOWN = ["visits", "line", "nothing"];

const $ = (id) => document.getElementById(id);
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const signed = (value) => (Math.abs(value) < 0.005 ? "" : value < 0 ? "−" : "+") + Math.abs(value).toFixed(2);
/** Milliseconds for which each stage of a thought is shown at least; ?pace=0 plays as fast as it can. */
const pace = Number(
  new URLSearchParams(location.search).get("pace") ??
    (matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 120),
);

/**
 * positions: from the start to now; moves: the actions between them. persons: the players whose moves a person makes.
 * thoughts: of each position that the agent thought about, the latest; thought: the very latest, see `think`.
 */
const game = { positions: [], moves: [], persons: [0], unit: "simulations", amount: 16, shown: "visits" };
Object.assign(game, { paused: false, hint: false, thought: null, thoughts: new Map() });
let about = null; // what the agent's folder says of the game
let rules = null;
let board = null;
let ask = null; // set once the agent is loaded
let failure = "";
let turn = 0; // changes whenever a thought in progress no longer matters

const now = () => game.positions.at(-1);
const isPersons = () => game.persons.includes(now().player);
const nameOf = (player) => about.layout.players[player];
const mine = () => ask !== null && !now().over && isPersons();

// ------------------------------------------------------------------------------------------------- what happens

/** Show the position; if it is the agent's move, or a hint is wanted, let it think, and move. */
async function proceed() {
  const current = ++turn;
  if (ask) failure = ""; // what failed is tried again
  render();
  if (!ask || now().over || game.paused || (isPersons() && !game.hint)) return;
  try {
    await think(current);
    if (current !== turn || isPersons()) return;
    await sleep(game.persons.length ? pace : 4 * pace);
    if (current === turn) await play(game.thought.action);
  } catch (error) {
    if (current === turn) fail(error);
  }
}

/** Search with growing budgets, so that the thought can be watched; the last one decides. */
async function think(current) {
  const { observation, legal, player } = now();
  const at = game.moves.length;
  const started = performance.now();
  let took = 0;
  for (
    let simulations = first();
    simulations !== null;
    simulations = next(simulations, took, performance.now() - started)
  ) {
    const began = performance.now();
    const asked = ask(observation, legal, simulations).then((answer) => ((took = performance.now() - began), answer));
    const [answer] = await Promise.all([asked, game.unit === "seconds" ? null : sleep(pace)]);
    const line = await follow(answer);
    if (current !== turn) return;
    game.thought = { ...answer, line, simulations, at, by: player };
    game.thoughts.set(at, game.thought);
    render();
  }
}

const first = () => (game.unit === "simulations" ? Math.min(1, game.amount) : 1);

/** The budget after one of so many simulations that took `took` ms of `spent` in all; null where there is none. */
function next(simulations, took, spent) {
  if (game.unit === "simulations") return simulations < game.amount ? Math.min(2 * simulations, game.amount) : null;
  const affordable = Math.floor(((1000 * game.amount - spent) / Math.max(took, 0.1)) * simulations);
  const wanted = Math.min(2 * simulations, affordable, MOST_SIMULATIONS);
  return wanted > simulations ? wanted : null;
}

/** The line that the agent expects, from its own move on, as far as the rules allow it: a list of { player, action, place }. */
async function follow({ action, line = [] }) {
  const found = [];
  let position = now();
  for (const move of [action, ...line.slice(1)].slice(0, LONGEST_LINE)) {
    if (position.over || !position.legal[move]) break;
    const after = await rules.play(position, move);
    found.push({ player: position.player, action: move, place: placeOf(move, position, after) });
    position = after;
  }
  return found;
}

/** The cells that a move was played at: of a stone that falls, the one where it came to lie. */
function placeOf(action, before, after) {
  const place = about.layout.places[action] ?? [];
  if (about.layout.cells !== "columns" || !place.length) return place;
  return [after.cells.findIndex((stone, cell) => stone !== before.cells[cell])];
}

async function play(action) {
  const current = ++turn;
  game.hint = false;
  const after = await rules.play(now(), action).catch((error) => {
    if (current === turn) fail(error);
  });
  if (!after || current !== turn) return;
  game.positions.push(after);
  game.moves.push(action);
  await proceed();
}

function playAsPerson(action) {
  if (mine() && now().legal[action]) play(action).catch(fail);
}

/** How many moves remain after taking back: up to a person's latest choice, or one less where nobody plays. */
function remaining() {
  for (let left = game.moves.length - 1; left >= 0; left--) {
    if (!game.persons.length || game.persons.includes(game.positions[left].player)) return left;
  }
  return null;
}

function takeBack() {
  const left = remaining();
  if (left === null) return;
  game.moves.length = left;
  game.positions.length = left + 1;
  for (const at of [...game.thoughts.keys()]) if (at > left) game.thoughts.delete(at);
  if (game.thought?.at > left) game.thought = null;
  game.hint = false;
  game.paused = !game.persons.length;
  proceed();
}

function newGame() {
  game.positions.length = 1;
  Object.assign(game, { moves: [], paused: false, hint: false, thought: null, thoughts: new Map() });
  proceed();
}

function fail(error) {
  failure = error.message;
  render();
}

// ------------------------------------------------------------------------------------------------- what is shown

function render() {
  const status = failure ? (ask ? `The agent cannot think: ${failure}` : `${failure}.`) : statusLine();
  if ($("status").textContent !== status) $("status").textContent = status; // screen readers repeat what is set
  $("status").classList.toggle("failed", failure !== "");
  if (!game.positions.length) return;
  renderPlayers();
  renderBoard();
  renderBeside();
  renderJudgement();
  renderThought();
  renderRecord();
  $("back").disabled = remaining() === null;
  $("hint").disabled = !mine();
  $("hint").setAttribute("aria-pressed", String(game.hint));
  $("pause").hidden = game.persons.length > 0 || now().over !== null;
  $("pause").firstChild.data = game.paused ? "Go on " : "Pause ";
}

function statusLine() {
  if (!ask) return "Loading the agent …";
  const { over, player } = now();
  if (over) {
    if (over.winner === null) return "A draw.";
    if (game.persons.length !== 1) return `${nameOf(over.winner)} wins.`;
    return over.winner === game.persons[0] ? "You win!" : "The agent wins.";
  }
  if (!game.persons.length) return game.paused ? `Paused: ${nameOf(player)} to move.` : "The agent plays both sides.";
  if (!isPersons()) return "The agent is thinking …";
  if (game.persons.length === 2) return `${nameOf(player)} to move.`;
  const last = game.moves.at(-1);
  if (last === undefined) return `Your move: you are ${nameOf(player)}.`;
  const must = now().legal.indexOf(1);
  const mustPass = now().legal.lastIndexOf(1) === must && about.actions[must] === "pass";
  const done = about.actions[last] === "pass" ? "It passed." : `It played ${about.actions[last]}.`;
  return `${done} ${mustPass ? "You must pass." : "Your move."}`;
}

function renderPlayers() {
  const { player, over, score } = now();
  [...$("players").children].forEach((shown, each) => {
    const who = game.persons.includes(each) ? (game.persons.length === 2 ? "" : "you") : "agent";
    shown.classList.toggle("to-move", !over && each === player);
    shown.querySelector(".who").textContent = who;
    shown.querySelector(".points").textContent = score ? String(score[each]) : "";
    shown.ariaLabel = `${nameOf(each)}${who ? `, ${who}` : ""}${score ? `, ${score[each]} points` : ""}${!over && each === player ? ", to move" : ""}`;
  });
}

/** The thought about this very position, while it may be seen. */
const thoughtHere = () => (game.thought?.at === game.moves.length && !now().over ? game.thought : null);

function renderBoard() {
  const { cells, player, legal, over, text } = now();
  const thought = thoughtHere();
  const before = game.positions.at(-2);
  const last = game.moves.length ? placeOf(game.moves.at(-1), before, now()).slice(-1) : [];
  const line =
    thought && game.shown === "line" ? thought.line.map((move, step) => ({ ...move, number: step + 1 })) : [];
  const taken = new Set();
  const ghosts = line.filter(({ place }) => place.length && !taken.has(place.at(-1)) && taken.add(place.at(-1)));
  board.show({
    cells,
    player,
    legal,
    last,
    text,
    ghosts,
    won: over?.cells ?? [],
    mine: mine(),
    over: over !== null,
    thought: game.shown === "visits" ? thought : null,
  });
}

/** Moves that no cell stands for: a pass, a swap. */
function renderBeside() {
  const { legal } = now();
  const thought = game.shown === "visits" ? thoughtHere() : null;
  const actions = [...about.actions.keys()].filter((action) => !(about.layout.places[action] ?? []).length);
  const offered = now().over ? [] : actions.filter((action) => legal[action]);
  $("beside").hidden = !offered.length;
  $("beside").replaceChildren(
    ...offered.map((action) => {
      const button = element("button", about.actions[action]);
      button.type = "button";
      button.disabled = !mine();
      if (thought?.visits[action]) button.append(element("small", ` ${thought.visits[action]}`));
      button.addEventListener("click", () => playAsPerson(action));
      return button;
    }),
  );
}

/** Of each thought, and of the end, [moves played, value for who moves first]. */
function judgements() {
  const { over } = now();
  const found = [...game.thoughts].map(([at, { value, by }]) => [at, by === 0 ? value : -value]);
  if (over) found.push([game.moves.length, over.winner === null ? 0 : over.winner === 0 ? 1 : -1]);
  return found.sort(([one], [other]) => one - other);
}

function renderJudgement() {
  const { over } = now();
  const values = judgements();
  const value = values.length ? values.at(-1)[1] : 0;
  const bounded = Math.max(-1, Math.min(1, value));
  $("needle").style.left = `${50 - 50 * bounded}%`;
  let text = "No judgement yet.";
  if (over) text = over.winner === null ? "Nobody has won." : `${nameOf(over.winner)} has won.`;
  else if (values.length) {
    const { simulations } = game.thoughts.get(values.at(-1)[0]);
    const leads =
      Math.abs(value) < 0.05 ? "even" : `${nameOf(value > 0 ? 0 : 1)} ahead by ${Math.abs(value).toFixed(2)}`;
    text = `After ${simulations} simulation${simulations === 1 ? "" : "s"}: ${leads}.`;
  }
  $("judgement").textContent = text;
  $("balance").setAttribute("aria-valuenow", bounded.toFixed(2));
  $("balance").setAttribute("aria-valuetext", text);
  drawGraph($("graph"), values, about.layout.players);
}

function renderThought() {
  const { thought } = game;
  $("idle").hidden = thought !== null;
  $("thought").hidden = thought === null;
  $("line").hidden = !thought || thought.line.length < 2;
  if (!thought) return;
  $("line").textContent = `It expects ${thought.line.map(({ action }) => about.actions[action]).join(" ")}.`;
  const most = Math.max(1, ...thought.visits);
  const tried = [...thought.visits.keys()].filter((action) => thought.visits[action] || action === thought.action);
  tried.sort(
    (one, other) =>
      thought.visits[other] - thought.visits[one] || (other === thought.action) - (one === thought.action),
  );
  const body = $("thought").tBodies[0];
  body.className = about.layout.colours[thought.by];
  body.replaceChildren(...tried.slice(0, MOST_ROWS).map((action) => thoughtRow(action, thought, most)));
}

function thoughtRow(action, thought, most) {
  const [row, share, bar] = ["tr", "td", "div"].map((name) => document.createElement(name));
  row.classList.toggle("chosen", action === thought.action);
  share.className = "bar";
  bar.style.width = `${(100 * thought.visits[action]) / most}%`;
  share.append(bar);
  const worth = Number.isNaN(thought.q[action]) ? "–" : signed(thought.q[action]);
  const texts = [about.actions[action], String(thought.visits[action])].map((text) => element("td", text));
  row.append(...texts, share, element("td", worth));
  return row;
}

function renderRecord() {
  $("none").hidden = game.moves.length > 0;
  const shown = $("record").children.length;
  if (shown > game.moves.length) $("record").replaceChildren();
  for (let step = $("record").children.length; step < game.moves.length; step++) {
    const item = element("li", about.actions[game.moves[step]]);
    item.prepend(pieceIcon(about.layout, game.positions[step].player));
    $("record").append(item);
  }
  if (shown !== game.moves.length) $("record").scrollTop = $("record").scrollHeight;
}

function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

// ------------------------------------------------------------------------------------------------- what is heard

function makePlayers() {
  const { layout } = about;
  $("players").replaceChildren(
    ...layout.players.map((name, player) => {
      const made = element("div", "");
      made.role = "img"; // its label says all
      made.append(pieceIcon(layout, player), element("b", name), element("span", ""), element("span", ""));
      [made.children[2].className, made.children[3].className] = ["who", "points"];
      return made;
    }),
  );
  [$("first"), $("second")].forEach((place, player) => place.replaceChildren(pieceIcon(layout, player)));
  $("balance").style.setProperty("--first", `var(--${layout.colours[0]})`);
  $("balance").style.setProperty("--second", `var(--${layout.colours[1]})`);
}

function choice(group, value, text, checked) {
  const [label, input] = [document.createElement("label"), document.createElement("input")];
  Object.assign(input, { type: "radio", name: group, value: String(value), checked });
  label.append(input, element("span", text));
  return label;
}

function makeSides() {
  const [one, other] = about.layout.players;
  const sides = [
    ["0", `${one}, first`],
    ["1", `${other}, second`],
    ["01", "Both"],
    ["", "Neither"],
  ];
  const chosen = game.persons.join("");
  $("side")
    .querySelector(".choices")
    .replaceChildren(...sides.map(([value, text]) => choice("side", value, text, value === chosen)));
}

function makeAmounts() {
  const { unit, amount } = game;
  const offered = [...new Set([...AMOUNTS[unit], amount])].sort((one, other) => one - other);
  $("amount").replaceChildren(
    ...offered.map((each) => choice("amount", each, unit === "seconds" ? `${each} s` : String(each), each === amount)),
  );
  $("explained").textContent = NOTES[unit];
}

function listen() {
  const pause = () => {
    game.paused = !game.paused;
    proceed();
  };
  const hint = () => {
    game.hint = !game.hint;
    if (!game.hint) game.thought = null;
    proceed();
  };
  $("back").addEventListener("click", takeBack);
  $("new").addEventListener("click", newGame);
  $("pause").addEventListener("click", pause);
  $("hint").addEventListener("click", hint);
  $("side").addEventListener("change", (event) => {
    Object.assign(game, { persons: [...event.target.value].map(Number), paused: false, hint: false });
    proceed();
  });
  $("unit").addEventListener("change", (event) => {
    const amount = { simulations: 50, seconds: 1 }[event.target.value];
    Object.assign(game, { unit: event.target.value, amount });
    makeAmounts();
    proceed();
  });
  $("amount").addEventListener("change", (event) => {
    game.amount = Number(event.target.value);
    proceed();
  });
  $("shown").addEventListener("change", (event) => show(event.target.value));
  const keys = { u: "back", n: "new", h: "hint", p: "pause" };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const key = event.key.toLowerCase();
    const isChoosing = event.target instanceof HTMLInputElement; // where numbers are not moves
    if (about.actions.includes(key) && !isChoosing) return playAsPerson(about.actions.indexOf(key));
    if (key === "v") show(SHOWN[(SHOWN.indexOf(game.shown) + 1) % SHOWN.length]);
    const button = $(keys[key] ?? "");
    if (button && !button.hidden) button.click(); // a disabled button ignores it
  });
}

function show(what) {
  game.shown = what;
  for (const input of $("shown").querySelectorAll("input")) input.checked = input.value === what;
  render();
}

async function read(path) {
  const file = await fetch(path);
  if (!file.ok) throw new Error(`${path} cannot be loaded (${file.status})`);
  return file.json();
}

async function start() {
  const config = await read("config.json");
  about = await read(`${config.agent}game.json`);
  Object.assign(game, { persons: config.side, amount: config.simulations ?? about.simulations });
  document.title = `${about.title} against numzero`;
  $("title").textContent = about.title;
  $("where").textContent =
    config.engine === "worker"
      ? "The agent runs in this browser: one ONNX file with the networks and the whole search. Nothing leaves this machine."
      : "The agent runs in the program that serves this page, on this machine.";
  about.layout ??= {
    cells: "none",
    players: ["Player 1", "Player 2"],
    colours: ["orange", "blue"],
    pieces: "discs",
    places: [],
  };
  board =
    about.layout.cells === "none"
      ? makeText($("board"))
      : makeBoard($("board"), about.layout, about.actions, playAsPerson);
  makePlayers();
  makeSides();
  makeAmounts();
  listen();
  rules = await makePositions(config, about);
  game.positions = [await rules.start()];
  render();
  ask = await makeEngine({ ...config, agent: `${config.agent}agent.onnx` });
  proceed();
}

start().catch(fail);
