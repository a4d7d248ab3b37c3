// What numzero-agent does, as JSON on stdout. Reads { module, runtime, shipped, old, vectors, choices, cases } from stdin:
// the addresses of the module and of onnxruntime-node, four paths of agent.onnx, and golden cases of the first.

import { readFileSync } from "node:fs";

const given = JSON.parse(readFileSync(0, "utf-8"));
const before = Object.getOwnPropertyNames(globalThis).length;
const { Agent, RefusedError, ...others } = await import(given.module);
const clean = Object.getOwnPropertyNames(globalThis).length === before;
const { default: ort } = await import(given.runtime);

const load = (path) => Agent.load(ort, readFileSync(path));
const failure = async (work) => {
  try {
    await work();
  } catch (error) {
    return [error instanceof RefusedError, error.name, error.message];
  }
};
const agent = await load(given.shipped);
const positions = given.cases.map(({ observation }) => observation);
const legal = given.cases.map((each) => each.legal);
const batch = await agent.actBatch(positions, { legal, simulations: 16 });
const alone = await Promise.all(positions.map((each, row) => agent.act(each, { legal: legal[row], simulations: 16 })));
const none = Array(agent.numActions).fill(false);
const refused = await agent.actBatch(positions.slice(0, 2), { legal: [none, legal[1]] });
const failures = [
  await failure(() => agent.act(positions[0], { legal: none })),
  await failure(() => agent.act(positions[0].slice(1))),
  await failure(() => agent.act(positions[0], { simulations: 1.5 })),
  await failure(() => load(given.module.replace("file://", ""))),
];
const varied = await agent.act(positions[0], { legal: legal[0], noise: legal[0].map((_, action) => 50 * (action === 8)) });
const cut = await agent.act(positions[0], { legal: legal[0], simulations: 5000 });
const old = await load(given.old);
const vectors = await load(given.vectors);
const choices = await load(given.choices);
const ones = Array(24).fill(1);
const mask = ones.map((_, choice) => choice % 3 !== 1);
const places = Array.from({ length: choices.numCandidateDraws(4) }, (_, place) => Math.fround(place / 7) % 1);
const candidates = Array.from({ length: vectors.numCandidateDraws(4) }, (_, place) => Math.sin(place));
const observation = [0.5, 0.25];
console.log(
  JSON.stringify({
    exports: ["Agent", "RefusedError", ...Object.keys(others)].sort(),
    clean,
    members: Object.keys(agent).sort(),
    metadata: agent.metadata,
    shape: agent.observationShape,
    budgets: [agent.simulations, agent.maxSimulations, cut.visits.reduce((sum, visits) => sum + visits)],
    takesBatch: [agent.takesBatch, old.takesBatch],
    batch,
    alone,
    empty: await agent.actBatch([]),
    refused: refused.map((decision) => decision?.action ?? null),
    failures,
    varied: varied.action,
    old: await old.actBatch(positions.slice(0, 2), { legal: legal.slice(0, 2), simulations: 4 }),
    own: await vectors.act(observation, { simulations: 4 }),
    numDraws: [agent.numCandidateDraws(4), vectors.numCandidateDraws(4), vectors.numCandidateDraws()],
    numLegal: [agent.numLegal, vectors.numLegal, choices.numLegal],
    free: await choices.act(ones, { simulations: 4 }),
    masked: await choices.act(ones, { simulations: 4, legal: mask, candidates: places }),
    drawn: await vectors.act(observation, { simulations: 4, candidates }),
  }),
);
await agent.release();
