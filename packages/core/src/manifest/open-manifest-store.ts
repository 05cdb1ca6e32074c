import { PARALLEL_READS } from "../base/budget.ts";
import { toHex } from "../base/bytes.ts";
import { forEachLimit, Semaphore } from "../base/concurrency.ts";
import type { CallOptions, Environment } from "../base/environment.ts";
import { errorMessage, VarveError } from "../base/errors.ts";
import { goJsonText } from "../base/json.ts";
import { msToNs } from "../base/time.ts";
import { damageOf } from "../blob/damaged-blob.ts";
import type { Codec, Codecs } from "../compression/codec.ts";
import type { ContentStore } from "../content/content-store.ts";
import type { ContentId } from "../index/content-id.ts";
import {
  decodeManifestContent,
  encodeManifestContent,
  MAX_MANIFEST_BYTES,
  type ManifestEntry,
} from "./manifest-content.ts";
import {
  type DamagedManifests,
  type Labels,
  type ManifestId,
  type ManifestInfo,
  type ManifestStore,
  parseManifestId,
} from "./manifest-store.ts";

/**
 * Manifests over contents with prefix `m` (spec §6.1): every such content is part of the whole, and of several entries
 * with one id the one modified last wins. One content that cannot be read does not hide the others, unlike in Kopia.
 */
export function openManifestStore(options: {
  contents: ContentStore;
  codecs: Codecs;
  environment: Environment;
  readOnly: boolean;
}): ManifestStore {
  return new ContentManifestStore(options);
}

const MANIFEST_PREFIX = "m";
// As many as make Kopia merge them.
const COMPACT_ABOVE_CONTENTS = 16;
const MANIFEST_ID_BYTES = 16;

class ContentManifestStore implements ManifestStore {
  readonly #contents: ContentStore;
  readonly #environment: Environment;
  readonly #readOnly: boolean;
  readonly #gzip: Codec;
  readonly #contentCodec: Codec;
  /** Held while loading and flushing. */
  readonly #exclusive = new Semaphore(1);
  /** How often a refresh was asked for, and how often when the last load began. */
  #wantedLoad = 1;
  #lastLoad = 0;
  /** What each live content holds. */
  readonly #loaded = new Map<ContentId, readonly ManifestEntry[]>();
  #damaged: DamagedManifests[] = [];
  /** The merge of all that is loaded, tombstones included. */
  #merged = new Map<ManifestId, ManifestEntry>();
  #pending = new Map<ManifestId, ManifestEntry>();
  #lastModifiedNs = 0n;

  constructor(options: {
    contents: ContentStore;
    codecs: Codecs;
    environment: Environment;
    readOnly: boolean;
  }) {
    this.#contents = options.contents;
    this.#environment = options.environment;
    this.#readOnly = options.readOnly;
    this.#gzip = options.codecs.byName("gzip");
    this.#contentCodec = options.codecs.byName("zstd-fastest"); // spec §3.4: always tried, rarely shorter
  }

  get damaged(): readonly DamagedManifests[] {
    return this.#damaged;
  }

  async put(labels: Labels, payload: unknown): Promise<ManifestId> {
    this.#requireWritable();
    if (labels["type"] === undefined) {
      throw new VarveError("invalid-argument", "a manifest needs a label `type`");
    }
    if (payload === undefined) {
      throw new VarveError("invalid-argument", "a manifest needs a payload");
    }
    const id = parseManifestId(toHex(this.#environment.randomBytes(MANIFEST_ID_BYTES)));
    const modifiedNs = this.#modifiedNs();
    const data = goJsonText(payload);
    this.#pending.set(id, { id, labels: { ...labels }, modifiedNs, deleted: false, data });
    return id;
  }

  async get(
    id: ManifestId,
    options: CallOptions = {},
  ): Promise<ManifestInfo & { payload: unknown }> {
    await this.#load(options);
    const entry = this.#current(id);
    if (entry === undefined || entry.deleted) {
      throw new VarveError("manifest-not-found", `manifest ${id} does not exist`);
    }
    return { ...infoOf(entry), payload: JSON.parse(entry.data) };
  }

  async find(labels: Labels, options: CallOptions = {}): Promise<readonly ManifestInfo[]> {
    await this.#load(options);
    const wanted = Object.entries(labels);
    return this.#live()
      .filter((entry) => wanted.every(([name, value]) => entry.labels[name] === value))
      .sort(byModification)
      .map(infoOf);
  }

  async delete(id: ManifestId, options: CallOptions = {}): Promise<void> {
    this.#requireWritable();
    await this.#load(options);
    const entry = this.#current(id);
    if (entry === undefined || entry.deleted) {
      return;
    }
    this.#pending.delete(id);
    if (this.#merged.has(id)) {
      const modifiedNs = this.#modifiedNs(entry.modifiedNs);
      this.#pending.set(id, { id, labels: {}, modifiedNs, deleted: true, data: "null" });
    }
  }

  async flush(options: CallOptions = {}): Promise<void> {
    if (this.#readOnly) {
      return;
    }
    await this.#exclusively(options, async () => {
      if (this.#liveContents().length >= COMPACT_ABOVE_CONTENTS && (await this.#compact(options))) {
        return;
      }
      if (this.#pending.size > 0) {
        await this.#write([...this.#pending.values()], options);
      }
    });
  }

