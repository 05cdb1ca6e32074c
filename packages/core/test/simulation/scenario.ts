import { createMemoryStore } from "../../src/blob/memory-store.ts";
import { errorMessage, isVarveError } from "../../src/base/errors.ts";
import type { Environment } from "../../src/base/environment.ts";
import type { BlobStore } from "../../src/blob/store.ts";
import { type ManifestId, parseManifestId } from "../../src/manifest/manifest-store.ts";
import { runMaintenance } from "../../src/maintenance/run.ts";
import type { Repository } from "../../src/repository/repository.ts";
import { deleteSnapshot, loadSnapshot } from "../../src/snapshot/snapshots.ts";
import { memorySource } from "../../src/source/memory-source.ts";
import type { SourceEntry } from "../../src/source/source-entry.ts";
import { seededEnvironment } from "../../src/testing/seeded-environment.ts";
import { upload } from "../../src/upload/upload.ts";
import {
  blobIds,
  fillWithRepository,
  openTestRepository,
  storedTree,
  testPolicy,
} from "../upload-fixture.ts";
import { Connection, isSimulatedFault, NO_FAULTS, simulatedStore } from "./simulated-store.ts";
import type { StorageFaults } from "./simulated-store.ts";
import { World } from "./world.ts";

/**
 * Some weeks in the life of a repository: writers back up, delete, die and come again; one client maintains. At the end every
 * snapshot that anybody was told is stored, and that nobody has asked to delete, must be there and read back as it was.
 */

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const START_MS = Date.UTC(2030, 0, 1, 12);
const FAULTS: StorageFaults = { lost: 0.004, halfAcknowledged: 0.004, slow: 0.01 };

/** What a planted bug may change; see `planted-bugs.ts`. */
export interface Bugs {
  /** In place of `runMaintenance`. */
  readonly maintain?: ((repository: Repository, world: World) => Promise<void>) | undefined;
  /** Between a writer and storage. */
  readonly writerStore?: ((store: BlobStore, world: World) => BlobStore) | undefined;
  /** Between the maintainer and storage. */
  readonly maintainerStore?: ((store: BlobStore, world: World) => BlobStore) | undefined;
}

export interface Outcome {
  /** What was lost or went wrong, empty when nothing did. */
  readonly violations: readonly string[];
  readonly acknowledged: number;
  readonly deleted: number;
  readonly crashes: number;
  readonly collected: number;
  readonly trace: number;
}

type Tree = Readonly<Record<string, string>>;

/** Runs the history of one seed. */
export async function simulate(seed: number, bugs: Bugs = {}): Promise<Outcome> {
  return await new Scenario(seed, bugs).run();
}

class Scenario {
  readonly #world: World;
  readonly #bugs: Bugs;
  readonly #seed: number;
  readonly #storage: BlobStore;
  /** What the writers were told is stored. */
  readonly #acknowledged = new Map<ManifestId, Tree>();
  readonly #violations: string[] = [];
  readonly #endMs: number;
  #deleted = 0;
  #crashes = 0;
  #collected = 0;
  #clients = 0;

  constructor(seed: number, bugs: Bugs) {
    this.#seed = seed;
    this.#bugs = bugs;
    this.#world = new World(seed, START_MS);
    const world = this.#world;
    const clock = { ...seededEnvironment({ seed }), nowMs: () => Math.floor(world.nowMs) };
    this.#storage = createMemoryStore({ environment: clock });
    this.#endMs = START_MS + this.#world.chance.between(4, 9) * DAY_MS;
  }

  async run(): Promise<Outcome> {
    await fillWithRepository(this.#storage);
    const actors = [this.#maintainer(), ...[0, 1].map((number) => this.#writer(number))];
    await this.#world.run(Promise.all(actors));
    await this.#world.run(this.#check());
    return {
      violations: this.#violations,
      acknowledged: this.#acknowledged.size,
      deleted: this.#deleted,
      crashes: this.#crashes,
      collected: this.#collected,
      trace: this.#world.trace,
    };
  }

  async #writer(number: number): Promise<void> {
    const world = this.#world;
    const { chance } = world;
    const skewMs = chance.between(-10, 10) * 60_000;
    let client: Client | undefined;
    while (world.nowMs < this.#endMs) {
      await world.sleep(chance.between(0.2, 20) * HOUR_MS);
      const files = this.#someFiles();
      const isDeleting = chance.happens(0.4);
      client = await this.#guard(client, async (connection) => {
        const repository =
          client?.repository ?? (await this.#open(connection, { skewMs, isMaintainer: false }));
        await this.#backUp(repository, number, files);
        if (isDeleting) {
          await this.#deleteOne(repository);
        }
        return repository;
      });
      if (chance.happens(0.5)) {
        client = undefined; // others stay open for days
      }
    }
  }

