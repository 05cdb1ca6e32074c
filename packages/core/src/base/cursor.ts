import { VarveError } from "./errors.ts";

/**
 * Reads big-endian numbers from bytes of unknown origin: every read is checked against the end and
 * throws `corrupt` naming `what` when there is not enough left.
 */
export class ByteReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #what: string;
  #offset: number;

  constructor(bytes: Uint8Array, options: { what: string; offset?: number }) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#what = options.what;
    this.#offset = options.offset ?? 0;
  }

  get offset(): number {
    return this.#offset;
  }

  get remaining(): number {
    return this.#bytes.length - this.#offset;
  }

  u8(): number {
    return this.#view.getUint8(this.#advance(1));
  }

  u16(): number {
    return this.#view.getUint16(this.#advance(2));
  }

  u24(): number {
    const offset = this.#advance(3);
    return this.#view.getUint16(offset) * 256 + this.#view.getUint8(offset + 2);
  }

  u32(): number {
    return this.#view.getUint32(this.#advance(4));
  }

  u48(): number {
    const offset = this.#advance(6);
    return this.#view.getUint16(offset) * 2 ** 32 + this.#view.getUint32(offset + 2);
  }

  /** LEB128, at most 53 bits. */
  uvarint(): number {
    let value = 0;
    for (let scale = 1; scale < 2 ** 53; scale *= 128) {
      const byte = this.u8();
      value += (byte & 127) * scale;
      if (byte < 128 && Number.isSafeInteger(value)) {
        return value;
      }
    }
    throw new VarveError("corrupt", `${this.#what}: number too large at byte ${this.#offset}`);
  }

  /** A view on the next `length` bytes. */
  bytes(length: number): Uint8Array {
    const offset = this.#advance(length);
    return this.#bytes.subarray(offset, offset + length);
  }

  #advance(length: number): number {
    const offset = this.#offset;
    if (!(length >= 0) || length > this.#bytes.length - offset) {
      throw new VarveError(
        "corrupt",
        `${this.#what}: need ${length} bytes at ${offset}, have ${this.#bytes.length - offset}`,
      );
    }
    this.#offset = offset + length;
    return offset;
  }
}

/** Writes big-endian numbers into a buffer that grows. */
export class ByteWriter {
  #bytes: Uint8Array;
  #view: DataView;
  #length = 0;

  constructor(options: { capacity?: number } = {}) {
    this.#bytes = new Uint8Array(Math.max(16, options.capacity ?? 256));
    this.#view = new DataView(this.#bytes.buffer);
  }

  get length(): number {
    return this.#length;
  }

  u8(value: number): this {
    const offset = this.#reserve(1);
    this.#view.setUint8(offset, value);
    return this;
  }

  u16(value: number): this {
    const offset = this.#reserve(2);
    this.#view.setUint16(offset, value);
    return this;
  }

  u24(value: number): this {
    const offset = this.#reserve(3);
    this.#view.setUint16(offset, value >>> 8);
    this.#view.setUint8(offset + 2, value & 255);
    return this;
  }

  u32(value: number): this {
    const offset = this.#reserve(4);
    this.#view.setUint32(offset, value);
    return this;
  }

  u48(value: number): this {
    const offset = this.#reserve(6);
    this.#view.setUint16(offset, Math.floor(value / 2 ** 32));
    this.#view.setUint32(offset + 2, value % 2 ** 32);
    return this;
  }

  /** LEB128 of a non-negative safe integer. */
  uvarint(value: number): this {
    let rest = value;
    while (rest >= 128) {
      this.u8((rest % 128) | 128);
      rest = Math.floor(rest / 128);
    }
    return this.u8(rest);
  }

  bytes(data: Uint8Array): this {
    const offset = this.#reserve(data.length);
    this.#bytes.set(data, offset);
    return this;
  }

  /** A view on what was written; valid until the next write. */
  view(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  #reserve(length: number): number {
    const offset = this.#length;
    const needed = offset + length;
    if (needed > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
      grown.set(this.#bytes);
      this.#bytes = grown;
      this.#view = new DataView(grown.buffer);
    }
    this.#length = needed;
    return offset;
  }
}
