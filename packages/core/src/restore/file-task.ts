import { VarveError } from "../base/errors.ts";
import type { ObjectId } from "../object/object-id.ts";
import type { EntryMeta } from "../snapshot/entry.ts";
import type { ReportBuilder } from "./report.ts";
import type { EntryPath, RestoreTarget, WritableFile } from "./target.ts";
import type { DirectoryNode } from "./tree-walk.ts";

/**
 * One file or symlink on its way into the target. It is finished when nothing is open any more: its planning, and each
 * piece that was planned and not yet written. The first failure decides; the rest is then let go.
 */
export class FileTask {
  readonly kind: "file" | "symlink";
  readonly path: EntryPath;
  readonly meta: EntryMeta | undefined;
  readonly object: ObjectId;
  readonly parent: DirectoryNode | undefined;
  readonly sizeBytes: number;
  readonly #target: RestoreTarget;
  readonly #report: ReportBuilder;
  #writer: WritableFile | undefined;
  #open = 1;
  #state: "new" | "writing" | "skipped" | "failed" = "new";

  constructor(options: {
    kind: "file" | "symlink";
    path: EntryPath;
    meta: EntryMeta | undefined;
    object: ObjectId;
    parent: DirectoryNode | undefined;
    sizeBytes: number;
    target: RestoreTarget;
    report: ReportBuilder;
  }) {
    this.kind = options.kind;
    this.path = options.path;
    this.meta = options.meta;
    this.object = options.object;
    this.parent = options.parent;
    this.sizeBytes = options.sizeBytes;
    this.#target = options.target;
    this.#report = options.report;
  }

  /** False when there is nothing to write: it failed, or is to be left alone. */
  get wanted(): boolean {
    return this.#state === "new" || this.#state === "writing";
  }

  /** Before the first `write`. */
  async start(): Promise<void> {
    if (this.#state !== "new") {
      return;
    }
    try {
      this.#writer =
        this.kind === "symlink"
          ? this.#linkWriter()
          : await this.#target.file(this.path, this.meta, this.sizeBytes);
      this.#state = this.#writer === undefined ? "skipped" : "writing";
    } catch (error) {
      this.fail(error);
    }
  }

  /** A piece was planned: one more `release` will come. */
  hold(): void {
    this.#open += 1;
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    if (this.#state !== "writing") {
      return;
    }
    try {
      await this.#writer?.writeAt(offset, bytes);
      this.#report.bytes += this.kind === "file" ? bytes.length : 0;
    } catch (error) {
      this.fail(error);
    }
  }

  fail(error: unknown): void {
    if (this.#state !== "failed") {
      this.#state = "failed";
      this.#report.fail(this.path, error);
    }
  }

  /** True when this was the last one: the entry is done. */
  async release(): Promise<boolean> {
    this.#open -= 1;
    if (this.#open > 0) {
      return false;
    }
    try {
      if (this.#state === "writing") {
        await this.#finish();
      } else if (this.#state === "skipped") {
        this.#report.skipped += 1;
      }
    } catch (error) {
      this.fail(error);
    } finally {
      if (this.#state === "failed") {
        await this.#writer?.abandon();
      }
    }
    return true;
  }

  /** Instead of the last `release`, when the restore ends early. */
  async abandon(): Promise<void> {
    await this.#writer?.abandon();
  }

  async #finish(): Promise<void> {
    await this.#writer?.finish();
    if (this.#state === "skipped") {
      this.#report.skipped += 1;
    } else if (this.kind === "file") {
      this.#report.files += 1;
    } else {
      this.#report.symlinks += 1;
    }
    this.#report.progress();
  }

  /** Collects the link's text, which is made in one call. */
  #linkWriter(): WritableFile {
    if (this.sizeBytes > MAX_LINK_BYTES) {
      throw new VarveError("corrupt", `symlink target of ${this.sizeBytes} bytes`);
    }
    const to = new Uint8Array(this.sizeBytes);
    return {
      writeAt: async (offset, bytes) => to.set(bytes, offset),
      finish: async () => {
        if (!(await this.#target.symlink(this.path, this.meta, to))) {
          this.#state = "skipped";
        }
      },
      abandon: async () => {},
    };
  }
}

// Linux allows 4095 bytes; other systems are in the same range.
const MAX_LINK_BYTES = 65_536;
