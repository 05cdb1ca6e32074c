import { assert } from "../base/errors.ts";
import { contentPrefix } from "../index/content-id.ts";
import { type ObjectId, splitObjectId } from "../object/object-id.ts";
import type { PolicyTree } from "../policy/policy-tree.ts";
import type { Repository } from "../repository/repository.ts";
import { encodeDirectory } from "../snapshot/directory.ts";
import type { DirectoryEntry, DirectorySummary, EntryMeta } from "../snapshot/entry.ts";
import type { KeptEntries } from "../snapshot/kept-entries.ts";
import { buildSummary, type FailedEntry } from "../snapshot/summary.ts";
import type { SourceEntry } from "../source/source-entry.ts";
import type { Bracket } from "./actions.ts";
import { type EarlierRecord, saysTheSame } from "./earlier-record.ts";
import { metadataCodec } from "./file-options.ts";
import type { ObjectKeys, RememberedDirectory } from "./remembered-tree.ts";

/**
 * A directory whose record is not written yet. It is complete when everything that was begun in it has ended: the
 * walk itself, files on their way through the executor, directories below.
 */
export class OpenDirectory {
  /** What is read in its place, once its action says so. */
  source: SourceEntry;
  bracket: Bracket | undefined;
  /** Relative to the root of the snapshot; `""` for the root itself. */
  readonly path: string;
  readonly policy: PolicyTree;
  readonly parent: OpenDirectory | undefined;
  /** What is stored so far, in any order. */
  readonly entries: DirectoryEntry[] = [];
  /** What else is in it, as the record of an earlier snapshot has it. */
  kept: KeptEntries | undefined;
  readonly failures: FailedEntry[] = [];
  readonly openChildren: Set<OpenDirectory> = new Set();
  /** The record that this one may turn out to equal. */
  earlier: EarlierRecord | undefined;
  /** What is remembered of it for the next backup; see `tree-memory.ts`. */
  state: string | undefined;
  /** The record that it has kept, where that is known without a look at it. */
  taken: RememberedDirectory | undefined;
  /** Contents of what is in `kept`. */
  keptKeys: ObjectKeys | undefined;
  /** False when a file was not as long as its listing says. */
  isExact = true;
  walkedChildren = 0;
  takenChildren = 0;
  rememberedChildren = 0;
  /** What the walk's end has taken of the budget for entries that wait. */
  heldEntries = 0;
  /** Why the directory cannot be in the snapshot, though some of it may have been read. */
  failure: unknown;
  readonly #onComplete: (directory: OpenDirectory) => void;
  #begun = 0;

  constructor(options: {
    source: SourceEntry;
    path: string;
    policy: PolicyTree;
    parent?: OpenDirectory | undefined;
    onComplete: (directory: OpenDirectory) => void;
  }) {
    this.source = options.source;
    this.path = options.path;
    this.policy = options.policy;
    this.parent = options.parent;
    this.#onComplete = options.onComplete;
  }

  begin(): void {
    this.#begun++;
  }

  end(): void {
    this.#begun--;
    assert(this.#begun >= 0, "every end has its begin");
    if (this.#begun === 0) {
      this.#onComplete(this);
    }
  }

  /** When the walk has come to its end. With a file on its way the record may be long, and is not what will be written. */
  keepEarlier(earlier: EarlierRecord | undefined): void {
    const settled = this.entries.length + this.openChildren.size;
    this.earlier = earlier?.record.entries.length === settled ? earlier : undefined;
  }

  pathOf(name: string): string {
    return this.path === "" ? name : `${this.path}/${name}`;
  }
}

/** The entry of a live file or link whose bytes are stored as `object`. */
export function storedEntry(
  source: SourceEntry,
  stored: {
    readonly type: EntryMeta["type"];
    readonly object: ObjectId;
    readonly sizeBytes: number;
    readonly summary?: DirectorySummary | undefined;
  },
): DirectoryEntry {
  const { mode, mtimeNs, uid, gid } = source.meta;
  const { type, sizeBytes, object, summary } = stored;
  return {
    name: source.name,
    ...(source.nameBytes === undefined ? {} : { nameBytes: source.nameBytes }),
    type,
    mode,
    sizeBytes,
    mtimeNs,
    uid,
    gid,
    object,
    ...(summary === undefined ? {} : { summary }),
  };
}

/** {@link storedEntry} of a file or link that is as it was: the earlier entry itself, when it says no less and no more. */
export function unchangedEntry(source: SourceEntry, earlier: DirectoryEntry): DirectoryEntry {
  const { type, object, sizeBytes, summary } = earlier;
  return source.nameBytes === undefined && summary === undefined
    ? earlier
    : storedEntry(source, { type, object, sizeBytes });
}

/** Writes a record of `entries` (spec §6.4) and gives the entry of the directory in its parent. */
export async function writeDirectory(
  repository: Repository,
  directory: OpenDirectory,
  options: {
    readonly entries: readonly DirectoryEntry[];
    readonly failures: readonly FailedEntry[];
    readonly incomplete: string | undefined;
    readonly signal: AbortSignal;
  },
): Promise<DirectoryEntry> {
  const { entries, failures, incomplete, signal } = options;
  if (directory.taken !== undefined) {
    const { object, summary } = directory.taken;
    return storedEntry(directory.source, { type: "directory", object, sizeBytes: 0, summary });
  }
  const { mtimeNs } = directory.source.meta;
  const { kept } = directory;
  const summary = buildSummary({ entries, kept, failures, incomplete, mtimeNs });
  const { earlier, source } = directory;
  if (
    earlier !== undefined &&
    saysTheSame(earlier, entries, summary) &&
    takeStored(repository, earlier.object)
  ) {
    const { object } = earlier;
    return storedEntry(source, { type: "directory", object, sizeBytes: 0, summary });
  }
  const codec = metadataCodec(repository, directory.policy.effective);
  const { id } = await repository.objects.write(once(encodeDirectory({ entries, summary, kept })), {
    prefix: "k",
    codec,
    metadataCodec: codec,
    signal,
  });
  return storedEntry(source, { type: "directory", object: id, sizeBytes: 0, summary });
}

/** False when the record is not one stored content of its kind; else it is counted as known, as if it had been written. */
export function takeStored({ contents }: Repository, record: ObjectId): boolean {
  const { indirections, compressed, contentId } = splitObjectId(record);
  if (indirections > 0 || compressed || contentPrefix(contentId) !== "k") {
    return false;
  }
  return contents.isStored(contentId) && contents.claim([contentId])[0] === false;
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
  yield bytes;
}
