import { errorMessage, isVarveError } from "../../src/base/errors.ts";
import type { BlobId, BlobStore } from "../../src/blob/store.ts";
import { runMaintenance } from "../../src/maintenance/run.ts";
import { recoverFormat } from "../../src/repair/recover-format.ts";
import { recoverIndex } from "../../src/repair/recover-index.ts";
import { setParameters } from "../../src/repository/change-format.ts";
import type { Repository } from "../../src/repository/repository.ts";
import { listSnapshots } from "../../src/snapshot/snapshots.ts";
import { type SeededEnvironment, seededEnvironment } from "../../src/testing/seeded-environment.ts";
import { verify } from "../../src/verify/verify.ts";
import { blobIds, storedTree } from "../upload-fixture.ts";
import { backUp, copyOf, type Fixture, openAnew, PASSWORD, SNAPSHOTS } from "./damage-fixture.ts";

export const DAMAGES = ["missing", "truncated", "bit flipped", "zeroed", "swapped"] as const;
export type DamageKind = (typeof DAMAGES)[number];

/** What the operations do, in the words of the document. */
export interface Outcome {
  readonly open: string;
  readonly list: string;
  readonly verify: string;
  readonly restore: string;
  readonly backup: string;
  readonly maintenance: string;
  readonly repair: string;
}

export interface Kind {
  readonly name: string;
  /** Of its blobs the first is damaged. */
  readonly prefix: string;
  /** Packs: their contents lie in front, so that is where it hurts. */
  readonly isPack?: boolean;
  /** Default: all. */
  readonly damages?: readonly DamageKind[];
}

/** `twin` is another repository, whose blobs are swapped in where there is only one of a kind. */
export async function outcomeOf(
  kind: Kind,
  damage: DamageKind,
  { fixture, twin }: { fixture: Fixture; twin: Fixture },
): Promise<Outcome> {
  const prepare = async (): Promise<{ store: BlobStore; environment: SeededEnvironment }> => {
    const environment = seededEnvironment({ seed: 7, startMs: fixture.nowMs });
    const store = await copyOf(fixture, environment);
    await damageBlob(store, { kind, damage, twin });
    environment.advance(60_000);
    return { store, environment };
  };
  const { store, environment } = await prepare();
  const seen = await look(store, environment);
  if ("refused" in seen) {
    const { refused } = seen;
    const none = { list: "no", verify: "no", restore: "no", backup: "no", maintenance: "no" };
    return { open: refused, ...none, repair: await repair(await prepare(), kind) };
  }
  const isSound = seen.damaged === 0 && seen.whole === SNAPSHOTS && seen.warnings === 0;
  return {
    open: seen.warnings === 0 ? "works" : "works, warns",
    list: `${seen.listed} of ${SNAPSHOTS}`,
    verify: seen.damaged === 0 ? "no damage" : "names it",
    restore: `${seen.whole} of ${SNAPSHOTS}`,
    backup: await backup(await prepare()),
    maintenance: await maintenance(await prepare()),
    repair: isSound ? "nothing to do" : await repair(await prepare(), kind),
  };
}

async function damageBlob(
  store: BlobStore,
  { kind, damage, twin }: { kind: Kind; damage: DamageKind; twin: Fixture },
): Promise<void> {
  const ids = await blobIds(store, kind.prefix);
  const [id = fail(`no blob ${kind.prefix}`), other] = ids;
  const bytes = await store.get(id);
  const middle = kind.isPack === true ? 40 : Math.floor(bytes.length / 2);
  switch (damage) {
    case "missing":
      return await store.delete(id);
    case "truncated":
      return await replace(store, id, bytes.subarray(0, middle));
    case "bit flipped":
      return await replace(
        store,
        id,
        bytes.map((byte, at) => (at === middle ? byte ^ 1 : byte)),
      );
    case "zeroed":
      return await replace(store, id, new Uint8Array(bytes.length));
    case "swapped":
      if (other === undefined) {
        const [theirs = fail(`no twin of ${id}`)] = await blobIds(twin.store, kind.prefix);
        return await replace(store, id, await twin.store.get(theirs));
      }
      await replace(store, id, await store.get(other));
      return await replace(store, other, bytes);
  }
}

async function replace(store: BlobStore, id: BlobId, bytes: Uint8Array): Promise<void> {
  await store.put(id, [bytes]);
}

interface Seen {
  readonly listed: number;
  /** Snapshots that come back with all their files. */
  readonly whole: number;
  readonly damaged: number;
  readonly warnings: number;
}

async function look(
  store: BlobStore,
  environment: SeededEnvironment,
): Promise<Seen | { readonly refused: string }> {
  let repository: Repository;
  const before = environment.events.length;
  try {
    repository = await openAnew(store, environment);
  } catch (error) {
    return { refused: `\`${isVarveError(error) ? error.code : errorMessage(error)}\`` };
  }
  const warnings = environment.events.slice(before).filter(({ level }) => level === "warning");
  const { snapshots } = await listSnapshots(repository);
  let whole = 0;
  for (const { root } of snapshots) {
    whole += (await storedTree(repository, root).then(
      (tree) => Object.keys(tree).length === 2,
      () => false,
    ))
      ? 1
      : 0;
  }
  const { damagedCount } = await verify(repository);
  await repository[Symbol.asyncDispose]();
  return { listed: snapshots.length, whole, damaged: damagedCount, warnings: warnings.length };
}

type Prepared = { readonly store: BlobStore; readonly environment: SeededEnvironment };

/** Of the files that the first snapshot had. */
async function backup({ store, environment }: Prepared): Promise<string> {
  {
    await using repository = await openAnew(store, environment);
    await backUp(repository, 1);
  }
  await using repository = await openAnew(store, environment);
  const { snapshots } = await listSnapshots(repository);
  const latest = snapshots.toSorted((a, b) => (a.startTimeNs < b.startTimeNs ? 1 : -1))[0];
  const { damagedCount } = await verify(repository, { snapshots: latest ? [latest.id] : [] });
  return latest !== undefined && damagedCount === 0 ? "works" : "is damaged, too";
}

async function maintenance({ store, environment }: Prepared): Promise<string> {
  await using repository = await openAnew(store, environment);
  try {
    await runMaintenance(repository, { mode: "full", force: true });
    return "runs";
  } catch (error) {
    return isVarveError(error) ? "refused" : errorMessage(error);
  }
}

async function repair({ store, environment }: Prepared, { prefix }: Kind): Promise<string> {
  const password = PASSWORD;
  if (prefix === "kopia.repository") {
    await recoverFormat(store, { password, commit: true, environment });
  }
  if (prefix === "kopia.blobcfg") {
    await setParameters(store, { password, environment, changes: { retention: null } });
  }
  {
    await using repository = await openAnew(store, environment);
    await recoverIndex(repository, { commit: true });
  }
  const seen = await look(store, environment);
  if ("refused" in seen) {
    return "does not help";
  }
  return seen.damaged + seen.warnings === 0 && seen.whole === SNAPSHOTS
    ? "heals it"
    : `${seen.whole} of ${SNAPSHOTS} are whole`;
}

function fail(message: string): never {
  throw new Error(message);
}
