// Plays with the page in Chromium and reports, as JSON on stdout, what went wrong in each scenario: { name: report },
// report = { error, console, foreign, seconds, result }. Reads { chromium, servers, agents, pictures, scenarios, lines } from
// stdin: the browser, the addresses of servers of the page by name, the agents with golden cases, a folder for screenshots.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { chromium } from "playwright-core";

const given = JSON.parse(readFileSync(0, "utf-8"));
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-component-update"];
FLAGS.push("--disable-background-networking", "--disable-sync", "--disable-dev-shm-usage");
const PHONE = { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 };
const DESKTOP = { viewport: { width: 1100, height: 760 } };
const ENDS = ["A draw.", "The agent wins."];
const ALL_ENDS = [...ENDS, "You win!"];
const browser = await chromium.launch({ executablePath: given.chromium, args: FLAGS });

// ---------------------------------------------------------------------------------------------- what one sees and does

const status = (page) => page.textContent("#status");
const marks = (page) => page.$$eval("button.cell", (cells) => cells.map((cell) => ".XO"[Number(cell.dataset.stone)]));
const visits = (page) => page.$$eval(".visits .many", (all) => all.map((each) => parseInt(each.textContent)));
const free = async (page) => (await marks(page)).flatMap((mark, cell) => (mark === "." ? [cell] : []));
const press = (page, cell) => page.locator("button.cell").nth(cell).click();

/** Until it is the person's move, or the game is over; the status line. */
async function settled(page) {
  const found = await page.waitForFunction(() => {
    const text = document.getElementById("status").textContent;
    return /Your move|must pass|draw|win|cannot think/.test(text) && text;
  });
  return found.jsonValue();
}

/** Make moves until the game is over; what the status line says then. */
async function playOut(page, move = press, choose = (cells) => cells[0]) {
  for (;;) {
    const text = await settled(page);
    if (!text.includes("Your move")) return text;
    const before = await page.locator("#record li").count();
    await move(page, choose(await free(page)));
    await page.waitForFunction((before) => document.querySelectorAll("#record li").length > before, before);
  }
}

/** Make random moves by mouse until the game is over; what the status line says then, and how many moves there were. */
async function playOutAtRandom(page, seed) {
  let random = seed;
  const draw = (many) => (random = (random * 48271) % 2147483647) % many;
  for (let moves = 0; ; moves++) {
    const text = await settled(page);
    if (!/Your move|must pass/.test(text)) return { text, moves };
    const before = await page.locator("#record li").count();
    const pressed = () => page.locator('button.cell[aria-disabled="false"]');
    if ((await page.locator("#beside button:enabled").count()) && !(await pressed().count()))
      await page.click("#beside button:enabled");
    else {
      await pressed()
        .nth(draw(await pressed().count()))
        .click();
      if (await page.locator(".held").count()) {
        const targets = page.locator("button.cell.target");
        await targets.nth(draw(await targets.count())).click();
      }
    }
    await page.waitForFunction((before) => document.querySelectorAll("#record li").length > before, before);
  }
}

