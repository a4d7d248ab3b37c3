// Runs agent.onnx in a Web Worker with onnxruntime-web: the search is inside the file, so this is all there is to it.
//
// First message: { agent, runtime }, addresses of agent.onnx and of the folder with onnxruntime-web's files; it is
// answered by { ready: true }. Every further message is a position
// { id, observation, legal, simulations } and is answered by { id, action, visits, q, value }. A failure anywhere is
// answered by { id, error }.

let ort, session;
let last = Promise.resolve(); // one question at a time: a session cannot run twice at once

self.onmessage = ({ data }) => (last = last.then(() => answer(data)));

async function answer(question) {
  try {
    self.postMessage({ id: question.id, ...(session ? await act(question) : await load(question)) });
  } catch (error) {
    self.postMessage({ id: question.id, error: String(error?.message ?? error) });
  }
}

async function load({ agent, runtime }) {
  const missing = () => Promise.reject(new Error(`onnxruntime-web is not in ${runtime}; npm install gets it`));
  ort = await import(new URL("ort.wasm.min.mjs", runtime)).catch(missing);
  ort.env.wasm.wasmPaths = runtime;
  ort.env.wasm.numThreads = 1; // small networks: further threads only cost, and need special headers
  const file = await fetch(agent);
  if (!file.ok) throw new Error(`${agent} cannot be loaded (${file.status})`);
  session = await ort.InferenceSession.create(await file.arrayBuffer(), { executionProviders: ["wasm"] });
  return { ready: true };
}

async function act({ observation, legal, simulations }) {
  const [seen, , , noise] = session.inputMetadata;
  const actions = [1, legal.length];
  const found = await session.run({
    observation: new ort.Tensor("float32", Float32Array.from(observation), seen.shape),
    legal: new ort.Tensor("bool", Uint8Array.from(legal), actions),
    num_simulations: new ort.Tensor("int64", BigInt64Array.of(BigInt(simulations)), [1]),
    // Noise: zeros play the best move, draws vary the play.
    [noise.name]: new ort.Tensor("float32", new Float32Array(legal.length), actions),
  });
  return {
    action: found.action.data[0],
    visits: Array.from(found.visit_counts.data),
    q: Array.from(found.q_values.data), // NaN where the search never looked
    value: found.value.data[0],
  };
}
