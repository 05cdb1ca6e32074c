import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import {
  createEcc,
  createSplitter,
  ECC_NAME,
  ENCRYPTION_NAMES,
  errorMessage,
  HASH_NAMES,
  openCodecs,
  openCrypto,
  SPLITTER_NAMES,
  VarveError,
} from "@varve/core";
import { type Command, InvalidArgumentError } from "commander";
import { parseCount, parsePositive } from "../options.ts";
import {
  type Measurement,
  printMeasurements,
  pseudoRandomBytes,
  pseudoRandomText,
  type RunLimits,
  throughput,
} from "./benchmark-run.ts";

/**
 * `varve benchmark …`: which implementation of each algorithm is used here, and how fast it is. A run takes seconds: an
 * algorithm that is slow gets fewer repetitions.
 */
export function benchmarkCommands(benchmark: Command): void {
  const add = (
    name: string,
    options: { description: string; blockSize: string; budgetMs: number },
    measure: Measure,
  ): Command => {
    const command = benchmark
      .command(name)
      .description(options.description)
      .option("--repeat <n>", "measure each at most this often", parsePositive, 100)
      .option("--json", "print one JSON document");
    if (options.blockSize !== "") {
      command.option(
        "--block-size <size>",
        `bytes at a time, as in 64KiB (${options.blockSize})`,
        parseSize,
        parseSize(options.blockSize),
      );
    }
    return command.action(async () => {
      const { repeat, json = false } = command.opts<{ repeat: number; json?: boolean }>();
      const { budgetMs } = options;
      const measurements = await measure({ repeat, budgetMs }, command);
      printMeasurements(measurements, { benchmark: name, json });
    });
  };
  add(
    "crypto",
    { description: "hash and cipher together", blockSize: "1MB", budgetMs: 150 },
    crypto,
  );
  add("hashing", { description: "content hashes", blockSize: "1MB", budgetMs: 300 }, hashing);
  add(
    "encryption",
    { description: "content ciphers", blockSize: "1MB", budgetMs: 500 },
    encryption,
  );
  add("ecc", { description: "error correction", blockSize: "10MB", budgetMs: 400 }, ecc);
  add(
    "compression",
    { description: "compression and decompression", blockSize: "", budgetMs: 200 },
    compression,
  )
    .option("--data-file <path>", "compress this file (otherwise: text that is made up)")
    .option("--algorithms <names>", "only these, separated by commas");
  add("splitter", { description: "cutting of files", blockSize: "", budgetMs: 150 }, splitter)
    .option("--rand-seed <n>", "of the data that is cut", parseCount, 42)
    .option("--data-size <size>", "bytes that are cut", parseSize, parseSize("32MB"))
    .option("--data-file <path>", "cut this file instead");
}

type Measure = (limits: RunLimits, command: Command) => Promise<readonly Measurement[]>;

const SECRET = new Uint8Array(32).fill(7);

async function hashing(limits: RunLimits, command: Command): Promise<readonly Measurement[]> {
  const data = blockOf(command);
  const providers = await openCrypto();
  return HASH_NAMES.map((name) => {
    const hasher = providers.hasher(name, SECRET);
    const bytesPerSecond = throughput(data.length, limits, () => void hasher.hash(data));
    return { name, provider: providers.providerOf("hash", name), bytesPerSecond };
  });
}

async function encryption(limits: RunLimits, command: Command): Promise<readonly Measurement[]> {
  const data = blockOf(command);
  const iv = new Uint8Array(16);
  const providers = await openCrypto();
  return ENCRYPTION_NAMES.map((name) => {
    const cipher = providers.cipher(name, { masterKey: SECRET, randomBytes });
    const bytesPerSecond = throughput(data.length, limits, () => void cipher.seal(data, iv));
    return { name, provider: providers.providerOf("encryption", name), bytesPerSecond };
  });
}

async function crypto(limits: RunLimits, command: Command): Promise<readonly Measurement[]> {
  const data = blockOf(command);
  const providers = await openCrypto();
  return HASH_NAMES.flatMap((hash) =>
    ENCRYPTION_NAMES.map((name) => {
      const hasher = providers.hasher(hash, SECRET);
      const cipher = providers.cipher(name, { masterKey: SECRET, randomBytes });
      const bytesPerSecond = throughput(
        data.length,
        limits,
        () => void cipher.seal(data, hasher.hash(data).slice(-16)),
      );
      const provider = [
        providers.providerOf("hash", hash),
        providers.providerOf("encryption", name),
      ].join(" + ");
      return { name: `${hash} + ${name}`, provider, bytesPerSecond };
    }),
  );
}

