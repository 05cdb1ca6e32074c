// Eight tables of 256: entry [k][b] is the CRC of byte b followed by k zero bytes, so that eight bytes are one step.
const TABLES = new Int32Array(8 * 256);
for (let byte = 0; byte < 256; byte++) {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) {
    crc = (crc >>> 1) ^ ((crc & 1) * 0x82f63b78); // Castagnoli, reflected
  }
  TABLES[byte] = crc;
}
for (let entry = 256; entry < TABLES.length; entry++) {
  const shorter = TABLES[entry - 256] as number; // entry >= 256
  TABLES[entry] = (shorter >>> 8) ^ (TABLES[shorter & 255] as number);
}

/** CRC-32C of `bytes`, masked as the Snappy framing wants it; unsigned. */
export function maskedCrc32c(bytes: Uint8Array): number {
  const crc = crc32c(bytes);
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

/** CRC-32C (Castagnoli) of `bytes`, unsigned. */
export function crc32c(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const tables = TABLES; // a local: hot loop
  const whole = bytes.length - (bytes.length % 8);
  let crc = -1;
  // All indexes are below 8 * 256.
  for (let offset = 0; offset < whole; offset += 8) {
    const low = crc ^ view.getInt32(offset, true);
    const high = view.getInt32(offset + 4, true);
    crc =
      (tables[1792 + (low & 255)] as number) ^
      (tables[1536 + ((low >>> 8) & 255)] as number) ^
      (tables[1280 + ((low >>> 16) & 255)] as number) ^
      (tables[1024 + (low >>> 24)] as number) ^
      (tables[768 + (high & 255)] as number) ^
      (tables[512 + ((high >>> 8) & 255)] as number) ^
      (tables[256 + ((high >>> 16) & 255)] as number) ^
      (tables[high >>> 24] as number);
  }
  for (let offset = whole; offset < bytes.length; offset++) {
    crc = (crc >>> 8) ^ (tables[(crc ^ (bytes[offset] as number)) & 255] as number);
  }
  return (crc ^ -1) >>> 0;
}
