import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { startVersitygw, type VersitygwServer } from "@varve/testenv/s3-servers.js";
import { logMeasured, requireWhole } from "./compare.ts";
import { type Dataset, DATASETS, prepareDataset, type PreparedDataset } from "./datasets.ts";
import type { ProxyCounts } from "./latency-proxy.ts";
import { measure, settle } from "./measure.ts";
import type { DatasetResult, LatencyPhase, LatencySample } from "./result.ts";
import {
  commandOf,
  type FoundProgram,
  type Place,
  type Program,
  type Step,
  type Tool,
} from "./tools.ts";

/**
 * Backups to a bucket of a real S3 server, and restores from it, near and behind a latency: the tools one after another,
 * each with a server, bucket and caches of its own.
 */

export interface LatencyOptions {
  /** Of {@link LATENCY_DATASETS}. */
  readonly datasets: readonly LatencyDataset[];
  readonly tools: readonly Tool[];
  readonly programs: ReadonlyMap<Program, FoundProgram>;
  readonly runs: number;
  readonly latenciesMs: readonly number[];
  /** Of the one large file. */
  readonly scale: number;
  /** Holds datasets, which stay, and what is restored, which does not. */
  readonly directory: string;
  readonly log: (line: string) => void;
}

export interface LatencyDataset {
  readonly name: string;
  readonly scaleOf: (scale: number) => number;
}

/** One file of 1 GiB, 10,000 of 100 bytes, and 10,000 of a source tree. */
export const LATENCY_DATASETS: readonly LatencyDataset[] = [
  { name: "database", scaleOf: (scale) => scale },
  { name: "tiny", scaleOf: () => 0.05 },
  { name: "source", scaleOf: () => 0.2 },
];

export const LATENCY_CONDITIONS: readonly string[] = [
  "The repository is in a bucket of versitygw on this machine, which shares its cores, behind a proxy that holds each request for so many milliseconds; 0 ms is through the same proxy.",
  "Restores are by a client that has just connected and has nothing in its caches; connecting is not measured.",
  "Time is that of the whole process, from its start to its exit, key derivation and automatic maintenance included.",
];

export interface LatencyResult {
  readonly datasets: readonly DatasetResult[];
  readonly samples: readonly LatencySample[];
}

export async function measureLatency(options: LatencyOptions): Promise<LatencyResult> {
  const { scale, directory, log, runs, latenciesMs } = options;
  const tools = options.tools.filter((tool) => "connect" in tool);
  const datasets: DatasetResult[] = [];
  const samples: LatencySample[] = [];
  for (const { name, scaleOf } of options.datasets) {
    const dataset = DATASETS.find((candidate) => candidate.name === name) as Dataset; // the names above are of these
    const data = prepareDataset(dataset, join(directory, "data"), scaleOf(scale));
    const { title, changeTitle } = dataset;
    datasets.push({ name, title, changeTitle, files: data.files, bytes: data.bytes });
    for (let run = 0; run < runs; run++) {
      for (const tool of tools) {
        for (const latencyMs of latenciesMs) {
          log(`${name}: ${tool.name} behind ${latencyMs} ms`);
          samples.push(...(await takeTurn({ dataset: name, data, tool, latencyMs }, options)));
        }
      }
    }
  }
  return { datasets, samples };
}

interface Subject {
  readonly dataset: string;
  readonly data: PreparedDataset;
  readonly tool: Tool;
  readonly latencyMs: number;
}

/** One backup and one restore. */
async function takeTurn(subject: Subject, options: LatencyOptions): Promise<LatencySample[]> {
  const { data, tool } = subject;
  const directory = join(options.directory, "latency");
  const samples: LatencySample[] = [];
  rmSync(directory, { recursive: true, force: true }); // what a run that was killed left behind
  await using server = await startVersitygw();
  await using proxy = await startProxy(server);
  const program = options.programs.get(tool.program);
  if (program === undefined) {
    throw new Error(`${tool.program} is not installed`);
  }
  const sample = async (phase: LatencyPhase, step: Step): Promise<string> => {
    await settle();
    await proxy.wait(subject.latencyMs);
    const measured = await measure(commandOf(program, step));
    const counts = await proxy.wait(0);
    const { dataset, latencyMs } = subject;
    const { seconds, peakBytes } = measured;
    samples.push({ dataset, tool: tool.name, latencyMs, phase, seconds, peakBytes, ...counts });
    logMeasured(options, `${tool.name} ${phase}, ${counts.requests} requests`, measured);
    return measured.stdout;
  };
  try {
    const first = makePlace(join(directory, "first"), { server, proxy });
    for (const step of tool.setup(first)) {
      await measure(commandOf(program, step));
    }
    const printed = await sample("first", tool.backup(first, data.path, 1));
    const second = makePlace(join(directory, "second"), { server, proxy });
    await connectCold(tool, second, program);
    const target = join(directory, "restored");
    mkdirSync(target);
    await sample("restore", tool.restore(second, target, printed));
    requireWhole(data, target);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  return samples;
}

async function connectCold(tool: Tool, place: Place, program: FoundProgram): Promise<void> {
  const step = tool.connect?.(place);
  if (step !== undefined) {
    await measure(commandOf(program, step));
  }
  rmSync(place.cache, { recursive: true });
  mkdirSync(place.cache);
}

const BUCKET = "bench";

function makePlace(
  directory: string,
  { server, proxy }: { readonly server: VersitygwServer; readonly proxy: LatencyProxy },
): Place {
  const { region, accessKeyId, secretAccessKey } = server;
  const place = { home: join(directory, "home"), cache: join(directory, "cache") };
  for (const folder of Object.values(place)) {
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
  }
  const host = `127.0.0.1:${proxy.port}`;
  return {
    ...place,
    repository: "",
    bucket: { name: BUCKET, host, region, accessKeyId, secretAccessKey },
  };
}

interface LatencyProxy extends AsyncDisposable {
  readonly port: number;
  /** From now on requests wait so long; what was counted since the last call. */
  wait(latencyMs: number): Promise<ProxyCounts>;
}

/** Before a server that has got a bucket. */
async function startProxy(server: VersitygwServer): Promise<LatencyProxy> {
  await server.createBucket(BUCKET);
  const program = fileURLToPath(new URL("./latency-proxy.js", import.meta.url));
  const child = fork(program, [new URL(server.endpoint).port], { stdio: "inherit" });
  const { port } = await told<{ readonly port: number }>(child);
  return {
    port,
    wait: async (latencyMs) => {
      child.send({ latencyMs });
      return await told<ProxyCounts>(child);
    },
    [Symbol.asyncDispose]: async () => {
      child.disconnect();
      await once(child, "exit");
    },
  };
}

async function told<T>(child: ChildProcess): Promise<T> {
  const [message] = (await once(child, "message")) as [T]; // what our own program sends
  return message;
}
