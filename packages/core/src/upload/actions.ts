import { toHex } from "../base/bytes.ts";
import type { CallOptions } from "../base/environment.ts";
import { errorMessage, VarveError } from "../base/errors.ts";
import type { ActionCommand, ActionsPolicy } from "../policy/policy.ts";
import type { PolicyTree } from "../policy/policy-tree.ts";
import { renamed, type SourceEntry } from "../source/source-entry.ts";
import type { UploadSession } from "./session.ts";

/**
 * The commands that policies ask for before and after a folder or a whole snapshot (behaviour §1.9). The library starts no
 * program: whoever embeds it gives an {@link ActionRunner}, or policies' commands are left out with a warning.
 */

export type ActionKind =
  | "before-folder"
  | "after-folder"
  | "before-snapshot-root"
  | "after-snapshot-root";

/** Starts commands of policies, which whoever may write policies has chosen: to be given only where these are trusted. */
export interface ActionRunner {
  /** For the commands before and after one folder, which share what they are told; `id` is random. Disposed when both are done. */
  begin(place: { readonly id: string; readonly sourcePath: string }): ActionPair;
  /** The folder that a command wants to be backed up in place of its own. Throws `source-failed`. */
  open(path: string, options: CallOptions): Promise<SourceEntry>;
}

export interface ActionPair extends AsyncDisposable {
  /**
   * Resolves when the command has ended well, to the folder that is to be backed up in place of the given one, if it names any; with
   * `mode: "async"` when it has started. Rejects when it fails, and ends it at its timeout and when `signal` aborts.
   */
  run(
    kind: ActionKind,
    command: ActionCommand,
    options: CallOptions,
  ): Promise<{ readonly snapshotPath?: string | undefined }>;
}

/** A folder between its two commands. */
export interface Bracket {
  /** What is read; the name is the folder's own in any case. */
  readonly source: SourceEntry;
  /** Runs the command after, once; its failure is only told. */
  end(): Promise<void>;
}

interface Place {
  readonly source: SourceEntry;
  readonly path: string;
  readonly policy: PolicyTree;
}

export class Actions {
  readonly #session: UploadSession;
  readonly #runner: ActionRunner | undefined;
  readonly #root: SourceEntry;
  readonly #open = new Set<Bracket>();
  #toldThatNone = false;

  constructor(
    session: UploadSession,
    { root, actions }: { readonly root: SourceEntry; readonly actions?: ActionRunner | undefined },
  ) {
    this.#session = session;
    this.#runner = actions;
    this.#root = root;
  }

  /** Nothing where there is nothing to run. Throws `action-failed` and what opening another folder throws. */
  async begin(what: "folder" | "snapshot-root", place: Place): Promise<Bracket | undefined> {
    const { before, after } = commandsOf(what, place.policy.effective.actions);
    const root = this.#root.path;
    if ((before === undefined && after === undefined) || typeof root !== "string") {
      return undefined; // what has no path on this machine has no commands either
    }
    if (this.#runner === undefined) {
      this.#tellThatNone();
      return undefined;
    }
    const { environment } = this.#session.repository;
    const pair = this.#runner.begin({
      id: toHex(environment.randomBytes(8)),
      sourcePath: place.path === "" ? root : `${root}/${place.path}`,
    });
    let source = place.source;
    try {
      const other = before && (await this.#before(`before-${what}`, before, pair));
      source = other === undefined ? source : renamed(other, source);
    } catch (error) {
      await pair[Symbol.asyncDispose]();
      throw error;
    }
    let ended: Promise<void> | undefined;
    const end = async (): Promise<void> => {
      if (after !== undefined) {
        await this.#tried(pair, `after-${what}`, after, {}); // even after an interruption: it may undo what the other did
      }
      await pair[Symbol.asyncDispose]();
      this.#open.delete(bracket);
    };
    const bracket: Bracket = { source, end: () => (ended ??= end()) };
    this.#open.add(bracket);
    return bracket;
  }

  /** Ends what is open, the innermost first. */
  async endAll(): Promise<void> {
    for (const bracket of [...this.#open].reverse()) {
      await bracket.end();
    }
  }

  async #before(
    kind: ActionKind,
    command: ActionCommand,
    pair: ActionPair,
  ): Promise<SourceEntry | undefined> {
    const { signal } = this.#session;
    const snapshotPath =
      command.mode === "essential"
        ? await carriedOut(pair, kind, command, { signal })
        : await this.#tried(pair, kind, command, { signal });
    if (snapshotPath === undefined) {
      return undefined;
    }
    const source = await this.#runner?.open(snapshotPath, { signal });
    if (source?.meta.type !== "directory") {
      throw new VarveError("action-failed", `${kind}: ${snapshotPath} is no directory`);
    }
    return source;
  }

  async #tried(
    pair: ActionPair,
    kind: ActionKind,
    command: ActionCommand,
    options: CallOptions,
  ): Promise<string | undefined> {
    try {
      return await carriedOut(pair, kind, command, options);
    } catch (error) {
      options.signal?.throwIfAborted();
      this.#session.repository.environment.log({ level: "warning", message: errorMessage(error) });
      return undefined;
    }
  }

  #tellThatNone(): void {
    if (!this.#toldThatNone) {
      this.#toldThatNone = true;
      this.#session.repository.environment.log({
        level: "warning",
        message: "actions of the policy are not run, as they are not enabled here",
      });
    }
  }
}

/** Gives the folder to be backed up instead, if it names one. Throws `action-failed` and the signal's reason. */
async function carriedOut(
  pair: ActionPair,
  kind: ActionKind,
  command: ActionCommand,
  options: CallOptions,
): Promise<string | undefined> {
  try {
    return (await pair.run(kind, command, options)).snapshotPath;
  } catch (cause) {
    options.signal?.throwIfAborted();
    throw new VarveError("action-failed", `action ${kind} failed: ${errorMessage(cause)}`, {
      cause,
    });
  }
}

function commandsOf(
  what: "folder" | "snapshot-root",
  actions: ActionsPolicy = {},
): { readonly before: ActionCommand | undefined; readonly after: ActionCommand | undefined } {
  return what === "folder"
    ? { before: actions.beforeFolder, after: actions.afterFolder }
    : { before: actions.beforeSnapshotRoot, after: actions.afterSnapshotRoot };
}