async function ecc(limits: RunLimits, command: Command): Promise<readonly Measurement[]> {
  const data = blockOf(command);
  return [1, 2, 5, 10, 20].map((percent) => {
    const code = createEcc(percent);
    const encoded = code.encode(data);
    return {
      name: `${ECC_NAME} ${percent}%`,
      provider: "varve",
      bytesPerSecond: throughput(data.length, limits, () => void code.encode(data)),
      details: {
        "decoded MB/s": megabytes(throughput(data.length, limits, () => void code.decode(encoded))),
        overhead: `${((encoded.length / data.length - 1) * 100).toFixed(1)}%`,
      },
    };
  });
}

const TEXT_BYTES = 4_000_000;
/** Contents are no longer than this, and so is what is compressed at once. */
const MAX_COMPRESSED_BYTES = 8 * 1024 * 1024;

async function compression(limits: RunLimits, command: Command): Promise<readonly Measurement[]> {
  const { dataFile, algorithms } = command.opts<{ dataFile?: string; algorithms?: string }>();
  const data =
    dataFile === undefined
      ? pseudoRandomText(TEXT_BYTES, 42)
      : (await readDataFile(dataFile)).subarray(0, MAX_COMPRESSED_BYTES);
  const codecs = await openCodecs();
  const names = algorithms?.split(",") ?? codecs.names;
  return names
    .map((name) => codecs.byName(name))
    .filter(({ writable }) => writable)
    .map((codec) => {
      const compressed = codec.compress(data);
      return {
        name: codec.name,
        provider: codec.provider,
        bytesPerSecond: throughput(data.length, limits, () => void codec.compress(data)),
        details: {
          "decompressed MB/s": megabytes(
            throughput(data.length, limits, () => void codec.decompress(compressed, data.length)),
          ),
          "compressed to": `${((compressed.length / data.length) * 100).toFixed(1)}%`,
        },
      };
    });
}

async function splitter(limits: RunLimits, command: Command): Promise<readonly Measurement[]> {
  const { randSeed, dataSize, dataFile } = command.opts<{
    randSeed: number;
    dataSize: number;
    dataFile?: string;
  }>();
  const data =
    dataFile === undefined ? pseudoRandomBytes(dataSize, randSeed) : await readDataFile(dataFile);
  return SPLITTER_NAMES.flatMap((name) => {
    const cutter = createSplitter(name);
    if (cutter === undefined) {
      return [];
    }
    const lengths = lengthsOf(cutter.cuts(data, true));
    return {
      name,
      provider: "varve",
      bytesPerSecond: throughput(data.length, limits, () => void cutter.cuts(data, true)),
      details: {
        chunks: lengths.length,
        min: lengths[0] ?? 0,
        median: lengths[lengths.length >> 1] ?? 0,
        max: lengths.at(-1) ?? 0,
      },
    };
  });
}

/** Ascending. */
function lengthsOf(ends: Uint32Array): Uint32Array {
  return ends.map((end, index) => end - (index === 0 ? 0 : (ends[index - 1] ?? 0))).sort();
}

function blockOf(command: Command): Uint8Array {
  return pseudoRandomBytes(command.opts<{ blockSize: number }>().blockSize, 42);
}

function megabytes(bytesPerSecond: number): number {
  return Math.round(bytesPerSecond / 100_000) / 10;
}

async function readDataFile(path: string): Promise<Uint8Array> {
  const data = await readFile(path).catch((cause: unknown) => {
    throw new VarveError("invalid-argument", `cannot read ${path}: ${errorMessage(cause)}`, {
      cause,
    });
  });
  if (data.length === 0) {
    throw new VarveError("invalid-argument", `${path} is empty`);
  }
  return data;
}

const SIZE_UNITS: Readonly<Record<string, number>> = {
  "": 1,
  k: 1000,
  m: 1_000_000,
  ki: 1024,
  mi: 1024 * 1024,
};

/** Bytes of `1000`, `64KiB`, `1MB`; what fits into memory several times. */
function parseSize(text: string): number {
  const [, digits, unit] = /^(\d+)([km]i?|)b?$/i.exec(text) ?? [];
  const bytes = Number(digits) * (SIZE_UNITS[(unit ?? "").toLowerCase()] ?? 0);
  if (!(bytes >= 1 && bytes <= 512 * 1024 * 1024)) {
    throw new InvalidArgumentError("not a size like 64KiB or 1MB, up to 512MiB");
  }
  return bytes;
}