  async refresh(): Promise<void> {
    this.#wantedLoad++;
  }

  /** False when it is better left. */
  async #compact(options: CallOptions): Promise<boolean> {
    try {
      await this.#loadNow(options);
    } catch (error) {
      options.signal?.throwIfAborted();
      // What is pending can be written without reading anything, and may be the record of a day's work.
      const message = `manifests are not merged: ${errorMessage(error)}`;
      this.#environment.log({ level: "warning", message });
      return false;
    }
    const entries = this.#live();
    const size = entries.reduce((sum, entry) => sum + entry.data.length, 0);
    // A tombstone may be for something in a content that cannot be read now.
    const isAllKnown = this.#damaged.length + this.#contents.damagedIndexBlobs.length === 0;
    if (!isAllKnown || entries.length === 0 || size > MAX_MANIFEST_BYTES / 4) {
      return false;
    }
    const replaced = [...this.#loaded.keys()];
    const merged = await this.#write(entries, options);
    // Merging may give the very bytes of one of them.
    const obsolete = replaced.filter((id) => id !== merged);
    this.#contents.remove(obsolete);
    for (const id of obsolete) {
      this.#loaded.delete(id);
    }
    return true;
  }

  /** Writes `entries`, among them all that is pending. */
  async #write(entries: readonly ManifestEntry[], { signal }: CallOptions): Promise<ContentId> {
    const pending = this.#pending;
    const content = encodeManifestContent(entries, { gzip: this.#gzip });
    // What is put while the content waits for room is for the next flush.
    this.#pending = new Map();
    const id = await this.#contents
      .write(content, { prefix: MANIFEST_PREFIX, codec: this.#contentCodec, signal })
      .catch((error: unknown) => {
        this.#pending = new Map([...pending, ...this.#pending]);
        throw error;
      });
    this.#loaded.set(id, entries);
    this.#merge();
    return id;
  }

  async #load(options: CallOptions): Promise<void> {
    if (this.#lastLoad < this.#wantedLoad) {
      await this.#exclusively(options, () => this.#loadNow(options));
    }
  }

  async #loadNow({ signal }: CallOptions): Promise<void> {
    const load = this.#wantedLoad;
    if (this.#lastLoad === load) {
      return;
    }
    const live = this.#liveContents();
    const missing = live.filter((id) => !this.#loaded.has(id));
    const damaged: DamagedManifests[] = [];
    await forEachLimit(missing, { limit: PARALLEL_READS, signal }, async (contentId) => {
      try {
        const content = await this.#contents.read(contentId, { signal });
        const what = `manifest content ${contentId}`;
        this.#loaded.set(contentId, decodeManifestContent(content, { gzip: this.#gzip, what }));
      } catch (error) {
        // A storage that does not answer is no damage: leaving manifests out then would let their snapshots be collected.
        if (damageOf(error) === undefined) {
          throw error;
        }
        damaged.push({ contentId, reason: errorMessage(error) });
      }
    });
    const liveIds = new Set(live);
    for (const contentId of this.#loaded.keys()) {
      if (!liveIds.has(contentId)) {
        this.#loaded.delete(contentId);
      }
    }
    this.#damaged = damaged;
    for (const { contentId, reason } of damaged) {
      const message = `manifests in content ${contentId} are left out: ${reason}`;
      this.#environment.log({ level: "warning", message });
    }
    this.#merge();
    this.#lastLoad = load;
  }

  #liveContents(): ContentId[] {
    return Array.from(this.#contents.entries({ prefix: MANIFEST_PREFIX }), ({ id }) => id);
  }

  #merge(): void {
    const merged = new Map<ManifestId, ManifestEntry>();
    for (const entries of this.#loaded.values()) {
      for (const entry of entries) {
        const other = merged.get(entry.id);
        if (other === undefined || entry.modifiedNs > other.modifiedNs) {
          merged.set(entry.id, entry);
        }
      }
    }
    this.#merged = merged;
  }

  #current(id: ManifestId): ManifestEntry | undefined {
    return this.#pending.get(id) ?? this.#merged.get(id);
  }

  #live(): ManifestEntry[] {
    const current = new Map([...this.#merged, ...this.#pending]);
    return [...current.values()].filter((entry) => !entry.deleted);
  }

  /** Now, but later than anything this store has written, and than `previousNs`. */
  #modifiedNs(previousNs = 0n): bigint {
    const times = [msToNs(this.#environment.nowMs()), this.#lastModifiedNs + 1n, previousNs + 1n];
    this.#lastModifiedNs = times.reduce((latest, time) => (time > latest ? time : latest));
    return this.#lastModifiedNs;
  }

  async #exclusively(options: CallOptions, work: () => Promise<void>): Promise<void> {
    await this.#exclusive.acquire(1, options);
    try {
      await work();
    } finally {
      this.#exclusive.release(1);
    }
  }

  #requireWritable(): void {
    if (this.#readOnly) {
      throw new VarveError("read-only", "the repository was opened read-only");
    }
  }
}

function infoOf({ id, labels, modifiedNs }: ManifestEntry): ManifestInfo {
  return { id, labels, modifiedNs };
}

function byModification(a: ManifestInfo, b: ManifestInfo): number {
  if (a.modifiedNs !== b.modifiedNs) {
    return a.modifiedNs < b.modifiedNs ? -1 : 1;
  }
  return a.id < b.id ? -1 : 1;
}
