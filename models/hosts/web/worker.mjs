// Runs agent.onnx in a Web Worker with onnxruntime-web and numzero-agent.
//
// First message: { agent, module, runtime }, addresses of agent.onnx, of numzero-agent's index.mjs and of the folder
// with onnxruntime-web's files; it is answered by { ready: true }. Every further message is a position
// { id, observation, legal, simulations } and is answered by { id, action, visits, q, value, line }. A failure anywhere
// is answered by { id, error }.

let agent; // a promise, from the first message on

self.onmessage = async ({ data: { id, ...question } }) => {
  try {
    self.postMessage({ id, ...(agent ? await act(question) : await begin(question)) });
  } catch (error) {
    self.postMessage({ id, error: String(error?.message ?? error) });
  }
};

async function begin(addresses) {
  agent = load(addresses);
  await agent;
  return { ready: true };
}

async function load({ agent: address, module, runtime }) {
  const { Agent } = await import(module);
  const missing = () => Promise.reject(new Error(`onnxruntime-web is not in ${runtime}; npm install gets it`));
  const ort = await import(new URL("ort.wasm.min.mjs", runtime)).catch(missing);
  ort.env.wasm.wasmPaths = runtime;
  ort.env.wasm.numThreads = 1; // small networks: further threads only cost, and need special headers
  const file = await fetch(address);
  if (!file.ok) throw new Error(`${address} cannot be loaded (${file.status})`);
  return Agent.load(ort, await file.arrayBuffer(), { executionProviders: ["wasm"] });
}

async function act({ observation, legal, simulations }) {
  return (await agent).act(observation, { legal, simulations: Number(simulations) });
}
