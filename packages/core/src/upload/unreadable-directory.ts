/** Tells what the source throws, which costs one directory, from what the visitor of its children throws, which costs the backup. */

/** A directory cannot be listed, or says something about ignoring that cannot be understood. */
export class DirectoryUnreadable extends Error {}

export async function unreadable<T>(step: Promise<T>): Promise<T> {
  try {
    return await step;
  } catch (cause) {
    throw new DirectoryUnreadable("directory unreadable", { cause });
  }
}

/** Steps by hand, so that what the source throws is told from what its visitor throws. */
export function openChildren<T>(items: AsyncIterable<T> | Iterable<T>): {
  next(): Promise<T | undefined>;
  close(): Promise<void>;
} {
  const iterator =
    Symbol.asyncIterator in items ? items[Symbol.asyncIterator]() : items[Symbol.iterator]();
  return {
    async next() {
      try {
        const step = await iterator.next();
        return step.done === true ? undefined : step.value;
      } catch (cause) {
        throw new DirectoryUnreadable("directory unreadable", { cause });
      }
    },
    async close() {
      await iterator.return?.();
    },
  };
}
