import { VarveError } from "../base/errors.ts";
import type { ContentId } from "../index/content-id.ts";
import type { ContentInfo } from "../index/content-info.ts";
import type { ContentStore } from "../content/content-store.ts";
import { splitObjectId } from "../object/object-id.ts";
import type { ObjectEntry } from "../object/object-store.ts";
import type { FileTask } from "./file-task.ts";
import type { TreeStep } from "./tree-walk.ts";

/** A window is full with this many files: small ones that lie together in a pack come with few requests … */
export const WINDOW_FILES = 1024;
/** … this many directories and long files, each of which may be held open … */
export const WINDOW_OPEN = 256;
/** … this many pieces … */
export const WINDOW_PIECES = 8192;
/** … or this many bytes of plain contents. They are only held at once when the target is ordered. */
export const WINDOW_BYTES: number = 256 * 1024 * 1024;
export const ORDERED_WINDOW_BYTES: number = 32 * 1024 * 1024;
/** Longer files are held open by targets that write. */
const LONG_FILE_BYTES = 64 * 1024;

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
  readonly #maxBytes: number;
  #bytes = 0;
  #open = 0;
  #lastParent: FileTask["parent"];
  #files = 0;
  #pieces = 0;

  constructor(options: { ordered: boolean }) {
    this.#maxBytes = options.ordered ? ORDERED_WINDOW_BYTES : WINDOW_BYTES;
  }

  get full(): boolean {
    return (
      this.#bytes >= this.#maxBytes ||
      this.#files >= WINDOW_FILES ||
      this.#open >= WINDOW_OPEN ||
      this.#pieces >= WINDOW_PIECES
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
      (file.sizeBytes > LONG_FILE_BYTES ? 1 : 0) + (file.parent === this.#lastParent ? 0 : 1);
    this.#lastParent = file.parent;
  }
}
