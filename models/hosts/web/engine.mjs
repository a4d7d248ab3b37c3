// What answers the page's questions: the worker, or the program that serves the page where the browser cannot.

/** A function (observation, legal, simulations) => Promise of { action, visits, q, value, line }, ready to be asked. */
export async function makeEngine({ engine, agent, module, runtime }) {
  if (engine === "server") return askServer;
  const here = (path) => new URL(path, document.baseURI).href;
  return askWorker({ agent: here(agent), module: here(module), runtime: here(runtime) });
}

async function askWorker(addresses) {
  const worker = new Worker(new URL("worker.mjs", import.meta.url), { type: "module" });
  const waiting = new Map();
  let last = 0;
  const ask = (question) =>
    new Promise((resolve, reject) => {
      waiting.set(++last, { resolve, reject });
      worker.postMessage({ id: last, ...question });
    });
  worker.onmessage = ({ data: { id, error, ...answer } }) => {
    const { resolve, reject } = waiting.get(id);
    waiting.delete(id);
    if (error) reject(new Error(error));
    else resolve(answer);
  };
  worker.onerror = (event) => {
    for (const { reject } of waiting.values()) reject(new Error(event.message ?? "the worker could not start"));
    waiting.clear();
  };
  await ask(addresses);
  return (observation, legal, simulations) => ask({ observation, legal, simulations });
}

async function askServer(observation, legal, simulations) {
  const body = JSON.stringify({ observation, legal, simulations });
  const answer = await fetch("act", { method: "POST", headers: { "Content-Type": "application/json" }, body });
  if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
  const { q, ...rest } = await answer.json();
  return { ...rest, q: q.map((value) => value ?? NaN) };
}
