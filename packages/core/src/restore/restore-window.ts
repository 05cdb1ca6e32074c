import { VarveError } from "../base/errors.ts";
import type { ContentId } from "../index/content-id.ts";
import type { ContentInfo } from "../index/content-info.ts";
import type { ContentStore } from "../content/content-store.ts";
import { type ObjectId, splitObjectId } from "../object/object-id.ts";
import type { ObjectEntry } from "../object/object-store.ts";
import type { FileTask } from "./file-task.ts";
import type { TreeStep } from "./tree-walk.ts";

/** What fills a window, whichever comes first. */
interface WindowLimits {
  readonly files: number;
  readonly pieces: number;
  /** Directories and files of several pieces, each of which may be held open. */
  readonly open: number;
  /** Of plain contents. */
  readonly bytes: number;
}

/** Contents are held until all before them have been written. */
const ORDERED: WindowLimits = {
  files: 1024,
  pieces: 8192,
  open: 256,
  bytes: 32 * 1024 * 1024,
};
/** In proportion, so that a low ceiling of memory is kept: the plan of a file takes some 2 KB. */
const FILES_PER_READ = 160;

/** A long window has what is far apart in the tree and lies together in packs, and files that are the same. */
function limitsAsRead(parallelReads: number): WindowLimits {
  const files = FILES_PER_READ * parallelReads;
  return { files, pieces: files, open: 512, bytes: 1024 * 1024 * 1024 };
}

/** How many files may be planned and not complete: a window, and a part of the next. */
export function maxPlannedFiles(parallelReads: number): number {
  return 1.25 * limitsAsRead(parallelReads).files;
}

/** One place where a content belongs. */
export interface Use {
  readonly file: FileTask;
  readonly offset: number;
  readonly length: number;
  /** The content is a compressed stream with its header (spec §5.1, `Z`). */
  readonly compressed: boolean;
}

export type WindowStep =
  | Extract<TreeStep, { kind: "directory" }>
  | { readonly kind: "piece"; readonly info: ContentInfo; readonly use: Use }
  /** All pieces of the file have been planned. */
  | { readonly kind: "end"; readonly file: FileTask };

/**
 * The part of a restore that is planned and read as one: each content in it is read once, however many files want it. A
 * long file spreads over many windows.
 */
export class RestoreWindow {
  readonly steps: WindowStep[] = [];
  readonly uses: Map<ContentId, { info: ContentInfo; uses: Use[] }> = new Map();
  readonly #limits: WindowLimits;
  #bytes = 0;
  #open = 0;
  #lastParent: FileTask["parent"];
  #files = 0;
  #pieces = 0;

  constructor(options: { ordered: boolean; parallelReads: number }) {
    this.#limits = options.ordered ? ORDERED : limitsAsRead(options.parallelReads);
  }

  get full(): boolean {
    const { files, pieces, open, bytes } = this.#limits;
    return (
      this.#files >= files || this.#pieces >= pieces || this.#open >= open || this.#bytes >= bytes
    );
  }

  addDirectory(step: Extract<TreeStep, { kind: "directory" }>): void {
    this.steps.push(step);
    this.#files += 1;
  }

  /** Throws `content-not-found`. */
  addPiece(contents: ContentStore, file: FileTask, piece: ObjectEntry): void {
    const { contentId, compressed } = splitObjectId(piece.object);
    const info = contents.info(contentId);
    if (info === undefined) {
      throw new VarveError("content-not-found", `content ${contentId} is in no index`);
    }
    const use = { file, offset: piece.start, length: piece.length, compressed };
    const wanted = this.uses.get(contentId);
    if (wanted === undefined) {
      this.uses.set(contentId, { info, uses: [use] });
      this.#bytes += piece.length;
    } else {
      wanted.uses.push(use);
    }
    this.steps.push({ kind: "piece", info, use });
    this.#pieces += 1;
    file.hold();
  }

  addEnd(file: FileTask): void {
    this.steps.push({ kind: "end", file });
    this.#files += 1;
    this.#open +=
      (isSingleContent(file.object) ? 0 : 1) + (file.parent === this.#lastParent ? 0 : 1);
    this.#lastParent = file.parent;
  }
}

export function isSingleContent(object: ObjectId): boolean {
  const { indirections, compressed } = splitObjectId(object);
  return indirections === 0 && !compressed;
}
