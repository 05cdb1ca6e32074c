import type { PackedListing } from "./packed-listing.ts";
import type { ListThread } from "./local-list-thread.ts";
import type { ExpectedDirectory } from "./source-entry.ts";

/** What a directory takes in its own parent's eyes is not known before the walk comes there; a guess that is seldom too low. */
const BYTES_OF_ENTRY = 32;
const BYTES_OF_DIRECTORY = 4096;
/** Whatever holds the walk up, what it was told of so many is old by then: files may have gone. */
const DIRECTORIES_AHEAD = 96;

/**
 * Directories that a walk is expected to come to, listed by a thread in the order of the walk, as far ahead as the thread takes
 * them: from one to the next it need not wait until the walk has told what is in their parents.
 */
export class ExpectedListings {
  readonly #thread: ListThread;
  #next: Iterator<ExpectedDirectory> | undefined;
  /** Asked for and not walked yet, by absolute path, in the order of the walk. */
  readonly #asked = new Map<string, number>();
  #waiting: ExpectedDirectory | undefined;

  /** `directories` are below `root`. Nothing is asked for where a thread would not pay. */
  constructor(
    thread: ListThread,
    { root, directories }: { root: string; directories: Promise<readonly ExpectedDirectory[]> },
  ) {
    this.#thread = thread;
    const prefix = root.endsWith("/") ? root : `${root}/`;
    const begin = (found: readonly ExpectedDirectory[]): void => {
      thread.saw(found.reduce((sum, { entries }) => sum + entries, 0));
      this.#next = found
        .map(({ path, entries }) => ({ path: path === "" ? root : prefix + path, entries }))
        .values();
      this.#askMore();
    };
    directories.then(begin, () => {}); // without it, the walk lists by itself
  }

  /** Whether directories were asked for here. Else whoever walks asks for what comes next. */
  get areKnown(): boolean {
    return this.#asked.size > 0;
  }

  /** Like {@link ListThread.take}; what was expected before `path` and not walked is given up. */
  async take(path: string): Promise<PackedListing | undefined> {
    if (!this.#asked.has(path)) {
      return undefined;
    }
    let found: Promise<PackedListing | undefined> | undefined;
    for (const [asked, id] of this.#asked) {
      this.#asked.delete(asked);
      found = this.#thread.take(id); // it rejects never
      if (asked === path) {
        break;
      }
    }
    this.#askMore();
    return found;
  }

  #askMore(): void {
    while (this.#asked.size < DIRECTORIES_AHEAD) {
      const directory: ExpectedDirectory | undefined = this.#waiting ?? this.#next?.next().value;
      this.#waiting = directory;
      if (directory === undefined) {
        break;
      }
      const { path, entries } = directory;
      const id = this.#thread.ask(path, BYTES_OF_DIRECTORY + entries * BYTES_OF_ENTRY);
      if (id === undefined) {
        break;
      }
      this.#asked.set(path, id);
      this.#waiting = undefined;
      this.#thread.send();
    }
    this.#thread.send();
  }
}
