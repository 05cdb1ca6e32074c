import { fromUtf8, utf8 } from "../base/bytes.ts";
import { formatTimeNs } from "../base/time.ts";
import { parseObjectId } from "../object/object-id.ts";
import { entryToJson } from "./entry-json.ts";

const NS_PER_DAY = 86_400_000_000_000n;
// Years 0 to 9999, what the format can say.
const FIRST_SECOND = -62_167_219_200;
const LAST_SECOND = 253_402_300_799;
const ZERO = 0x30;
const NO_OBJECT = parseObjectId("00");

/**
 * The text of a file or a link in a directory record as `entryToJson` has it, but straight from numbers into bytes and with what
 * was the same for the entry before taken from there: 0.2 us instead of 3 us an entry, when a backup looks at every one.
 */
export class EntryText {
  /** Holds the text after {@link write}; more room than it ever needs. */
  readonly bytes: Uint8Array = new Uint8Array(512);
  #head: Uint8Array = new Uint8Array(0);
  #tail: Uint8Array = new Uint8Array(0);
  #day: Uint8Array = new Uint8Array(0);
  #isLink = false;
  #mode = -1;
  #uid = -1;
  #gid = -1;
  #dayNumber = Number.NaN;

  /**
   * From the quotation mark that ends the name to the one that begins the object id. The mode is without the type. Gives the
   * length, 0 when the format cannot say that time.
   */
  write(entry: {
    readonly isLink: boolean;
    readonly mode: number;
    readonly sizeBytes: number;
    readonly seconds: number;
    readonly nanos: number;
    readonly uid: number;
    readonly gid: number;
  }): number {
    const { isLink, mode, sizeBytes, seconds, nanos, uid, gid } = entry;
    if (!(seconds >= FIRST_SECOND && seconds <= LAST_SECOND)) {
      return 0;
    }
    if (mode !== this.#mode || isLink !== this.#isLink) {
      this.#mode = mode;
      this.#isLink = isLink;
      this.#head = parts({ isLink, mode, uid: 0, gid: 0 }).head;
    }
    if (uid !== this.#uid || gid !== this.#gid) {
      this.#uid = uid;
      this.#gid = gid;
      this.#tail = parts({ isLink, mode: 0, uid, gid }).tail;
    }
    let at = this.#put(this.#head, 0);
    if (sizeBytes !== 0) {
      at = this.#put(SIZE, at);
      at = this.#putDecimal(sizeBytes, at);
    }
    if (seconds !== 0 || nanos !== 0) {
      at = this.#put(TIME, at);
      at = this.#putTime(seconds, nanos, at);
    }
    return this.#put(this.#tail, at);
  }

  #put(text: Uint8Array, at: number): number {
    for (let index = 0; index < text.length; index++) {
      this.bytes[at + index] = text[index] as number; // index < length
    }
    return at + text.length;
  }

  #putDecimal(value: number, at: number): number {
    const digits = String(value);
    for (let index = 0; index < digits.length; index++) {
      this.bytes[at + index] = digits.charCodeAt(index);
    }
    return at + digits.length;
  }

  #putTime(seconds: number, nanos: number, start: number): number {
    const day = Math.floor(seconds / 86_400);
    if (day !== this.#dayNumber) {
      this.#dayNumber = day;
      this.#day = utf8(formatTimeNs(BigInt(day) * NS_PER_DAY).slice(0, 11)); // with its T
    }
    const { bytes } = this;
    const second = seconds - day * 86_400;
    let at = this.#put(this.#day, start);
    at = this.#putTwo(Math.floor(second / 3600), at);
    bytes[at++] = 0x3a;
    at = this.#putTwo(Math.floor(second / 60) % 60, at);
    bytes[at++] = 0x3a;
    at = this.#putTwo(second % 60, at);
    if (nanos !== 0) {
      bytes[at++] = 0x2e;
      for (let rest = nanos, scale = 1e8; rest > 0; scale /= 10) {
        const digit = Math.floor(rest / scale);
        bytes[at++] = ZERO + digit;
        rest -= digit * scale;
      }
    }
    bytes[at++] = 0x5a;
    bytes[at++] = 0x22;
    return at;
  }

  #putTwo(value: number, at: number): number {
    const tens = Math.floor(value / 10);
    this.bytes[at] = ZERO + tens;
    this.bytes[at + 1] = ZERO + value - tens * 10;
    return at + 2;
  }
}

const SIZE: Uint8Array = utf8(',"size":');
const TIME: Uint8Array = utf8(',"mtime":"');

/** What the encoder of whole entries makes of them, around size and time. */
function parts(entry: {
  readonly isLink: boolean;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}): { readonly head: Uint8Array; readonly tail: Uint8Array } {
  const { isLink, mode, uid, gid } = entry;
  const type = isLink ? "symlink" : "file";
  const text = JSON.stringify(
    entryToJson({ name: "n", type, mode, uid, gid, sizeBytes: 1, mtimeNs: 0n, object: NO_OBJECT }),
  );
  const [head = "", tail = ""] = text.split(fromUtf8(SIZE) + 1);
  return {
    head: utf8(head.slice('{"name":"n'.length)),
    tail: utf8(tail.slice(0, tail.indexOf('"obj":"') + '"obj":"'.length)),
  };
}
