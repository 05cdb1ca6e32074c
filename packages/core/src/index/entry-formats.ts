import { VarveError } from "../base/errors.ts";
import type { EntryFields } from "./index-layout.ts";

type EntryFormat = Pick<EntryFields, "compressionHeaderId" | "formatVersion" | "encryptionKeyId">;

const MAX_FORMATS = 2 ** 16;

/** What few kinds of entries there are, so that a record holds sixteen bits in place of eight bytes. */
export class EntryFormats {
  readonly #formats: EntryFormat[] = [];
  readonly #numbers = new Map<number, number>();
  /** Most entries are of the format of the one before. */
  #last = 0;

  at(number: number): EntryFormat | undefined {
    return this.#formats[number];
  }

  /** Puts format `number`, which `numberOf` has given, into `fields`. */
  read(number: number, fields: EntryFields): void {
    const format = this.#formats[number] as EntryFormat; // numbers come from numberOf
    fields.compressionHeaderId = format.compressionHeaderId;
    fields.formatVersion = format.formatVersion;
    fields.encryptionKeyId = format.encryptionKeyId;
  }

  /** Below 65 536. Throws `corrupt` when there are more. */
  numberOf({ compressionHeaderId, formatVersion, encryptionKeyId }: EntryFormat): number {
    const last = this.#formats[this.#last];
    if (
      last?.compressionHeaderId === compressionHeaderId &&
      last.formatVersion === formatVersion &&
      last.encryptionKeyId === encryptionKeyId
    ) {
      return this.#last;
    }
    const key = compressionHeaderId * 65_536 + formatVersion * 256 + encryptionKeyId;
    let number = this.#numbers.get(key);
    if (number === undefined) {
      if (this.#formats.length === MAX_FORMATS) {
        throw new VarveError("corrupt", `index: more than ${MAX_FORMATS} formats`);
      }
      number = this.#formats.push({ compressionHeaderId, formatVersion, encryptionKeyId }) - 1;
      this.#numbers.set(key, number);
    }
    this.#last = number;
    return number;
  }
}