  async #maintainer(): Promise<void> {
    const world = this.#world;
    const { chance } = world;
    const skewMs = chance.between(-2, 2) * 60_000;
    let client: Client | undefined;
    while (world.nowMs < this.#endMs) {
      await world.sleep(chance.between(1, 9) * HOUR_MS);
      client = await this.#guard(client, async (connection) => {
        const repository =
          client?.repository ?? (await this.#open(connection, { skewMs, isMaintainer: true }));
        if (this.#bugs.maintain === undefined) {
          const mode = chance.happens(0.7) ? "full" : "quick";
          const { tasks } = await runMaintenance(repository, { mode, force: true });
          this.#collected +=
            tasks.find(({ task }) => task === "full-delete-blobs")?.counts?.["blobs"] ?? 0;
        } else {
          await this.#bugs.maintain(repository, world);
        }
        return repository;
      });
      client = chance.happens(0.5) ? undefined : client;
    }
  }

  /** Does something as one client, which may die over it; gives the client if it lives and is well. */
  async #guard(
    client: Client | undefined,
    work: (connection: Connection) => Promise<Repository>,
  ): Promise<Client | undefined> {
    const { chance } = this.#world;
    const connection = client?.connection ?? new Connection();
    const death = chance.happens(0.25)
      ? connection.dieAfter(chance.integer(60)).then(() => "died" as const)
      : new Promise<never>(() => {});
    try {
      const repository = await Promise.race([work(connection), death]);
      if (repository === "died") {
        this.#crashes += 1;
        return undefined;
      }
      connection.live();
      return { connection, repository };
    } catch (error) {
      if (!isSimulatedFault(error) && !isTransient(error)) {
        this.#violations.push(`unexpected error: ${errorMessage(error)}`);
      }
      return undefined;
    }
  }

  async #open(
    connection: Connection,
    { skewMs, isMaintainer }: { skewMs: number; isMaintainer: boolean },
  ): Promise<Repository> {
    const world = this.#world;
    const { maintainerStore, writerStore } = this.#bugs;
    const wrap = isMaintainer ? maintainerStore : writerStore;
    const store = wrap?.(this.#storage, world) ?? this.#storage;
    const environment = this.#environment(skewMs);
    const remote = simulatedStore(store, { world, connection, faults: FAULTS });
    return await openTestRepository(remote, environment);
  }

  #environment(skewMs: number): Environment {
    const world = this.#world;
    this.#clients += 1;
    return {
      ...seededEnvironment({ seed: this.#seed * 1000 + this.#clients }),
      nowMs: () => Math.floor(world.nowMs + skewMs),
      sleep: (ms) => world.sleep(ms),
    };
  }

  /** Few distinct texts, so that what was deleted comes again. */
  #someFiles(): Tree {
    const { chance } = this.#world;
    const count = 1 + chance.integer(4);
    return Object.fromEntries(
      Array.from({ length: count }, (_, index) => [
        `file${index}`,
        `text ${chance.integer(TEXTS)} `.repeat(40),
      ]),
    );
  }

  async #backUp(repository: Repository, number: number, files: Tree): Promise<void> {
    const source = { host: "host", userName: `writer${number}`, path: "/data" };
    const isLong = this.#world.chance.happens(0.3);
    const root = this.#slowly(files, isLong ? 6 * HOUR_MS : 1000);
    const policy = testPolicy({ retention: { keepLatest: 1_000_000 } });
    const { snapshot } = await upload(repository, { source, root, policy });
    const id = parseManifestId(snapshot.id ?? "");
    this.#world.note(`acknowledged ${id}`);
    this.#acknowledged.set(id, files);
  }

  /** A folder whose files take their time to be read. */
  #slowly(files: Tree, maxDelayMs: number): SourceEntry {
    const { chance } = this.#world;
    const world = this.#world;
    const children = Object.fromEntries(
      // Like any file, one that is written anew has another time.
      Object.entries(files).map(([name, data]) => [name, { data, mtimeNs: textNumber(data) }]),
    );
    const plain = memorySource("data", { children });
    return {
      ...plain,
      async *children(options) {
        for await (const child of plain.children(options)) {
          yield child;
          await world.sleep(chance.between(0, maxDelayMs));
        }
      },
      child: async () => undefined,
    };
  }

  async #deleteOne(repository: Repository): Promise<void> {
    const ids = [...this.#acknowledged.keys()];
    if (ids.length === 0) {
      return;
    }
    const id = this.#world.chance.pick(ids);
    this.#acknowledged.delete(id); // from here on it may be gone, whatever becomes of the call
    this.#deleted += 1;
    try {
      await deleteSnapshot(repository, id);
    } catch (error) {
      if (!isVarveError(error, "manifest-not-found")) {
        throw error; // a client that has not refreshed does not know it yet
      }
    }
    await repository.flush();
  }

  async #check(): Promise<void> {
    const world = this.#world;
    const connection = new Connection();
    const store = simulatedStore(this.#storage, { world, connection, faults: NO_FAULTS });
    try {
      const repository = await openTestRepository(store, this.#environment(0));
      for (const [id, files] of this.#acknowledged) {
        await this.#checkOne(repository, id, files);
      }
    } catch (error) {
      const blobs = (await blobIds(this.#storage)).length;
      this.#violations.push(`cannot be opened (${blobs} blobs): ${errorMessage(error)}`);
    }
  }

  async #checkOne(repository: Repository, id: ManifestId, files: Tree): Promise<void> {
    try {
      const { root } = await loadSnapshot(repository, id);
      const found = await storedTree(repository, root);
      if (JSON.stringify(found) !== JSON.stringify(files)) {
        this.#violations.push(`snapshot ${id} has changed`);
      }
    } catch (error) {
      this.#violations.push(`snapshot ${id} is lost: ${errorMessage(error)}`);
    }
  }
}

const TEXTS = 8;

function textNumber(text: string): bigint {
  return BigInt(text.split(" ")[1] ?? 0);
}

interface Client {
  readonly connection: Connection;
  readonly repository: Repository;
}

/** What a client may be told in a world where others work and clocks differ; it was not told that anything is stored. */
function isTransient(error: unknown): boolean {
  return isVarveError(error, "storage-failed");
}
