// The page: a game, what the agent thinks of it, and the buttons. All rules are in rules.mjs, all thinking in engine.mjs.

import { makeEngine } from "./engine.mjs";
import * as rules from "./rules.mjs";

const STRENGTHS = [0, 8, 16, 50, 200, 800];
const MARKS = {
  X: '<svg class="x" viewBox="0 0 100 100" aria-hidden="true"><path d="M14 14l72 72M86 14l-72 72" /></svg>',
  O: '<svg class="o" viewBox="0 0 100 100" aria-hidden="true"><circle cx="50" cy="50" r="37" /></svg>',
  "": "",
};
const ARROWS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

const $ = (id) => document.getElementById(id);
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const signed = (value) => (Math.abs(value) < 0.005 ? "" : value < 0 ? "−" : "+") + Math.abs(value).toFixed(2);
/** Milliseconds for which each stage of a thought is shown at least; ?pace=0 plays as fast as it can. */
const pace = Number(
  new URLSearchParams(location.search).get("pace") ??
    (matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 120),
);

/** side: the player whose moves a person makes, "" for nobody. thought: the agent's latest, see `think`. */
const game = { moves: [], side: "X", simulations: 16, paused: false, hint: false, thought: null };
let ask = null; // set once the agent is loaded
let failure = "";
let turn = 0; // changes whenever a thought in progress no longer matters

const isOver = () => rules.result(game.moves) !== null;
const isPersons = () => rules.mover(game.moves) === game.side;

// ------------------------------------------------------------------------------------------------- what happens

/** Show the position; if it is the agent's move, or a hint is wanted, let it think, and move. */
async function proceed() {
  const mine = ++turn;
  render();
  if (!ask || isOver() || game.paused || (isPersons() && !game.hint)) return;
  try {
    await think(mine);
  } catch (error) {
    fail(error);
  }
  if (mine !== turn || failure || isPersons()) return;
  await sleep(game.side ? pace : 4 * pace);
  if (mine === turn) play(game.thought.action);
}

/** Search with growing budgets, so that the thought can be watched; the last one decides. */
async function think(mine) {
  for (const simulations of stages(game.simulations)) {
    const position = [rules.observation(game.moves), rules.legal(game.moves)];
    const [answer] = await Promise.all([ask(...position, simulations), sleep(pace)]);
    if (mine !== turn) return;
    game.thought = { ...answer, simulations, at: game.moves.join(), by: rules.mover(game.moves) };
    render();
  }
}

function stages(simulations) {
  const budgets = [];
  for (let budget = 1; budget < simulations; budget *= 2) budgets.push(budget);
  return [...budgets, simulations];
}

function play(cell) {
  game.moves.push(cell);
  game.hint = false;
  proceed();
}

function playAsPerson(cell) {
  if (ask && isPersons() && rules.legal(game.moves)[cell]) play(cell);
}

/** How many moves remain after taking back: up to the person's latest choice, or one less where nobody plays. */
function remaining() {
  for (let left = game.moves.length - 1; left >= 0; left--) {
    if (!game.side || rules.mover(Array(left)) === game.side) return left;
  }
  return null;
}

function takeBack() {
  const left = remaining();
  if (left === null) return;
  game.moves.length = left;
  game.hint = false;
  game.paused = !game.side;
  proceed();
}

function newGame() {
  Object.assign(game, { moves: [], paused: false, hint: false, thought: null });
  proceed();
}

function fail(error) {
  failure = error.message;
  render();
}

// ------------------------------------------------------------------------------------------------- what is shown

