import { spawnSync } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Command } from "./measure.ts";

/** The programs that are compared, each with what it is told to do. All keep what they keep below one directory. */
export interface Tool {
  readonly name: string;
  /** For people: which settings. */
  readonly title: string;
  /** Key of {@link findPrograms}. */
  readonly program: Program;
  /** Whether a quick run leaves it out. */
  readonly variant?: boolean;
  /** Makes an empty repository. */
  setup(place: Place): readonly Step[];
  backup(place: Place, source: string, number: number): Step;
  /** `printed` is the standard output of the last backup. */
  restore(place: Place, target: string, printed: string): Step;
  /** Makes a place with a bucket known to another machine; left out by tools that are only measured on a local disk. */
  connect?(place: Place): Step;
}

/** Of one repository, its caches and its configuration. */
export interface Place {
  readonly home: string;
  readonly repository: string;
  readonly cache: string;
  /** Where the repository is instead. */
  readonly bucket?: BucketPlace;
}

/** A bucket of an S3 service without TLS. */
export interface BucketPlace {
  readonly name: string;
  /** With the port. */
  readonly host: string;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

/** A command of the tool's program. */
export interface Step {
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

const PROGRAMS = ["varve", "kopia", "restic", "rustic", "borg"] as const;
export type Program = (typeof PROGRAMS)[number];

const PASSWORD = "bench";

export const TOOLS: readonly Tool[] = [
  varve("varve", "defaults, password kept as Kopia keeps it", {}),
  varve("varve-zstd", "zstd-fastest", { compression: "zstd-fastest" }),
  varve("varve-same", "Kopia's hash and splitter", { kopiaAlgorithms: true }),
  varve("varve-same-zstd", "Kopia's hash and splitter, zstd-fastest", {
    kopiaAlgorithms: true,
    compression: "zstd-fastest",
  }),
  kopia("kopia", "defaults, no compression", {}),
  kopia("kopia-zstd", "zstd-fastest", { compression: "zstd-fastest" }),
  {
    name: "restic",
    title: "defaults, compression auto",
    program: "restic",
    setup: (place) => [{ args: ["init"], env: resticEnv(place) }],
    backup: (place, source) => ({ args: ["backup", "--quiet", source], env: resticEnv(place) }),
    restore: (place, target) => ({
      args: ["restore", "latest", "--target", target],
      env: resticEnv(place),
    }),
  },
  {
    name: "rustic",
    title: "defaults",
    program: "rustic",
    setup: (place) => [{ args: ["init"], env: rusticEnv(place) }],
    backup: (place, source) => ({ args: ["backup", source], env: rusticEnv(place) }),
    restore: (place, target) => ({ args: ["restore", "latest", target], env: rusticEnv(place) }),
  },
  {
    name: "borg",
    title: "repokey-blake2, compression lz4 as by default",
    program: "borg",
    setup: (place) => [
      { args: ["init", "--encryption", "repokey-blake2", place.repository], env: borgEnv(place) },
    ],
    backup: (place, source, number) => ({
      args: ["create", `${place.repository}::backup-${number}`, source],
      env: borgEnv(place),
    }),
    restore: (place, target) => ({
      args: ["extract", `${place.repository}::${LAST_BORG_ARCHIVE}`],
      env: borgEnv(place),
      cwd: target,
    }),
  },
];

/** The third backup is the one that is restored. */
const LAST_BORG_ARCHIVE = "backup-3";

interface KopiaSettings {
  readonly compression?: string;
  /** varve only. */
  readonly kopiaAlgorithms?: boolean;
}

function varve(name: string, title: string, settings: KopiaSettings): Tool {
  const algorithms = ["--block-hash", "BLAKE2B-256-128", "--object-splitter", "DYNAMIC-4M-BUZHASH"];
  return kopiaLike({ name, title, program: "varve", settings }, (place) => ({
    global: ["--no-progress"],
    // Kopia keeps its password beside the connection unless it is told otherwise.
    create: ["--persist-credentials", ...(settings.kopiaAlgorithms === true ? algorithms : [])],
    connect: ["--persist-credentials"],
    env: {
      HOME: place.home,
      VARVE_PASSWORD: PASSWORD,
      VARVE_CONFIG_PATH: join(place.home, "varve.config"),
      VARVE_CACHE_DIRECTORY: place.cache,
    },
  }));
}

function kopia(name: string, title: string, settings: KopiaSettings): Tool {
  return kopiaLike({ name, title, program: "kopia", settings }, (place) => ({
    global: [
      "--no-progress",
      `--config-file=${join(place.home, "kopia.config")}`,
      `--log-dir=${join(place.home, "logs")}`,
    ],
    create: ["--cache-directory", place.cache],
    connect: ["--cache-directory", place.cache],
    env: {
      HOME: place.home,
      KOPIA_PASSWORD: PASSWORD,
      KOPIA_CHECK_FOR_UPDATES: "false",
    },
  }));
}

/** varve takes Kopia's commands. */
function kopiaLike(
  tool: Pick<Tool, "name" | "title" | "program"> & { readonly settings: KopiaSettings },
  given: (place: Place) => {
    readonly global: readonly string[];
    readonly create: readonly string[];
    readonly connect: readonly string[];
    readonly env: Readonly<Record<string, string>>;
  },
): Tool {
  const { name, title, program, settings } = tool;
  const step = (place: Place, ...args: readonly string[]): Step => {
    const { global, env } = given(place);
    return { args: [...global, ...args], env: { ...env, ...keysOf(place) } };
  };
  return {
    name,
    title,
    program,
    variant: name !== program,
    setup(place) {
      const { create: settled } = given(place);
      const create = step(place, "repository", "create", ...whereOf(place), ...settled);
      const { compression } = settings;
      return compression === undefined
        ? [create]
        : [create, step(place, "policy", "set", "--global", "--compression", compression)];
    },
    backup: (place, source) => step(place, "snapshot", "create", "--json", source),
    restore: (place, target, printed) => step(place, "restore", snapshotId(printed), target),
    connect: (place) =>
      step(place, "repository", "connect", ...whereOf(place), ...given(place).connect),
  };
}

function whereOf({ repository, bucket }: Place): readonly string[] {
  if (bucket === undefined) {
    return ["filesystem", "--path", repository];
  }
  const { name, host, region } = bucket;
  return ["s3", `--bucket=${name}`, `--endpoint=${host}`, `--region=${region}`, "--disable-tls"];
}

function keysOf({ bucket }: Place): Readonly<Record<string, string>> {
  return bucket === undefined
    ? {}
    : { AWS_ACCESS_KEY_ID: bucket.accessKeyId, AWS_SECRET_ACCESS_KEY: bucket.secretAccessKey };
}

function snapshotId(printed: string): string {
  const { id } = JSON.parse(printed) as { readonly id?: unknown }; // checked on the next line
  if (typeof id !== "string") {
    throw new TypeError("snapshot create --json printed no id");
  }
  return id;
}

function resticEnv(place: Place): Readonly<Record<string, string>> {
  return {
    HOME: place.home,
    RESTIC_REPOSITORY: place.repository,
    RESTIC_PASSWORD: PASSWORD,
    RESTIC_CACHE_DIR: place.cache,
  };
}

function rusticEnv(place: Place): Readonly<Record<string, string>> {
  return {
    HOME: place.home,
    RUSTIC_REPOSITORY: place.repository,
    RUSTIC_PASSWORD: PASSWORD,
    RUSTIC_CACHE_DIR: place.cache,
    RUSTIC_NO_PROGRESS: "true",
  };
}

function borgEnv(place: Place): Readonly<Record<string, string>> {
  return { HOME: place.home, BORG_PASSPHRASE: PASSWORD, BORG_BASE_DIR: place.home };
}

/** How to start a program, and what it says its version is. */
export interface FoundProgram {
  readonly command: readonly [file: string, ...args: string[]];
  readonly version: string;
}

/** Those that are here: `VARVE_BENCH_KOPIA=/path` and so on come before the PATH; varve is the one that was built. */
export function findPrograms(): ReadonlyMap<Program, FoundProgram> {
  const found = new Map<Program, FoundProgram>();
  for (const program of PROGRAMS) {
    const given = process.env[`VARVE_BENCH_${program.toUpperCase()}`];
    const file = given ?? (program === "varve" ? undefined : onPath(program));
    const command: readonly [string, ...string[]] | undefined =
      file !== undefined ? [file] : program === "varve" ? [process.execPath, VARVE_CLI] : undefined;
    if (command !== undefined) {
      const [name, ...args] = command;
      // restic has a command and no flag for it
      const flag = program === "restic" ? "version" : "--version";
      const { status, stdout, error } = spawnSync(name, [...args, flag], { encoding: "utf8" });
      if (status !== 0) {
        throw new Error(`${program} cannot be run: ${error?.message ?? `exit ${status}`}`);
      }
      found.set(program, { command, version: shortVersion(stdout) });
    }
  }
  return found;
}

/** A step of a tool as a command; nothing of this process's environment is passed on but the PATH. */
export function commandOf(program: FoundProgram, step: Step): Command {
  const [file, ...args] = program.command;
  const { cwd } = step;
  return {
    file,
    args: [...args, ...step.args],
    env: { PATH: process.env["PATH"] ?? "", ...step.env, ...passedOn() },
    ...(cwd === undefined ? {} : { cwd }),
  };
}

const VARVE_CLI = fileURLToPath(new URL("../../packages/cli/dist/main.js", import.meta.url));

/** What an installation outside the system's directories may need in order to be found by its own program. */
function passedOn(): Record<string, string> {
  const { PYTHONPATH } = process.env;
  return PYTHONPATH === undefined ? {} : { PYTHONPATH };
}

function shortVersion(printed: string): string {
  const line = printed.trim().split("\n")[0] ?? "";
  return /\d+\.\d+[\w.+-]*/.exec(line)?.[0] ?? line.split(" ")[0] ?? "";
}

function onPath(program: string): string | undefined {
  for (const directory of (process.env["PATH"] ?? "").split(delimiter)) {
    const file = join(directory, program);
    try {
      accessSync(file, constants.X_OK);
      return file;
    } catch {
      // not here
    }
  }
  return undefined;
}
