import { randomBytes } from "node:crypto";
import {
  createSplitter,
  ENCRYPTION_NAMES,
  HASH_NAMES,
  KEY_DERIVATION_NAMES,
  openCodecs,
  openCrypto,
} from "@varve/core";
import { Bench, type FnOptions } from "tinybench";
import { fillRandom, fillText, seedOf } from "./random.ts";
import type { Primitive } from "./result.ts";

/** What a backup is made of, each alone: splitters, hashes, codecs, ciphers, by the names that the library knows them by. */

export interface PrimitiveOptions {
  /** How long each task is repeated, at least. */
  readonly timeMs: number;
  readonly log: (line: string) => void;
}

const MIB = 1024 * 1024;
const CHUNK = 4 * MIB;
const SMALL = 1024;

export async function measurePrimitives(options: PrimitiveOptions): Promise<Primitive[]> {
  const random = filled(fillRandom);
  const text = filled(fillText);
  const results: Primitive[] = [];
  for (const suite of [splitters, hashes, codecs, ciphers, keyDerivations]) {
    results.push(...(await suite({ random, text }, options)));
  }
  return results;
}

type Samples = Readonly<Record<"random" | "text", Uint8Array>>;

function splitters({ random, text }: Samples, options: PrimitiveOptions): Promise<Primitive[]> {
  const suite = new Suite("split", options);
  // A FIXED one reads nothing.
  for (const name of ["DYNAMIC-4M-BUZHASH", "DYNAMIC-4M-RABINKARP", "FASTCDC-4M"]) {
    const splitter = createSplitter(name);
    if (splitter !== undefined) {
      suite.bytes(`${name}, random`, random.length, () => void splitter.cuts(random, true));
      suite.bytes(`${name}, text`, text.length, () => void splitter.cuts(text, true));
    }
  }
  return suite.run();
}

async function hashes({ random }: Samples, options: PrimitiveOptions): Promise<Primitive[]> {
  const suite = new Suite("hash", options);
  const crypto = await openCrypto();
  for (const name of HASH_NAMES) {
    const hasher = crypto.hasher(name, SECRET);
    const title = `${name} (${crypto.providerOf("hash", name)})`;
    for (const [size, bytes] of sizesOf(random)) {
      suite.bytes(`${title}, ${size}`, bytes.length, () => void hasher.hash(bytes));
    }
  }
  return suite.run();
}

const CODEC_NAMES = ["zstd-fastest", "zstd", "s2-default", "gzip-best-speed", "deflate-best-speed"];

async function codecs(samples: Samples, options: PrimitiveOptions): Promise<Primitive[]> {
  const suite = new Suite("compress", options);
  const codecs = await openCodecs();
  for (const name of CODEC_NAMES) {
    const codec = codecs.byName(name);
    for (const [kind, sample] of Object.entries(samples)) {
      const data = sample.subarray(0, CHUNK);
      const title = `${name} (${codec.provider}), ${kind}`;
      suite.bytes(title, data.length, () => void codec.compress(data));
    }
    const data = samples.text.subarray(0, CHUNK);
    const packed = codec.compress(data);
    const title = `${name} (${codec.provider}), decompress text`;
    suite.bytes(title, data.length, () => void codec.decompress(packed, data.length));
  }
  return suite.run();
}

async function ciphers({ random }: Samples, options: PrimitiveOptions): Promise<Primitive[]> {
  const suite = new Suite("seal", options);
  const crypto = await openCrypto();
  const iv = new Uint8Array(16);
  for (const name of ENCRYPTION_NAMES) {
    const cipher = crypto.cipher(name, { masterKey: SECRET, randomBytes });
    for (const [size, bytes] of sizesOf(random)) {
      const sealed = cipher.seal(bytes, iv);
      suite.bytes(`${name}, seal ${size}`, bytes.length, () => void cipher.seal(bytes, iv));
      suite.bytes(`${name}, open ${size}`, bytes.length, () => void cipher.open(sealed, iv));
    }
  }
  return suite.run();
}

async function keyDerivations(_: Samples, options: PrimitiveOptions): Promise<Primitive[]> {
  const suite = new Suite("derive key", { ...options, timeMs: 0 });
  const crypto = await openCrypto();
  for (const name of KEY_DERIVATION_NAMES) {
    suite.count(name, 1, async () => void (await crypto.deriveKey(name, "password", SECRET)));
  }
  return suite.run();
}

const SECRET = new Uint8Array(32).fill(7);

function sizesOf(bytes: Uint8Array): readonly (readonly [string, Uint8Array])[] {
  return [
    ["4 MiB", bytes.subarray(0, CHUNK)],
    ["1 KiB", bytes.subarray(0, SMALL)],
  ];
}

function filled(fill: (target: Uint8Array, seed: number) => void): Uint8Array {
  const bytes = new Uint8Array(16 * MIB);
  fill(bytes, seedOf(5));
  return bytes;
}

/** A `tinybench` suite whose tasks say how much one call handles. */
export class Suite {
  readonly #name: string;
  readonly #bench: Bench;
  readonly #log: (line: string) => void;
  readonly #amounts: Map<string, Pick<Primitive, "unit" | "amount">> = new Map();

  constructor(name: string, { timeMs, log }: PrimitiveOptions) {
    this.#name = name;
    this.#log = log;
    this.#bench = new Bench({
      name,
      time: timeMs,
      iterations: 3,
      warmup: timeMs > 0,
      warmupTime: timeMs / 10,
      warmupIterations: 1,
      throws: true,
    });
  }

  /** A task whose call handles so many bytes. */
  bytes(name: string, amount: number, task: () => unknown, hooks: FnOptions = {}): void {
    this.#amounts.set(name, { unit: "bytes", amount });
    this.#bench.add(name, task, hooks);
  }

  /** A task whose call handles so many things. */
  count(name: string, amount: number, task: () => unknown, hooks: FnOptions = {}): void {
    this.#amounts.set(name, { unit: "count", amount });
    this.#bench.add(name, task, hooks);
  }

  async run(): Promise<Primitive[]> {
    this.#log(`${this.#name}: ${this.#bench.tasks.length} tasks`);
    await this.#bench.run();
    return this.#bench.tasks.map(({ name, result }) => {
      const amount = this.#amounts.get(name);
      if (result.state !== "completed" || amount === undefined) {
        throw new Error(`${this.#name}, ${name}: ${result.state}`);
      }
      const { p50, min, max, samplesCount } = result.latency;
      const figures = { medianMs: p50, minMs: min, maxMs: max, samples: samplesCount };
      return { suite: this.#name, name, ...amount, ...figures };
    });
  }
}