function render() {
  const over = rules.result(game.moves);
  const shown = game.thought?.at === game.moves.join() && !over ? game.thought : null;
  renderBoard(over, shown);
  renderJudgement(over);
  renderThought();
  const status = failure ? `The agent cannot think: ${failure}` : statusLine(over);
  if ($("status").textContent !== status) $("status").textContent = status; // screen readers repeat what is set
  $("status").classList.toggle("failed", failure !== "");
  $("back").disabled = remaining() === null;
  $("hint").disabled = !ask || over !== null || !isPersons();
  $("hint").setAttribute("aria-pressed", String(game.hint));
  $("pause").hidden = game.side !== "" || over !== null;
  $("pause").firstChild.data = game.paused ? "Go on " : "Pause ";
}

function statusLine(over) {
  if (!ask) return "Loading the agent …";
  if (over) {
    if (!over.winner) return "A draw.";
    if (!game.side) return `${over.winner} wins.`;
    return over.winner === game.side ? "You win!" : "The agent wins.";
  }
  if (!game.side) return game.paused ? `Paused: ${rules.mover(game.moves)} to move.` : "The agent plays both sides.";
  if (!isPersons()) return "The agent is thinking …";
  const last = game.moves.at(-1);
  return last === undefined ? `Your move: you are ${game.side}.` : `It took cell ${last + 1}. Your move.`;
}

function renderBoard(over, thought) {
  const cells = rules.board(game.moves);
  const total = thought ? Math.max(1, thought.visits.reduce((sum, visits) => sum + visits)) : 1;
  const legal = rules.legal(game.moves);
  $("board").classList.toggle("over", over !== null);
  [...$("board").children].forEach((button, cell) => {
    const seen = thought && legal[cell] ? thought : null;
    if (button.dataset.mark !== cells[cell]) {
      button.dataset.mark = cells[cell];
      button.firstChild.innerHTML = MARKS[cells[cell]];
    }
    button.className = "cell";
    button.classList.toggle("last", cell === game.moves.at(-1));
    if (over?.line.includes(cell)) button.classList.add("won", `by-${over.winner.toLowerCase()}`);
    button.setAttribute("aria-disabled", String(!legal[cell] || !isPersons()));
    const worth = seen && !Number.isNaN(seen.q[cell]) ? `, worth ${signed(seen.q[cell])}` : "";
    const visits = seen ? `, ${seen.visits[cell]} of ${total} visits${worth}` : "";
    button.setAttribute("aria-label", `Cell ${cell + 1}: ${cells[cell] || "empty"}${visits}`);
    renderVisits(button.lastChild, seen, cell, total);
  });
}

function renderVisits(overlay, thought, cell, total) {
  overlay.hidden = !thought || (!thought.visits[cell] && thought.action !== cell);
  if (overlay.hidden) return;
  overlay.className = `visits by-${thought.by.toLowerCase()}`;
  overlay.classList.toggle("best", cell === thought.action);
  overlay.style.setProperty("--share", thought.visits[cell] / total);
  const worth = Number.isNaN(thought.q[cell]) ? "" : signed(thought.q[cell]);
  overlay.firstChild.replaceChildren(String(thought.visits[cell]), element("small", worth));
}

function renderJudgement(over) {
  const { thought } = game;
  const forX = over ? { X: 1, O: -1, "": 0 }[over.winner] : thought ? thought.value * (thought.by === "X" ? 1 : -1) : 0;
  const bounded = Math.max(-1, Math.min(1, forX));
  $("needle").style.left = `${50 - 50 * bounded}%`;
  let text = "No judgement yet.";
  if (over) text = over.winner ? `${over.winner} has won.` : "Nobody has won.";
  else if (thought) {
    const leads = Math.abs(forX) < 0.05 ? "even" : `${forX > 0 ? "X" : "O"} ahead by ${Math.abs(forX).toFixed(2)}`;
    text = `After ${thought.simulations} simulation${thought.simulations === 1 ? "" : "s"}: ${leads}.`;
  }
  $("judgement").textContent = text;
  $("balance").setAttribute("aria-valuenow", bounded.toFixed(2));
  $("balance").setAttribute("aria-valuetext", text);
}

