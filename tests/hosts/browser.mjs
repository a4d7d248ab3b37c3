// Plays with the page in Chromium and reports, as JSON on stdout, what went wrong in each scenario: { name: report },
// report = { error, console, foreign, seconds, result }. Reads { chromium, played, fallback, static, agents, pictures } from stdin: the
// browser, the addresses of three servers of the page, the agents with golden cases, and a folder for screenshots.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { chromium } from "playwright-core";

const given = JSON.parse(readFileSync(0, "utf-8"));
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-component-update"];
FLAGS.push("--disable-background-networking", "--disable-sync", "--disable-dev-shm-usage");
const PHONE = { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 };
const DESKTOP = { viewport: { width: 1100, height: 760 } };
const ENDS = ["A draw.", "The agent wins."];
const browser = await chromium.launch({ executablePath: given.chromium, args: FLAGS });

// ---------------------------------------------------------------------------------------------- what one sees and does

const status = (page) => page.textContent("#status");
const marks = (page) => page.$$eval(".cell", (cells) => cells.map((cell) => cell.dataset.mark || "."));
const visits = (page) => page.$$eval(".visits:not([hidden]) span", (all) => all.map((each) => parseInt(each.firstChild.data)));
const free = async (page) => (await marks(page)).flatMap((mark, cell) => (mark === "." ? [cell] : []));
const press = (page, cell) => page.locator(".cell").nth(cell).click();

/** Until it is the person's move, or the game is over; the status line. */
async function settled(page) {
  const found = await page.waitForFunction(() => {
    const text = document.getElementById("status").textContent;
    return /Your move|draw|win|cannot think/.test(text) && text;
  });
  return found.jsonValue();
}

/** Make moves until the game is over; what the status line says then. */
async function playOut(page, move = press, choose = (cells) => cells[0]) {
  for (;;) {
    const text = await settled(page);
    if (!text.includes("Your move")) return text;
    await move(page, choose(await free(page)));
    await page.waitForFunction((before) => document.getElementById("status").textContent !== before, text);
  }
}

const choose = (page, group, label) => page.locator(`#${group} label`, { hasText: new RegExp(`^${label}$`) }).click();
const picture = (page, name) => page.screenshot({ path: `${given.pictures}/${name}.png`, fullPage: true });

// ---------------------------------------------------------------------------------------------- scenarios

