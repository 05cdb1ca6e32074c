/**
 * Calls `work` for the items in order with up to `limit` calls running ahead, and gives the results in the items' order.
 * A rejection comes at its place. `work` must not depend on earlier results having been taken.
 */
export async function* mapAhead<T, R>(
  items: AsyncIterable<T>,
  limit: number,
  work: (item: T) => R | Promise<R>,
): AsyncGenerator<R, void, undefined> {
  const running: Promise<R>[] = [];
  try {
    for await (const item of items) {
      const result = Promise.resolve(work(item));
      result.catch(() => {}); // looked at when its turn comes
      running.push(result);
      const first = running.length >= limit ? running.shift() : undefined;
      if (first !== undefined) {
        yield await first;
      }
    }
    while (running.length > 0) {
      yield await (running.shift() as Promise<R>); // the length was checked
    }
  } finally {
    await Promise.allSettled(running);
  }
}
