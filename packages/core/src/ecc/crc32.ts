const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) {
    value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  }
  return value;
});

/** CRC-32 (IEEE 802.3) of `bytes[start, end)` followed by `zeros` zero bytes. */
export function crc32(bytes: Uint8Array, start: number, end: number, zeros = 0): number {
  // Hot loop: plain indexes, no views.
  let crc = 0xffffffff;
  for (let index = start; index < end; index++) {
    crc = (TABLE[(crc ^ (bytes[index] as number)) & 255] as number) ^ (crc >>> 8);
  }
  for (let index = 0; index < zeros; index++) {
    crc = (TABLE[crc & 255] as number) ^ (crc >>> 8);
  }
  return (crc ^ 0xffffffff) >>> 0;
}
