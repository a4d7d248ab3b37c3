// Moves from agent.onnx, with whichever onnxruntime it is handed: the search is inside the file.
//
// Importing this does nothing and needs nothing. Runs wherever onnxruntime-node, onnxruntime-web or another package of
// onnxruntime's JavaScript interface does.

const REFUSAL = "agent.onnx refuses the position: no action is legal, a factor has no choice, or a number is not finite";

/** What `act` throws where agent.onnx refuses a position. */
export class RefusedError extends Error {
  constructor() {
    super(REFUSAL);
    this.name = "RefusedError";
  }
}

/** Positions in, moves out; types and units: index.d.ts. */
export class Agent {
  /** `ort`: the module onnxruntime-node or onnxruntime-web. `content`: the bytes of agent.onnx. */
  static async load(ort, content, options = {}) {
    const bytes = content instanceof Uint8Array ? content : new Uint8Array(content);
    // Small networks: further threads only cost.
    const session = await ort.InferenceSession.create(bytes, { intraOpNumThreads: 1, ...options });
    return new Agent(ort, session, readMetadata(bytes));
  }

  #ort;
  #session;
  #noise;
  #last = Promise.resolve(); // one question at a time: a session of onnxruntime-web cannot run twice at once

  constructor(ort, session, metadata) {
    const [observation, legal, , noise] = session.inputMetadata;
    this.#ort = ort;
    this.#session = session;
    this.#noise = noise.name;
    this.metadata = metadata;
    this.observationShape = observation.shape.slice(1);
    this.numActions = noise.shape[1];
    this.numLegal = legal.shape[1];
    this.vectorSize = session.outputMetadata.find(({ name }) => name === "vector")?.shape[1] ?? 0;
    this.takesBatch = observation.shape[0] !== 1; // files from before they take batches are asked one by one
    this.simulations = Number(metadata.num_simulations);
    this.innerCandidates = Number(metadata.inner_candidates ?? 0);
    this.maxSimulations = Number(metadata.max_simulations);
  }

  /** The decision for one position; throws RefusedError. */
  async act(observation, options = {}) {
    const { legal, noise } = options;
    const [decision] = await this.actBatch([observation], {
      ...options,
      legal: legal && [legal],
      noise: noise && [noise],
    });
    if (decision === null) throw new RefusedError();
    return decision;
  }

  /** The decisions for many positions, searched side by side; null where a position is refused. */
  async actBatch(observations, { legal, noise, simulations = this.simulations, candidates } = {}) {
    const every = Array(this.numLegal).fill(1);
    const positions = observations.map((observation, row) => ({
      observation: checked(
        "observation",
        observation,
        this.observationShape.reduce((one, other) => one * other, 1),
      ),
      legal: checked("legal", legal?.[row] ?? every, this.numLegal),
      noise: checked("noise", noise?.[row] ?? Array(this.numActions).fill(0), this.numActions),
    }));
    if (!Number.isInteger(simulations)) throw new TypeError(`simulations must be a whole number; got ${simulations}`);
    const batches = this.takesBatch && positions.length ? [positions] : positions.map((position) => [position]);
    const decisions = [];
    for (const batch of batches) decisions.push(...(await this.#queued(() => this.#run(batch, simulations, candidates))));
    return decisions;
  }

  /** How many draws `candidates` has for so many simulations; 0 where actions are of a list. */
  numCandidateDraws(simulations = this.simulations) {
    return (this.numActions + simulations * this.innerCandidates) * this.vectorSize;
  }

  /** Let go of the file's memory. */
  async release() {
    await this.#queued(() => this.#session.release());
  }

  #queued(work) {
    const done = this.#last.then(work);
    this.#last = done.catch(() => {});
    return done;
  }

  async #run(batch, simulations, candidates) {
    const { Tensor } = this.#ort;
    const rows = batch.length;
    const numbers = (name) => Float32Array.from(batch.flatMap((position) => Array.from(position[name])));
    const found = await this.#session.run({
      observation: new Tensor("float32", numbers("observation"), [rows, ...this.observationShape]),
      legal: new Tensor("bool", Uint8Array.from(numbers("legal")), [rows, this.numLegal]),
      num_simulations: new Tensor("int64", BigInt64Array.of(BigInt(simulations)), [1]),
      [this.#noise]: new Tensor("float32", numbers("noise"), [rows, this.numActions]),
      ...(this.vectorSize && { candidate_noise: this.#candidates(candidates ?? []) }),
    });
    return batch.map((_, row) => this.#decision(found, row));
  }

  #candidates(draws) {
    const dims = [1, draws.length / this.vectorSize, this.vectorSize];
    return new this.#ort.Tensor("float32", Float32Array.from(draws), dims);
  }

  #decision({ action, visit_counts, q_values, value, line, vector, candidates }, row) {
    if (action.data[row] < 0) return null;
    const ofRow = ({ data }, size = this.numActions) => Array.from(data.subarray(row * size, (row + 1) * size));
    const decision = {
      action: action.data[row],
      value: value.data[row],
      visits: ofRow(visit_counts),
      q: ofRow(q_values),
      line: line ? ofRow(line, line.dims[1]).filter((move) => move >= 0) : [action.data[row]],
    };
    if (!this.vectorSize) return decision;
    const numbers = ofRow(candidates, this.numActions * this.vectorSize);
    const places = [...decision.visits.keys()].map((candidate) => candidate * this.vectorSize);
    const vectors = places.map((begin) => numbers.slice(begin, begin + this.vectorSize));
    return { ...decision, vector: ofRow(vector, this.vectorSize), candidates: vectors };
  }
}

function checked(name, numbers, count) {
  if (numbers.length !== count) throw new TypeError(`${name} must have ${count} numbers; got ${numbers.length}`);
  return numbers;
}

/** What the file says of itself, which onnxruntime's JavaScript interface does not tell: ModelProto's field 14. */
export function readMetadata(bytes) {
  const text = (content) => new TextDecoder().decode(content);
  const entries = [...fields(bytes)].filter(({ field }) => field === 14);
  return Object.fromEntries(
    entries.map(({ content }) => {
      const entry = Object.fromEntries([...fields(content)].map((part) => [part.field, part.content]));
      return [text(entry[1]), text(entry[2] ?? new Uint8Array())];
    }),
  );
}

/** The fields of a protobuf message: numbers, and the bytes of those that have any. */
function* fields(bytes) {
  let at = 0;
  const varint = () => {
    let number = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes[at++];
      if (byte === undefined) throw new RangeError("agent.onnx ends too early");
      number += (byte % 128) * scale;
      if (byte < 128) return number;
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    const kind = tag % 8;
    const size = kind === 2 ? varint() : ({ 1: 8, 5: 4 }[kind] ?? 0);
    if (kind === 0) varint();
    else if (kind > 5 || at + size > bytes.length) throw new RangeError("agent.onnx is no ONNX file");
    yield { field: Math.floor(tag / 8), content: bytes.subarray(at, at + size) };
    at += size;
  }
}
