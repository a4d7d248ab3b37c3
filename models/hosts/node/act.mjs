// A move from agent.onnx in Node.js, with onnxruntime-node and numzero-agent, the module beside this folder.
//
// Each line of the input is a position: simulations, a 0 or 1 for each action (is it legal?), and the observation, row
// by row. Each line of the output is the answer: the action, its position's value, and the visits of each action. Where
// actions are vectors, candidates stand for them, and the answer begins with the numbers of one, by commas; where these
// are choices, legal has a 0 or 1 for each choice of each factor.

import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { Agent, RefusedError } from "../numzero-agent/index.mjs";

process.env.ORT_DISABLE_TELEMETRY ??= "1"; // before it is loaded: else the library reports to a Microsoft host
const ort = await import("onnxruntime-node");

const agent = await Agent.load(ort, await readFile(process.argv[2]));
try {
  for await (const line of createInterface({ input: process.stdin })) {
    const [simulations, legal, ...observation] = line.split(" ");
    const asked = { legal: Array.from(legal, Number), simulations: Number(simulations) };
    const { action, vector, value, visits } = await agent.act(observation.map(Number), asked);
    console.log(vector ? vector.join() : action, value.toFixed(5), ...visits);
  }
} catch (error) {
  if (!(error instanceof RefusedError)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}
