import type { CallOptions, Environment } from "../base/environment.ts";
import type { MemoryPlan } from "../base/memory-plan.ts";
import type { BlobStore } from "../blob/store.ts";
import type { Codecs } from "../compression/codec.ts";
import type { ContentStore } from "../content/content-store.ts";
import type { RepositoryFormat } from "../format/format.ts";
import type { ScratchFile } from "../index/slabs.ts";
import type { ManifestStore } from "../manifest/manifest-store.ts";
import type { ObjectStore } from "../object/object-store.ts";
import type { Executor } from "../pipeline/executor.ts";
import type { Splitter } from "../splitter/splitter.ts";
import type { RepositoryDamage } from "./damage.ts";
import type { SealedNotes } from "./sealed-notes.ts";

/** An open repository: a value that holds the wired layers. Disposing discards what was not flushed. */
export interface Repository extends AsyncDisposable {
  readonly blobs: BlobStore;
  readonly format: RepositoryFormat;
  readonly readOnly: boolean;
  readonly contents: ContentStore;
  readonly objects: ObjectStore;
  readonly manifests: ManifestStore;
  /** The bounds of whatever works on this repository. */
  readonly memory: MemoryPlan;
  /** A file for what does not fit under a ceiling on memory, of the caller. */
  openScratch(): Promise<ScratchFile>;
  /** Starts its threads with the first job. */
  readonly executor: Executor;
  readonly codecs: Codecs;
  /** The splitter of a policy's name; the repository's own for `undefined`, `""` and names varve does not know. */
  splitter(name: string | undefined): Splitter;
  readonly environment: Environment;
  /** Who is writing; recorded in session markers, snapshot sources and maintenance ownership. */
  readonly client: ClientIdentity;
  /** Left out where nothing is kept on this machine. */
  readonly notes?: SealedNotes | undefined;
  /** What could not be read, as of now; empty when all is well. What it makes unsafe is refused. */
  readonly damage: readonly RepositoryDamage[];
  /** Sees what others have committed. */
  refresh(options?: CallOptions): Promise<void>;
  /** The commit point: manifests, then contents, packs and index. */
  flush(options?: CallOptions): Promise<void>;
}

export interface ClientIdentity {
  readonly username: string;
  readonly hostname: string;
}
