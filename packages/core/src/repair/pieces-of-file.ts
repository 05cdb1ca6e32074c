import { concatBytes } from "../base/bytes.ts";
import type { CallOptions } from "../base/environment.ts";
import { isVarveError } from "../base/errors.ts";
import type { ContentId } from "../index/content-id.ts";
import { splitObjectId } from "../object/object-id.ts";
import type { Repository } from "../repository/repository.ts";
import type { DirectoryEntry } from "../snapshot/entry.ts";
import type { SourceEntry } from "../source/source-entry.ts";

interface Place {
  readonly id: ContentId;
  readonly start: number;
  readonly length: number;
}

/**
 * The bytes of a file of today where an object of then has the contents that are wanted, one piece at a time: the object
 * itself says where it was cut, so the splitter does not matter. Nothing when that, or the file, cannot be read.
 */
export async function* piecesOfFile(
  repository: Pick<Repository, "objects">,
  options: CallOptions & {
    readonly entry: DirectoryEntry;
    readonly file: SourceEntry;
    readonly isWanted: (id: ContentId) => boolean;
  },
): AsyncGenerator<{ readonly id: ContentId; readonly data: Uint8Array }> {
  const { file, signal } = options;
  try {
    const places = await placesOf(repository, options);
    if (places.length > 0) {
      yield* cut(file.read({ signal }), places);
    }
  } catch (error) {
    if (!isVarveError(error) || error.code === "storage-failed") {
      throw error;
    }
  }
}

async function placesOf(
  { objects }: Pick<Repository, "objects">,
  { entry, isWanted, signal }: Parameters<typeof piecesOfFile>[1],
): Promise<Place[]> {
  const { indirections, compressed, contentId } = splitObjectId(entry.object);
  if (indirections === 0) {
    const isPlain = !compressed && isWanted(contentId);
    return isPlain ? [{ id: contentId, start: 0, length: entry.sizeBytes }] : [];
  }
  const places: Place[] = [];
  for await (const { object, start, length } of objects.pieces(entry.object, { signal })) {
    const piece = splitObjectId(object);
    if (!piece.compressed && isWanted(piece.contentId)) {
      places.push({ id: piece.contentId, start, length });
    }
  }
  return places;
}

/** Places ascend and do not overlap. */
async function* cut(
  stream: AsyncIterable<Uint8Array>,
  places: readonly Place[],
): AsyncGenerator<{ readonly id: ContentId; readonly data: Uint8Array }> {
  const left = [...places];
  let parts: Uint8Array[] = [];
  let position = 0;
  for await (const chunk of stream) {
    const end = position + chunk.length;
    for (let next = left[0]; next !== undefined && next.start < end; next = left[0]) {
      const stop = next.start + next.length;
      parts.push(
        chunk.slice(Math.max(0, next.start - position), Math.min(chunk.length, stop - position)),
      );
      if (stop > end) {
        break;
      }
      yield { id: next.id, data: concatBytes(parts) };
      parts = [];
      left.shift();
    }
    position = end;
    if (left.length === 0) {
      return;
    }
  }
  for (const { id } of left.filter(({ length }) => length === 0)) {
    yield { id, data: new Uint8Array(0) };
  }
}
