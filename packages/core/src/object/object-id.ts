import { VarveError } from "../base/errors.ts";
import { type ContentId, parseContentId } from "../index/content-id.ts";

declare const kind: unique symbol;
/** `I`* [`Z`] [`D`] contentId (spec §5.1). The empty id ("no object") is not an ObjectId. */
export type ObjectId = string & { readonly [kind]: "object" };

export interface ObjectIdParts {
  /** How many index streams lie between the id and the data. */
  readonly indirections: number;
  /** The content holds a compressed stream with its header (index version 1). */
  readonly compressed: boolean;
  readonly contentId: ContentId;
}

// Kopia has no limit; two levels already reach 100 TB. A hostile id must not make us recurse for ever.
const MAX_INDIRECTIONS = 16;

/** Throws `invalid-argument`. */
export function parseObjectId(text: string): ObjectId {
  splitObjectId(text);
  return text as ObjectId; // splitObjectId is the definition of the brand
}

/** Throws `invalid-argument`. */
export function splitObjectId(text: string): ObjectIdParts {
  if (isPlainId(text)) {
    return { indirections: 0, compressed: false, contentId: text as ContentId }; // by the check
  }
  const match = /^(I*)(Z?)D?([g-z]?[0-9a-f]+)$/.exec(text);
  const [, indirect, compressed, content] = match ?? [];
  if (
    content === undefined ||
    (indirect ?? "").length > MAX_INDIRECTIONS ||
    (indirect !== "" && compressed !== "")
  ) {
    throw new VarveError(
      "invalid-argument",
      `not an object id: ${JSON.stringify(text.slice(0, 100))}`,
    );
  }
  return {
    indirections: (indirect ?? "").length,
    compressed: compressed === "Z",
    contentId: parseContentId(content),
  };
}

/** The common id, that of one content: a backup and a restore look at one for every file, so without regular expressions. */
function isPlainId(text: string): boolean {
  const prefix = text.length % 2;
  if (text.length < 2 || text.length > 64 + prefix || (prefix === 1 && !isPrefix(text))) {
    return false;
  }
  for (let index = prefix; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (!((code >= 0x30 && code <= 0x39) || (code >= 0x61 && code <= 0x66))) {
      return false;
    }
  }
  return true;
}

/** Begins with a letter of `g`…`z`. */
function isPrefix(text: string): boolean {
  const code = text.charCodeAt(0);
  return code >= 0x67 && code <= 0x7a;
}

export function directObjectId(
  contentId: ContentId,
  options: { compressed?: boolean } = {},
): ObjectId {
  return (options.compressed === true ? `Z${contentId}` : contentId) as ObjectId; // by §5.1
}

export function indirectObjectId(index: ObjectId): ObjectId {
  return `I${index}` as ObjectId; // by §5.1
}
