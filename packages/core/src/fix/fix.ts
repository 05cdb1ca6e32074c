import { type ErrorCode, errorMessage, isVarveError, VarveError } from "../base/errors.ts";
import type { Codec } from "../compression/codec.ts";
import type { ObjectId } from "../object/object-id.ts";
import { compileNamePattern } from "../policy/ignore-pattern.ts";
import { loadPolicyTree } from "../policy/policy-tree.ts";
import { requireWholeIndex } from "../repository/damage.ts";
import type { Repository } from "../repository/repository.ts";
import type { DirectoryEntry } from "../snapshot/entry.ts";
import {
  formatSource,
  listSnapshots,
  loadSnapshot,
  replaceSnapshot,
  type SavedSnapshot,
} from "../snapshot/snapshots.ts";
import { metadataCodec } from "../upload/file-options.ts";
import { ObjectProblems } from "../verify/object-problems.ts";
import { entryKey, type Findings, noFindings } from "../verify/structure.ts";
import { findDamage } from "./find-damage.ts";
import {
  type FixChange,
  type FixCounts,
  type FixedSnapshot,
  type FixOptions,
  type FixReport,
  MAX_CHANGES,
} from "./fix-options.ts";
import { TreeRewriter, type Verdict } from "./rewrite-tree.ts";

/**
 * Fix: rewrites the trees of snapshots so that they hold nothing that cannot be read, or nothing that was named for removal
 * (behaviour §5). Subtrees without changes keep their object ids; manifests are replaced, pins and tags kept, all of them with one
 * commit at the end. Removes nothing from storage. What may be readable later is not damage: when storage fails, the call does.
 */

// What stays as it is when the same call is made again. Everything else must not cost anybody a file.
const DAMAGE: ReadonlySet<ErrorCode> = new Set([
  "corrupt",
  "content-not-found",
  "blob-not-found",
  "range-invalid",
]);
// As for uploads: a session must not grow old (spec §3.5).
const FLUSH_INTERVAL_MS = 10 * 60 * 1000;

/**
 * Throws `manifest-not-found`, `read-only`, `invalid-argument`, `corrupt` when a part of the index cannot be read, what storage throws, the signal's reason, and, where the handling is
 * `fail`, the code of the damage; then nothing is changed.
 */
export async function fixSnapshots(
  repository: Repository,
  options: FixOptions,
): Promise<FixReport> {
  const { signal, commit } = options;
  checkOptions(repository, options);
  const isRemoved = removalRule(options);
  await repository.refresh({ signal });
  if (commit) {
    requireWholeIndex(repository, "nothing is taken out of snapshots");
    await repository.contents.auditPacks({ signal }); // what is lost must be written anew
  }
  const run = new FixRun(options);
  const { snapshots, unreadable } = await selectSnapshots(repository, options);
  const findings =
    options.invalidFiles === undefined
      ? noFindings()
      : await findDamage(repository, snapshots, {
          ...options.invalidFiles,
          parallel: options.parallel,
          signal,
          onDirectories: (count) => run.directoriesRead(count),
        });
  requireOnlyDamage(findings);
  const rewriter = createRewriter(repository, { options, findings, isRemoved, run });
  const codecs = new Map<string, Codec | undefined>();
  const fixed: FixedSnapshot[] = [];
  for (const before of snapshots) {
    const codec = await codecFor(repository, before, { codecs, signal });
    const root = await rewriter.rewriteRoot(before.root, { snapshot: before.id, codec });
    run.snapshots += 1;
    if (root !== before.root) {
      fixed.push({ before, root });
    }
  }
  return {
    ...run.counts(),
    changes: run.changes,
    unreadable,
    fixed: await replaceAll(repository, fixed, options),
  };
}

async function replaceAll(
  repository: Repository,
  fixed: readonly FixedSnapshot[],
  { commit, signal }: FixOptions,
): Promise<readonly FixedSnapshot[]> {
  if (!commit || fixed.length === 0) {
    return fixed;
  }
  const replaced: FixedSnapshot[] = [];
  for (const { before, root } of fixed) {
    const { id } = await replaceSnapshot(repository, before.id, { root }, { signal });
    replaced.push({ before, root, id });
  }
  await repository.flush({ signal });
  return replaced;
}

/** What is counted and told. */
class FixRun {
  readonly changes: FixChange[] = [];
  snapshots = 0;
  readonly #onProgress: FixOptions["onProgress"];
  #directories = 0;
  #changeCount = 0;

  constructor({ onProgress }: FixOptions) {
    this.#onProgress = onProgress;
  }

  directoriesRead(count: number): void {
    this.#directories += count;
    this.#onProgress?.(this.counts());
  }

  addChange(change: FixChange): void {
    this.#changeCount += 1;
    if (this.changes.length < MAX_CHANGES) {
      this.changes.push(change);
    }
  }

