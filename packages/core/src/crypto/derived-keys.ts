import { utf8 } from "../base/bytes.ts";
import type { Crypto } from "./registry.ts";

/** The keys that HKDF makes of the format key and the master key (spec §2.2). Results are secrets of 32 bytes. */

/** Key and additional data of `encryptedBlockFormat` and `kopia.blobcfg` (spec §2.3, §2.7). */
export function deriveFormatKeys(
  crypto: Crypto,
  options: { formatKey: Uint8Array; uniqueId: Uint8Array },
): { key: Uint8Array; aad: Uint8Array } {
  const { formatKey: ikm, uniqueId: salt } = options;
  return {
    key: crypto.hkdfSha256({ ikm, salt, info: utf8("AES"), length: 32 }),
    aad: crypto.hkdfSha256({ ikm, salt, info: utf8("CHECKSUM"), length: 32 }),
  };
}

/** Key and additional data of `kopia.maintenance` (spec §8.3): from the master key, or from the format key where the password cannot be changed. */
export function deriveMaintenanceKeys(
  crypto: Crypto,
  format: {
    enablePasswordChange: boolean;
    masterKey: Uint8Array;
    formatKey: Uint8Array;
    uniqueId: Uint8Array;
  },
): { key: Uint8Array; aad: Uint8Array } {
  const key = crypto.hkdfSha256({
    ikm: format.enablePasswordChange ? format.masterKey : format.formatKey,
    salt: format.uniqueId,
    info: utf8("maintenance schedule"),
    length: 32,
  });
  return { key, aad: utf8("maintenance") };
}
