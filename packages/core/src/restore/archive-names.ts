import { equalBytes, fromUtf8, utf8 } from "../base/bytes.ts";
import { VarveError } from "../base/errors.ts";
import { type EntryPath, isTextPath, pathText } from "./target.ts";

/** Names in archives, relative and with `/`. The root has no entry of its own, unless it is a file or symlink. */

/** Throws `unsupported` for names that are not UTF-8: the archive's own format could only hold them changed. */
export function archiveName(path: EntryPath): string {
  const name = path.parent === undefined ? path.name || "file" : pathText(path);
  if (!isTextPath(path)) {
    throw new VarveError("unsupported", `${JSON.stringify(name)}: the name is not UTF-8`);
  }
  return name;
}

/** Throws `unsupported` for a link text that is not UTF-8. */
export function archiveLink(to: Uint8Array): string {
  const text = fromUtf8(to);
  if (!equalBytes(utf8(text), to)) {
    throw new VarveError(
      "unsupported",
      `symlink to ${JSON.stringify(text)}: the text is not UTF-8`,
    );
  }
  return text;
}