const scenarios = {
  async mouse(page) {
    assert.equal(await settled(page), "Your move: you are X.");
    for (let game = 0; game < 4; game++) {
      const end = await playOut(page, press, (cells) => cells[(game * 7) % cells.length]);
      assert.ok(ENDS.includes(end), end);
      if (end === "A draw.") assert.deepEqual(await free(page), [], "a draw fills the board");
      await page.click("#new");
      assert.deepEqual(await free(page), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    }
  },

  async touch(page) {
    const tap = (_, cell) => page.locator(".cell").nth(cell).tap();
    assert.ok(ENDS.includes(await playOut(page, tap, (cells) => cells.at(-1))));
    await page.locator("#back").tap();
    assert.match(await settled(page), /Your move/);
    await page.locator("#side label").nth(1).tap();
    await settled(page);
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= 360), "the page is wider than a phone");
    const small = await page.$$eval("button:not([hidden]), .choices label", (all) =>
      all.filter((each) => each.getBoundingClientRect().height < 40).map((each) => each.textContent));
    assert.deepEqual(small, [], "targets too small for a finger");
    await picture(page, "phone");
    await page.emulateMedia({ colorScheme: "dark" });
    assert.equal(await page.evaluate(() => getComputedStyle(document.body).backgroundColor), "rgb(20, 24, 29)");
    await picture(page, "phone-dark");
  },

  async keyboard(page) {
    await settled(page);
    await page.keyboard.press("Tab");
    const focused = () => page.evaluate(() => document.activeElement.getAttribute("aria-label"));
    assert.equal(await focused(), "Cell 5: empty");
    await page.keyboard.press("ArrowUp");
    await page.keyboard.press("ArrowLeft");
    await page.keyboard.press("ArrowLeft"); // stays at the edge
    assert.equal(await focused(), "Cell 1: empty");
    const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineWidth);
    assert.equal(outline, "3px", "focus must be seen");
    await page.keyboard.press("Enter");
    await settled(page);
    assert.equal((await marks(page))[0], "X");
    await page.keyboard.press("u");
    assert.deepEqual(await free(page), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    const end = await playOut(page, (_, cell) => page.keyboard.press(String(cell + 1)), (cells) => cells[1] ?? cells[0]);
    assert.ok(ENDS.includes(end), end);
    await page.keyboard.press("n");
    assert.equal((await free(page)).length, 9);
    await page.keyboard.press("Tab");
    for (let i = 0; i < 3; i++) await page.keyboard.press("Tab"); // take back is disabled: hint, new game, side, strength
    await page.keyboard.press("ArrowRight");
    assert.equal(await page.evaluate(() => document.activeElement.value), "50");
    await page.keyboard.press("8"); // in a group of choices numbers are not moves
    assert.equal((await free(page)).length, 9);
  },

  async takeback(page) {
    await settled(page);
    assert.ok(await page.isDisabled("#back"));
    await press(page, 4);
    await settled(page);
    const after = await marks(page);
    assert.equal((await free(page)).length, 7);
    await press(page, (await free(page))[0]);
    await settled(page);
    await page.click("#back");
    assert.deepEqual(await marks(page), after);
    await page.click("#back");
    assert.equal((await free(page)).length, 9);
    await playOut(page);
    const end = await free(page);
    await page.click("#back"); // out of a finished game
    assert.match(await settled(page), /Your move/);
    assert.ok((await free(page)).length > end.length);
    await page.click("#new");
    await choose(page, "strength", 800);
    await press(page, 0);
    assert.equal(await status(page), "The agent is thinking …");
    await page.click("#back"); // while it thinks
    assert.equal(await status(page), "Your move: you are X.");
    await page.waitForTimeout(500);
    assert.equal((await free(page)).length, 9, "a thought that was taken back must not move");
    await choose(page, "side", "O, second");
    await choose(page, "strength", 8);
    assert.match(await settled(page), /Your move/);
    assert.ok(await page.isDisabled("#back"), "the agent's opening is not the person's to take back");
  },

  async sides(page) {
    await settled(page);
    await choose(page, "side", "O, second");
    assert.match(await settled(page), /^It took cell \d/);
    assert.equal((await free(page)).length, 8);
    assert.ok(ENDS.includes(await playOut(page)));
    await page.click("#new");
    await settled(page);
    await choose(page, "side", "X, first"); // in the middle of a game: now the agent moves for O
    await settled(page);
    assert.equal((await free(page)).length, 7);
    await page.click("#new");
    await choose(page, "side", "Watch both");
    assert.equal(await settled(page), "A draw.", "perfect play on both sides");
    await page.click("#back");
    assert.match(await status(page), /^Paused/);
    await page.keyboard.press("p");
    assert.equal(await settled(page), "A draw.");
  },

  async thought(page) {
    await settled(page);
    const seen = page.evaluate(() => new Promise((resolve) => {
      const found = [];
      new MutationObserver(() => {
        const text = document.getElementById("judgement").textContent;
        const shown = [...document.querySelectorAll(".visits:not([hidden]) span")];
        const total = shown.reduce((all, each) => all + parseInt(each.firstChild.data), 0);
        if (/^After/.test(text) && found.at(-1)?.[0] !== parseInt(text.slice(6))) found.push([parseInt(text.slice(6)), total]);
        if (found.length === 5) resolve(found);
      }).observe(document.getElementById("judgement"), { childList: true });
    }));
    await press(page, 4);
    assert.deepEqual(await seen, [[1, 1], [2, 2], [4, 4], [8, 8], [16, 16]], "budgets grow, and the board shows all visits");
    await settled(page);
    assert.deepEqual(await visits(page), [], "on the person's move the board is the person's");
    await picture(page, "desktop");
    await page.click("#hint");
    await page.waitForFunction(() => {
      const shown = [...document.querySelectorAll(".visits:not([hidden]) span")];
      return shown.reduce((all, each) => all + parseInt(each.firstChild.data), 0) === 16;
    });
    await picture(page, "desktop-hint");
    await page.click("#hint");
    assert.deepEqual(await visits(page), []);
    const labels = await page.$$eval("button, input", (all) => all.filter((each) => !each.hidden).length);
    assert.ok(labels >= 20);
    assert.match(await page.getAttribute("#balance", "aria-valuetext"), /No judgement|After|has won/);
    await choose(page, "strength", "0");
    await press(page, (await free(page))[0]);
    await settled(page);
    assert.match(await page.textContent("#judgement"), /^After 0 simulations/);
    await playOut(page);
    await picture(page, "desktop-end");
  },

  async golden(page) {
    for (const agent of given.agents) {
      const differing = await page.evaluate(async (name) => {
        const { makeEngine } = await import("./engine.mjs");
        const config = await (await fetch("config.json")).json();
        const ask = await makeEngine({ ...config, agent: `../../${name}/agent.onnx` });
        const { cases } = await (await fetch(`../../${name}/golden.json`)).json();
        const wrong = cases.length === 100 ? [] : [`${cases.length} cases`];
        const tolerance = Math.max(2e-4, 1e-5 * Math.max(...cases.map((each) => Math.abs(each.value))));
        for (const [number, each] of cases.entries()) {
          const found = await ask(each.observation, each.legal.map(Number), each.num_simulations);
          const same = found.action === each.action && found.visits.join() === each.visit_counts.join();
          if (!same || Math.abs(found.value - each.value) > tolerance) wrong.push([number, found, each]);
        }
        return wrong;
      }, agent);
      assert.deepEqual(differing, [], `golden cases of ${agent}`);
    }
  },

  async lines(page) {
    const lost = await page.evaluate(async ({ budget, share }) => {
      const { makeEngine } = await import("./engine.mjs");
      const rules = await import("./rules.mjs");
      const ask = await makeEngine(await (await fetch("config.json")).json());
      const known = new Map(); // by position: transpositions are asked once
      const [lost, counts] = [[], { games: 0, asked: 0 }];
      let random = 1;
      const takes = () => (random = (random * 16807) % 2147483647) < share * 2147483647;
      const answer = async (moves) => {
        const key = rules.observation(moves).join("");
        if (!known.has(key)) {
          counts.asked++;
          known.set(key, (await ask(rules.observation(moves), rules.legal(moves), budget)).action);
        }
        return known.get(key);
      };
      const walk = async (moves, agent) => {
        const over = rules.result(moves);
        if (over) {
          counts.games++;
          if (over.winner && over.winner !== agent) lost.push(moves);
        } else if (rules.mover(moves) === agent) {
          await walk([...moves, await answer(moves)], agent);
        } else {
          for (const [cell, allowed] of rules.legal(moves).entries()) {
            if (allowed && (moves.length < 2 || takes())) await walk([...moves, cell], agent);
          }
        }
      };
      await walk([], "X");
      await walk([], "O");
      return { lost, ...counts };
    }, given.lines);
    assert.deepEqual(lost.lost, [], "the agent must never lose");
    assert.ok(lost.games >= 20, `${lost.games} games`);
    return lost;
  },

  async fallback(page) {
    assert.equal(await settled(page), "Your move: you are X.");
    assert.match(await page.textContent("#where"), /program that serves/);
    assert.ok(ENDS.includes(await playOut(page)));
    await choose(page, "side", "Watch both");
    await page.click("#new");
    assert.equal(await settled(page), "A draw.");
  },

};

const SETTINGS = {
  touch: { context: PHONE },
  thought: { query: "?pace=60" },
  golden: { server: "static" },
  fallback: { server: "fallback" },
};

async function run(name, scenario) {
  const { server = "played", query = "?pace=0", context = DESKTOP } = SETTINGS[name] ?? {};
  const report = { error: null, console: [], foreign: [] };
  const started = performance.now();
  const opened = await browser.newContext(context);
  opened.setDefaultTimeout(60_000);
  const page = await opened.newPage();
  page.on("console", (message) => report.console.push(`${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => report.console.push(error.message));
  const own = new URL(given[server]).origin;
  opened.on("request", (request) => new URL(request.url()).origin === own || report.foreign.push(request.url()));
  try {
    await page.goto(given[server] + query);
    report.result = (await scenario(page)) ?? null;
  } catch (error) {
    report.error = error.message;
  }
  await opened.close();
  report.seconds = (performance.now() - started) / 1000;
  return report;
}

const reports = {};
for (const name of given.scenarios) reports[name] = await run(name, scenarios[name]);
await browser.close();
console.log(JSON.stringify(reports));
