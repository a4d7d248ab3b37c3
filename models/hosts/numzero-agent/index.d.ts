/** What the module needs of onnxruntime-node, onnxruntime-web or the like: pass the module itself. */
export interface Runtime {
  InferenceSession: { create(content: Uint8Array, options?: object): Promise<unknown> };
  Tensor: new (type: any, data: any, dims: readonly number[]) => unknown;
}

export interface Options {
  /**
   * For each action whether it may be played, as booleans or 0 and 1; all may unless it is given. Where actions are
   * vectors of choices, for each choice of each factor, one behind the other.
   */
  legal?: ArrayLike<boolean | number>;
  /** Search budget: 0 plays the bare policy, more than `maxSimulations` is cut to it; the agent's own unless given. */
  simulations?: number;
  /** For each action: a draw of Gumbel noise, or of root noise where the agent searches by pUCT. None: the best move. */
  noise?: ArrayLike<number>;
  /**
   * Where actions are vectors: `numCandidateDraws` draws of which candidates are made, normal ones, or of choices from
   * 0 on and below 1; all of them finite. None: the same each time, those of `Agent.act` in Python.
   */
  candidates?: ArrayLike<number>;
}

export interface BatchOptions {
  /** For each position, as in `Options`. */
  legal?: ReadonlyArray<ArrayLike<boolean | number>>;
  /** One budget for all. */
  simulations?: number;
  /** For each position, as in `Options`. */
  noise?: ReadonlyArray<ArrayLike<number>>;
  /** One for all, as in `Options`. */
  candidates?: ArrayLike<number>;
}

export interface Decision {
  /** The number of the action to play; where actions are vectors, of a candidate. */
  action: number;
  /** Where actions are vectors, the one to play, in the environment's units; of choices their numbers, from 0. */
  vector?: number[];
  /** Where actions are vectors, those that visits and q are of. */
  candidates?: number[][];
  /** Of the position, to the player to move. */
  value: number;
  /** For each action how often the search tried it. */
  visits: number[];
  /** For each action what the search thinks it is worth; NaN where it never looked. */
  q: number[];
  /** The line that it expects, from `action` on, up to 8 moves; of an older file `action` alone. */
  line: number[];
}

/**
 * What `act` throws where agent.onnx refuses a position: no action is legal, a factor of choices has none, or a number
 * is not finite.
 */
export class RefusedError extends Error {}

/** An agent: positions in, moves out. Questions wait for one another. */
export class Agent {
  /**
   * @param ort the module onnxruntime-node or onnxruntime-web
   * @param content the bytes of agent.onnx
   * @param options of its `InferenceSession.create`
   */
  static load(ort: Runtime, content: Uint8Array | ArrayBuffer, options?: object): Promise<Agent>;
  private constructor();
  /** What the file says of itself: game, observation_layout, action_names and more. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Of one position; observations are given flat, row by row. */
  readonly observationShape: readonly number[];
  readonly numActions: number;
  /** How many numbers `Options.legal` has: `numActions`, or where actions are vectors of choices, those of all factors. */
  readonly numLegal: number;
  /** Numbers, or choices, of an action vector; 0 where actions are of a list. */
  readonly vectorSize: number;
  /** Candidates of action vectors in each position behind the first; there `numActions`. */
  readonly innerCandidates: number;
  /** Its own budget. */
  readonly simulations: number;
  /** The largest budget of one call. */
  readonly maxSimulations: number;
  /** Whether the file searches many positions at once; older ones are asked one by one. */
  readonly takesBatch: boolean;
  /** The decision for one position. Throws RefusedError, and TypeError where sizes do not fit. */
  act(observation: ArrayLike<number>, options?: Options): Promise<Decision>;
  /** The decisions for many positions, searched side by side; null where a position is refused. */
  actBatch(observations: ReadonlyArray<ArrayLike<number>>, options?: BatchOptions): Promise<Array<Decision | null>>;
  /** How many numbers `Options.candidates` has for so many simulations. */
  numCandidateDraws(simulations?: number): number;
  /** Let go of the file's memory. */
  release(): Promise<void>;
}

/** What an ONNX file says of itself. */
export function readMetadata(bytes: Uint8Array): Record<string, string>;