const choose = (page, group, label) => page.locator(`#${group} label`, { hasText: new RegExp(`^${label}$`) }).click();
const picture = async (page, name) =>
  given.pictures && page.screenshot({ path: `${given.pictures}/${name}.png`, fullPage: true });

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
    const tap = (_, cell) => page.locator("button.cell").nth(cell).tap();
    assert.ok(ENDS.includes(await playOut(page, tap, (cells) => cells.at(-1))));
    await page.locator("#back").tap();
    assert.match(await settled(page), /Your move/);
    await page.locator("#side label").nth(1).tap();
    await settled(page);
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= 360), "the page is wider than a phone");
    const small = await page.$$eval(".buttons button:not([hidden]), .choices label", (all) =>
      all.filter((each) => each.getBoundingClientRect().height < 40).map((each) => each.textContent),
    );
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
    const end = await playOut(
      page,
      (_, cell) => page.keyboard.press(String(cell + 1)),
      (cells) => cells[1] ?? cells[0],
    );
    assert.ok(ENDS.includes(end), end);
    await page.keyboard.press("n");
    assert.equal((await free(page)).length, 9);
    await page.keyboard.press("Tab");
    for (let i = 0; i < 4; i++) await page.keyboard.press("Tab"); // take back is disabled: hint, new game, side, unit, strength
    await page.keyboard.press("ArrowRight");
    assert.equal(await page.evaluate(() => document.activeElement.value), "50");
    await page.keyboard.press("8"); // in a group of choices numbers are not moves
    assert.equal((await free(page)).length, 9);
    await page.route("**/game.json", async (route) => {
      const about = await (await route.fetch()).json();
      await route.fulfill({ json: { ...about, actions: ["n", ...about.actions.slice(1)] } });
    });
    await page.reload();
    await settled(page);
    await page.keyboard.press("n"); // a move of that name is no new game too
    await page.waitForFunction(() => document.querySelectorAll("#record li").length > 0);
    assert.equal((await marks(page))[0], "X");
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
    assert.ok(await page.isHidden("#thought"), "a thought about moves that were taken back is gone");
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
    assert.match(await settled(page), /^It played \d/);
    assert.equal((await free(page)).length, 8);
    assert.ok(ENDS.includes(await playOut(page)));
    await page.click("#new");
    await settled(page);
    await choose(page, "side", "X, first"); // in the middle of a game: now the agent moves for O
    await settled(page);
    assert.equal((await free(page)).length, 7);
    await page.click("#new");
    await choose(page, "side", "Neither");
    assert.equal(await settled(page), "A draw.", "perfect play on both sides");
    await page.click("#back");
    assert.match(await status(page), /^Paused/);
    await page.keyboard.press("p");
    assert.equal(await settled(page), "A draw.");
  },

  async thought(page) {
    await settled(page);
    const seen = page.evaluate(
      () =>
        new Promise((resolve) => {
          const found = [];
          new MutationObserver(() => {
            const text = document.getElementById("judgement").textContent;
            const shown = [...document.querySelectorAll(".visits .many")];
            const total = shown.reduce((all, each) => all + parseInt(each.textContent), 0);
            if (/^After/.test(text) && found.at(-1)?.[0] !== parseInt(text.slice(6)))
              found.push([parseInt(text.slice(6)), total]);
            if (found.length === 5) resolve(found);
          }).observe(document.getElementById("judgement"), { childList: true });
        }),
    );
    await press(page, 4);
    assert.deepEqual(
      await seen,
      [
        [1, 1],
        [2, 2],
        [4, 4],
        [8, 8],
        [16, 16],
      ],
      "budgets grow, and the board shows all visits",
    );
    await settled(page);
    assert.deepEqual(await visits(page), [], "on the person's move the board is the person's");
    await picture(page, "desktop");
    await page.click("#hint");
    await page.waitForFunction(() => {
      const shown = [...document.querySelectorAll(".visits .many")];
      return shown.reduce((all, each) => all + parseInt(each.textContent), 0) === 16;
    });
    await picture(page, "desktop-hint");
    await choose(page, "shown", "Line");
    const ghosts = await page.$$eval(".ghost .number", (all) => all.map((each) => Number(each.textContent)));
    assert.ok(ghosts.length >= 2 && ghosts.every((number, step) => number === step + 1), `ghosts ${ghosts}`);
    assert.match(await page.textContent("#line"), /^It expects \d( \d)+\.$/);
    await picture(page, "desktop-line");
    await page.keyboard.press("v"); // nothing
    assert.deepEqual([...(await visits(page)), await page.locator(".ghost").count()], [0]);
    await page.keyboard.press("v"); // visits
    await page.click("#hint");
    assert.deepEqual(await visits(page), []);
    const labels = await page.$$eval("button, input", (all) => all.filter((each) => !each.hidden).length);
    assert.ok(labels >= 20);
    const unnamed = await page.$$eval("button, svg[role=img], [role=img], [role=grid], [role=meter]", (all) =>
      all.filter((each) => !(each.ariaLabel || each.textContent.trim())).map((each) => each.outerHTML),
    );
    assert.deepEqual(unnamed, [], "all that is pressed or seen has a name");
    assert.match(await page.getAttribute("#balance", "aria-valuetext"), /No judgement|After|has won/);
    await choose(page, "strength", "0");
    await press(page, (await free(page))[0]);
    await settled(page);
    assert.match(await page.textContent("#judgement"), /^After 0 simulations/);
    await choose(page, "unit", "By seconds");
    await choose(page, "amount", "0.2 s");
    if (/Your move/.test(await settled(page))) {
      await press(page, (await free(page))[0]);
      await settled(page);
    }
    const simulations = () => page.textContent("#judgement").then((text) => Number(/After (\d+)/.exec(text)?.[1] ?? 1));
    assert.ok((await simulations()) >= 1);
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
      const { makePositions } = await import("./positions.mjs");
      const config = await (await fetch("config.json")).json();
      const rules = await makePositions(config, await (await fetch(`${config.agent}game.json`)).json());
      const ask = await makeEngine({ ...config, agent: `${config.agent}agent.onnx` });
      const known = new Map(); // by position: transpositions are asked once
      const [lost, counts] = [[], { games: 0, asked: 0 }];
      let random = 1;
      const takes = () => (random = (random * 16807) % 2147483647) < share * 2147483647;
      const answer = async ({ observation, legal }) => {
        const key = observation.join("");
        if (!known.has(key)) {
          counts.asked++;
          known.set(key, (await ask(observation, legal, budget)).action);
        }
        return known.get(key);
      };
      const walk = async (position, moves, agent) => {
        const { over, player, legal } = position;
        const go = async (cell) => walk(await rules.play(position, cell), [...moves, cell], agent);
        if (over) {
          counts.games++;
          if (over.winner !== null && over.winner !== agent) lost.push(moves);
        } else if (player === agent) {
          await go(await answer(position));
        } else {
          for (const [cell, allowed] of legal.entries()) if (allowed && (moves.length < 2 || takes())) await go(cell);
        }
      };
      await walk(await rules.start(), [], 0);
      await walk(await rules.start(), [], 1);
      return { lost, ...counts };
    }, given.lines);
    assert.deepEqual(lost.lost, [], "the agent must never lose");
    assert.ok(lost.games >= 20, `${lost.games} games`);
    return lost;
  },

  async refused(page) {
    const text = await (
      await page.waitForFunction(() => {
        const text = document.getElementById("status").textContent;
        return !text.startsWith("Loading") && text;
      })
    ).jsonValue();
    assert.match(text, /^.*no rules for pages; play --web asks the program that serves the page\.$/);
  },

  async exported(page) {
    assert.equal(await settled(page), "Your move: you are Black.");
    const { text } = await playOutAtRandom(page, 3);
    assert.ok(ALL_ENDS.includes(text), text);
  },

  async fallback(page) {
    assert.equal(await settled(page), "Your move: you are X.");
    assert.match(await page.textContent("#where"), /program that serves/);
    await page.evaluate(() => {
      const own = window.fetch;
      window.fetch = async () => {
        window.fetch = own; // one request fails
        throw new Error("lost");
      };
    });
    await press(page, 4);
    assert.equal(await settled(page), "The agent cannot think: lost");
    await page.click("#new");
    assert.equal(await status(page), "Your move: you are X.");
    assert.ok(ENDS.includes(await playOut(page)));
    await choose(page, "side", "Neither");
    await page.click("#new");
    assert.equal(await settled(page), "A draw.");
  },

  connectfour: (page) => played(page, "connectfour"),
  othello: (page) => played(page, "othello"),
  hex: (page) => played(page, "hex"),
  go: (page) => played(page, "go"),
  gomoku: (page) => played(page, "gomoku"),
  breakthrough: (page) => played(page, "breakthrough"),
  text: (page) => played(page, "text"),
};

