import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  listSnapshots,
  openFileSystemStore,
  openRepository,
  readRepositoryFormat,
  type RepositoryFormat,
  verify,
} from "@varve/core";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Cli, ended, PASSWORD } from "./cli-fixture.ts";

/**
 * `kill -9` at random moments of backups, maintenance, copies and repairs by real processes. `VARVE_TEST_KILLS` says how many, 5 by
 * itself; 500 take half an hour of one core. `VARVE_TEST_KILL_SEED` picks other moments.
 */
const KILLS = Number(process.env["VARVE_TEST_KILLS"] ?? 5);

let cli: Cli;
let random: () => number;

beforeEach(() => {
  cli = new Cli();
  let state = Number(process.env["VARVE_TEST_KILL_SEED"] ?? 1);
  random = () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
});

afterEach(() => cli[Symbol.dispose]());

/** A few files of bytes without a pattern, some of them new. */
function change(round: number): void {
  mkdirSync(cli.path("data"), { recursive: true });
  for (let number = 0; number < 12; number++) {
    if (round === 0 || random() < 0.4) {
      const size = 1000 + Math.floor(random() * 400_000);
      const bytes = Uint8Array.from({ length: size }, () => Math.floor(random() * 256));
      writeFileSync(cli.path(`data/file${number}`), bytes);
    }
  }
}

/** The indexes of a repository in a folder are lost: what repair has to do. */
function loseIndexes(repository: string): void {
  for (const entry of readdirSync(repository, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile() && path.slice(repository.length + 1).startsWith("xn")) {
      rmSync(path);
    }
  }
}

interface Place {
  readonly path: string;
  format?: RepositoryFormat;
}

/** Opens it as a client that has just come; gives the complete snapshots and the damage. */
async function look(place: Place): Promise<{ snapshots: readonly string[]; damaged: unknown[] }> {
  await using store = await openFileSystemStore(place.path, { readOnly: true });
  place.format ??= await readRepositoryFormat(store, { password: PASSWORD });
  const { format } = place;
  const options = { password: PASSWORD, readOnly: true, workers: 0, format };
  await using repository = await openRepository(store, options);
  const { damaged } = await verify(repository);
  const { snapshots } = await listSnapshots(repository, { incomplete: false });
  return { snapshots: snapshots.map(({ id }) => id), damaged: [...damaged] };
}

test(`${KILLS} times killed, what was acknowledged is there, and everything goes on`, async () => {
  const here: Place = { path: cli.path("repo") };
  const there: Place = { path: cli.path("copy") };
  const other = ["--config-file", cli.path("config/other.config")];
  await cli.createRepository();
  await cli.ok([...other, "repository", "create", "filesystem", "--path", there.path]);
  await cli.ok(["policy", "set", "--global", "--keep-latest=3", "--keep-hourly=0"]);
  const plain = "--no-auto-maintenance";
  const operations: readonly { args: readonly string[]; before?: (round: number) => void }[] = [
    { args: [plain, "snapshot", "create", cli.path("data")], before: change },
    { args: ["maintenance", "run", "--full", "--safety=none"] },
    {
      args: [
        ...[...other, plain, "snapshot", "migrate", "--all"],
        ...["--source-config", cli.path("config/repository.config")],
      ],
    },
    { args: ["index", "recover", "--commit"], before: () => loseIndexes(here.path) },
  ];
  const durations: number[] = [];
  change(0);
  for (const { args, before } of operations) {
    before?.(0);
    const startMs = Date.now();
    expect(await ended(cli.start(args))).toMatchObject({ status: 0 });
    durations.push(Date.now() - startMs);
  }
  let killed = 0;
  let acknowledged = (await look(here)).snapshots.at(-1);
  for (let round = 1; killed < KILLS; round++) {
    const number = round % operations.length;
    const operation = operations[number];
    operation?.before?.(round);
    const child = cli.start(operation?.args ?? []);
    const timer = setTimeout(
      () => child.kill("SIGKILL"),
      (durations[number] ?? 0) * (0.25 + 0.75 * random()),
    );
    const { status, stderr } = await ended(child);
    clearTimeout(timer);
    expect({ round, status, stderr: status === 1 ? stderr : "" }).toMatchObject({ stderr: "" });
    killed += status === null ? 1 : 0;
    if (number === 3) {
      expect(await ended(cli.start(operation?.args ?? []))).toMatchObject({ status: 0 });
    }
    const found = await look(here);
    expect({ round, damaged: found.damaged }).toEqual({ round, damaged: [] });
    expect(found.snapshots).toContain(acknowledged);
    acknowledged = found.snapshots.at(-1);
    if (number === 2) {
      expect({ round, damaged: (await look(there)).damaged }).toEqual({ round, damaged: [] });
    }
  }
  for (const { args } of operations) {
    expect(await ended(cli.start(args))).toMatchObject({ status: 0 });
  }
  await cli.ok([
    ...other,
    "snapshot",
    "restore",
    (await look(there)).snapshots.at(-1) ?? "",
    "out",
  ]);
  for (const name of readdirSync(cli.path("data"))) {
    expect(
      readFileSync(cli.path(`out/${name}`)).equals(readFileSync(cli.path(`data/${name}`))),
    ).toBe(true);
  }
}, 3_600_000);