function renderThought() {
  const { thought } = game;
  $("idle").hidden = thought !== null;
  $("thought").hidden = thought === null;
  if (!thought) return;
  const most = Math.max(1, ...thought.visits);
  const tried = [...thought.visits.keys()].filter((cell) => thought.visits[cell] || cell === thought.action);
  tried.sort((a, b) => thought.visits[b] - thought.visits[a] || a - b);
  const body = $("thought").tBodies[0];
  body.className = `by-${thought.by.toLowerCase()}`;
  body.replaceChildren(...tried.map((cell) => thoughtRow(thought, cell, most)));
}

function thoughtRow(thought, cell, most) {
  const row = document.createElement("tr");
  row.classList.toggle("chosen", cell === thought.action);
  const [share, bar] = [element("td", ""), element("div", "")];
  share.className = "bar";
  bar.style.width = `${(100 * thought.visits[cell]) / most}%`;
  share.append(bar);
  const worth = Number.isNaN(thought.q[cell]) ? "–" : signed(thought.q[cell]);
  row.append(element("td", String(cell + 1)), element("td", String(thought.visits[cell])), share, element("td", worth));
  return row;
}

function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

// ------------------------------------------------------------------------------------------------- what is heard

function makeBoard() {
  const buttons = [...Array(9).keys()].map((cell) => {
    const button = document.createElement("button");
    const overlay = element("div", "");
    overlay.append(document.createElement("span"));
    overlay.ariaHidden = "true"; // the button's label says it
    button.append(document.createElement("div"), overlay);
    button.type = "button";
    button.tabIndex = cell === 4 ? 0 : -1; // one stop for the Tab key, arrows inside
    button.firstChild.className = "mark-of";
    button.addEventListener("click", () => playAsPerson(cell));
    button.addEventListener("focus", () => buttons.forEach((each) => (each.tabIndex = each === button ? 0 : -1)));
    return button;
  });
  $("board").append(...buttons);
  $("board").addEventListener("keydown", (event) => {
    const step = ARROWS[event.key];
    if (!step) return;
    event.preventDefault();
    const at = buttons.indexOf(document.activeElement);
    const [row, column] = [Math.floor(at / 3) + step[0], (at % 3) + step[1]];
    if (row >= 0 && row < 3 && column >= 0 && column < 3) buttons[3 * row + column].focus();
  });
}

function makeChoices(simulations) {
  const offered = [...new Set([...STRENGTHS, simulations])].sort((a, b) => a - b);
  $("strength").querySelector(".choices").replaceChildren(
    ...offered.map((budget) => {
      const [label, input] = [document.createElement("label"), document.createElement("input")];
      Object.assign(input, { type: "radio", name: "strength", value: String(budget), checked: budget === simulations });
      label.append(input, element("span", String(budget)));
      return label;
    }),
  );
  for (const input of $("side").querySelectorAll("input")) input.checked = input.value === game.side;
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
    Object.assign(game, { side: event.target.value, paused: false, hint: false });
    proceed();
  });
  $("strength").addEventListener("change", (event) => {
    game.simulations = Number(event.target.value);
    proceed();
  });
  const keys = { u: "back", n: "new", h: "hint", p: "pause" };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.target instanceof HTMLInputElement) return;
    if (/^[1-9]$/.test(event.key)) playAsPerson(Number(event.key) - 1);
    const button = $(keys[event.key.toLowerCase()] ?? "");
    if (button && !button.hidden) button.click(); // a disabled button ignores it
  });
}

async function start() {
  makeBoard();
  const config = await (await fetch("config.json")).json();
  Object.assign(game, { side: config.side, simulations: config.simulations });
  $("where").textContent =
    config.engine === "worker"
      ? "The agent runs in this browser: one ONNX file with the networks and the whole search. Nothing leaves this machine."
      : "The agent runs in the program that serves this page, on this machine.";
  makeChoices(config.simulations);
  listen();
  render();
  ask = await makeEngine(config);
  proceed();
}

start().catch(fail);