/** A whole game at random, with pictures of its middle, of its end, of a thought and of a line, in both widths and colours. */
async function played(page, name) {
  await settled(page);
  await choose(page, "amount", 8);
  const { text, moves } = await playOutAtRandom(page, 1);
  assert.ok(ALL_ENDS.includes(text), text);
  const views = async (stage) => {
    for (const width of [1280, 360]) {
      await page.setViewportSize({ width, height: width === 360 ? 740 : 800 });
      assert.ok(
        await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth),
        `${stage}: wider than ${width}`,
      );
      for (const colorScheme of ["light", "dark"]) {
        await page.emulateMedia({ colorScheme });
        await picture(page, `${name}-${stage}-${width}-${colorScheme}`);
      }
    }
  };
  await views("end");
  for (let back = 0; back < moves / 2; back++) await page.click("#back");
  await settled(page);
  await choose(page, "amount", 50);
  await page.click("#hint");
  await page.waitForFunction(() => /After 50/.test(document.getElementById("judgement").textContent));
  await views("visits");
  await choose(page, "shown", "Line");
  await views("line");
  return { text, moves };
}

const SETTINGS = {
  touch: { context: PHONE },
  thought: { query: "?pace=60" },
  golden: { server: "static" },
  fallback: { server: "fallback" },
  exported: { server: "exported" },
  refused: { server: "refused" },
  ...Object.fromEntries(
    ["connectfour", "othello", "hex", "go", "gomoku", "breakthrough", "text"].map((name) => [name, { server: name }]),
  ),
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
  const own = new URL(given.servers[server]).origin;
  opened.on("request", (request) => new URL(request.url()).origin === own || report.foreign.push(request.url()));
  try {
    await page.goto(given.servers[server] + query);
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