  counts(): FixCounts {
    return {
      snapshots: this.snapshots,
      directories: this.#directories,
      changeCount: this.#changeCount,
    };
  }
}

function createRewriter(
  repository: Repository,
  parts: { options: FixOptions; findings: Findings; isRemoved: RemovalRule; run: FixRun },
): TreeRewriter {
  const { options, findings, isRemoved, run } = parts;
  const { signal, commit, parallel, invalidFiles } = options;
  const problems = new ObjectProblems({ repository, findings, signal });
  const { environment } = repository;
  let flushedMs = environment.nowMs();
  const judge = async (
    entry: DirectoryEntry,
    directory: ObjectId | undefined,
  ): Promise<Verdict | undefined> => {
    const message = isRemoved(entry);
    if (message !== undefined) {
      return { handling: "remove", reason: { message } };
    }
    if (entry.type === "directory" || invalidFiles === undefined) {
      return undefined;
    }
    const reason =
      (await problems.of(entry.object)) ??
      (directory === undefined ? undefined : findings.entries.get(entryKey(directory, entry)));
    return reason === undefined ? undefined : { handling: invalidFiles.handling, reason };
  };
  return new TreeRewriter({
    repository,
    judge,
    directoryProblem: (object) => problems.of(object),
    invalidDirectories: options.invalidDirectories ?? "stub",
    dropDamaged: invalidFiles?.handling === "remove",
    requireDamage,
    report: (change) => run.addChange(change),
    onDirectory: () => run.directoriesRead(1),
    parallel,
    signal,
    store: async (bytes, { prefix, codec, instead }) => {
      if (!commit) {
        return instead;
      }
      const { id } = await repository.objects.write(once(bytes), {
        prefix,
        codec,
        metadataCodec: codec,
        signal,
      });
      if (environment.nowMs() - flushedMs >= FLUSH_INTERVAL_MS) {
        flushedMs = environment.nowMs();
        await repository.contents.flush({ signal });
      }
      return id;
    },
  });
}

async function selectSnapshots(
  repository: Repository,
  { snapshots, signal }: FixOptions,
): Promise<{ snapshots: readonly SavedSnapshot[]; unreadable: FixReport["unreadable"] }> {
  if (snapshots !== undefined) {
    const found: SavedSnapshot[] = [];
    for (const id of new Set(snapshots)) {
      found.push(await loadSnapshot(repository, id, { signal }));
    }
    return { snapshots: found, unreadable: [] };
  }
  const list = await listSnapshots(repository, {}, { signal });
  const unreadable = list.damaged.map(({ id, error }) => ({ id, message: errorMessage(error) }));
  return { snapshots: list.snapshots, unreadable };
}

/** Why an entry is to be removed, or nothing. */
type RemovalRule = (entry: DirectoryEntry) => string | undefined;

function removalRule({ removeFiles }: FixOptions): RemovalRule {
  const objects = new Set(removeFiles?.objects);
  const patterns = (removeFiles?.names ?? []).map((text) => ({
    text,
    matches: compileNamePattern(text),
  }));
  return ({ name, object }) => {
    if (objects.has(object)) {
      return "removed by its object id";
    }
    const pattern = patterns.find(({ matches }) => matches(name));
    return pattern === undefined ? undefined : `removed as ${JSON.stringify(pattern.text)}`;
  };
}

async function codecFor(
  repository: Repository,
  { source }: SavedSnapshot,
  { codecs, signal }: { codecs: Map<string, Codec | undefined>; signal: AbortSignal | undefined },
): Promise<Codec | undefined> {
  const key = formatSource(source);
  if (!codecs.has(key)) {
    const { effective } = await loadPolicyTree(repository, source, { signal });
    codecs.set(key, metadataCodec(repository, effective));
  }
  return codecs.get(key);
}

function requireOnlyDamage({ contents, objects, entries }: Findings): void {
  for (const reasons of [contents, objects, entries]) {
    for (const { code, message } of reasons.values()) {
      requireDamage(new VarveError(code, message));
    }
  }
}

function requireDamage(error: unknown): void {
  if (!isVarveError(error) || !DAMAGE.has(error.code)) {
    throw error;
  }
}

function checkOptions(repository: Repository, options: FixOptions): void {
  const { commit, invalidFiles, removeFiles } = options;
  if (commit && repository.readOnly) {
    throw new VarveError("read-only", "fix: the repository is open for reading only");
  }
  const named = (removeFiles?.names.length ?? 0) + (removeFiles?.objects.length ?? 0);
  if (invalidFiles === undefined && named === 0) {
    throw new VarveError("invalid-argument", "fix: nothing is named that is to be removed");
  }
  if (
    invalidFiles !== undefined &&
    !(invalidFiles.readFraction >= 0 && invalidFiles.readFraction <= 1)
  ) {
    throw new VarveError("invalid-argument", "fix: readFraction is not from 0 to 1");
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
  yield bytes;
}
