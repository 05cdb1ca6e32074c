import type { CallOptions } from "../base/environment.ts";
import type { ContentId } from "../index/content-id.ts";
import { readIndexStream } from "./index-stream.ts";
import { type ObjectId, splitObjectId } from "./object-id.ts";
import {
  innerId,
  type ObjectSource,
  openIndexOf,
  openObject,
  requireLength,
  requireShrinking,
} from "./object-reader.ts";
import type { ObjectEntry, ObjectPart } from "./object-store.ts";

/** See `ObjectStore.parts`: an index stream is read once, of which the pieces of a file of 10 TB have 200 MB. */
export async function* partsOf(
  source: ObjectSource,
  id: ObjectId,
  { signal }: CallOptions,
): AsyncGenerator<ObjectPart> {
  if (splitObjectId(id).indirections === 0) {
    const { size } = await openObject(source, id, { signal });
    yield { index: [], pieces: [{ start: 0, length: size, object: id }] };
  } else {
    yield* partsOfLong(source, id, { start: 0, depth: 0, signal });
  }
}

/** See `ObjectStore.contents`. */
export async function* contentsOf(
  source: ObjectSource,
  id: ObjectId,
  options: CallOptions,
): AsyncGenerator<ContentId> {
  for await (const ids of idsOf(source, id, { depth: 0, signal: options.signal })) {
    yield* ids;
  }
}

interface Place extends CallOptions {
  /** Levels of indices around it. */
  readonly depth: number;
}

async function* idsOf(
  source: ObjectSource,
  id: ObjectId,
  place: Place,
): AsyncGenerator<readonly ContentId[]> {
  const { indirections, contentId } = splitObjectId(id);
  if (indirections === 0) {
    yield [contentId];
    return;
  }
  for await (const { index, pieces } of partsOfLong(source, id, { start: 0, ...place })) {
    yield index;
    yield pieces.map(({ object }) => splitObjectId(object).contentId);
  }
}

/** Gives where it ends. */
async function* partsOfLong(
  source: ObjectSource,
  id: ObjectId,
  { start, depth, signal }: Place & { readonly start: number },
): AsyncGenerator<ObjectPart, number> {
  const index = await openIndexOf(source, id, { depth, signal });
  for await (const ids of idsOf(source, innerId(id), { depth: depth + 1, signal })) {
    yield { index: ids, pieces: [] };
  }
  let end = start;
  for await (const entries of readIndexStream(index.stream({ signal }), { what: `object ${id}` })) {
    let pieces: ObjectEntry[] = [];
    for (const entry of entries) {
      const { length, object } = entry;
      if (object.startsWith("I")) {
        yield { index: [], pieces };
        pieces = [];
        requireShrinking(entry);
        const inner = { start: end, depth: depth + 1, signal };
        requireLength(entry, (yield* partsOfLong(source, object, inner)) - end);
      } else {
        pieces.push({ start: end, length, object });
      }
      end += length;
    }
    yield { index: [], pieces };
  }
  return end;
}
