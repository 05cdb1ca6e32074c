import type { CallOptions } from "../base/environment.ts";
import type { Codecs } from "../compression/codec.ts";
import type { ContentStore } from "../content/content-store.ts";
import type { Splitter } from "../splitter/splitter.ts";
import type { ObjectId } from "./object-id.ts";
import { contentsOf, partsOf } from "./object-parts.ts";
import { openObject } from "./object-reader.ts";
import type { ObjectEntry, ObjectStore } from "./object-store.ts";
import { ObjectWriter } from "./object-writer.ts";

/**
 * Byte streams of any length over contents (spec §5). It knows how a stream becomes pieces and how pieces are listed;
 * it knows nothing of packs, files or directories.
 */
export function openObjectStore(options: {
  contents: ContentStore;
  codecs: Codecs;
  /** The repository's own. */
  splitter: Splitter;
  indexVersion: number;
}): ObjectStore {
  const writer = new ObjectWriter(options);
  return {
    write: (data, writeOptions = {}) => writer.write(data, writeOptions),
    assemble: (entries, assembleOptions = {}) => writer.assemble(entries, assembleOptions),
    open: (id, openOptions = {}) => openObject(options, id, { signal: openOptions.signal }),
    pieces: (id, callOptions = {}) => piecesOf(options, id, callOptions),
    parts: (id, callOptions = {}) => partsOf(options, id, { signal: callOptions.signal }),
    contents: (id, callOptions = {}) => contentsOf(options, id, { signal: callOptions.signal }),
  };
}

async function* piecesOf(
  source: { contents: ContentStore; codecs: Codecs },
  id: ObjectId,
  { signal }: CallOptions,
): AsyncGenerator<ObjectEntry> {
  for await (const { pieces } of partsOf(source, id, { signal })) {
    yield* pieces;
  }
}
