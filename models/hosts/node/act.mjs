// A move from agent.onnx in Node.js, with onnxruntime-node alone: the search is inside the file.
//
// Each line of the input is a position: simulations, a 0 or 1 for each action (is it legal?), and the observation, row
// by row. Each line of the output is the answer: the action, its position's value, and the visits of each action.

import { createInterface } from "node:readline";

process.env.ORT_DISABLE_TELEMETRY ??= "1"; // before it is loaded: else the library reports to a Microsoft host
const ort = await import("onnxruntime-node");

export class Agent {
  static async load(path) {
    // Small networks: further threads only cost.
    return new Agent(await ort.InferenceSession.create(path, { intraOpNumThreads: 1 }));
  }

  constructor(session) {
    this.session = session;
    [this.observation, , , this.noise] = session.inputMetadata;
  }

  // The action, the value of the position to the player to move, and the visits of each action.
  async act(observation, legal, simulations) {
    const actions = [1, legal.length];
    const found = await this.session.run({
      observation: new ort.Tensor("float32", Float32Array.from(observation), this.observation.shape),
      legal: new ort.Tensor("bool", Uint8Array.from(legal), actions),
      num_simulations: new ort.Tensor("int64", BigInt64Array.of(BigInt(simulations)), [1]),
      // Noise: zeros play the best move, draws vary the play.
      [this.noise.name]: new ort.Tensor("float32", new Float32Array(legal.length), actions),
    });
    const [action, value] = [found.action.data[0], found.value.data[0]];
    return { action, value, visits: Array.from(found.visit_counts.data) };
  }
}

const agent = await Agent.load(process.argv[2]);
for await (const line of createInterface({ input: process.stdin })) {
  const [simulations, legal, ...observation] = line.split(" ");
  const { action, value, visits } = await agent.act(observation.map(Number), [...legal].map(Number), simulations);
  console.log(action, value.toFixed(5), ...visits);
}
