import { readFile, rm } from "node:fs/promises";
import type { DerivedKey } from "@varve/core/format";
import { keyFile, writePrivateFile } from "./connection.ts";
import { keptPassword } from "./password.ts";

/**
 * Beside a password that is kept lies the key that was derived from it, as secret and as private: deriving it is made to take long,
 * a quarter of a second at the start of every command. Without a kept password there is never a kept key.
 */
export interface KeptKey {
  /** Of the password in use; `undefined` when none was kept or it is no key. It may be of a password of before. */
  readonly known: DerivedKey | undefined;
  /** Keeps the key that opened the repository, if another or none was kept. A failure costs the time to derive it again. */
  update(opened: DerivedKey): Promise<void>;
}

/** `undefined` when the password in use is not the one that is kept. */
export async function findKeptKey(
  configFile: string,
  password: string,
): Promise<KeptKey | undefined> {
  const path = keyFile(configFile);
  const [kept, text] = await Promise.all([
    keptPassword(configFile),
    readFile(path, "utf8").catch(() => ""), // nothing was kept
  ]);
  if (kept !== password) {
    return undefined;
  }
  return {
    known: decodeKey(text),
    update: async (opened) => {
      const wanted = encodeKey(opened);
      if (text !== wanted) {
        await writePrivateFile(path, wanted).catch(() => rm(path, { force: true }).catch(() => {}));
      }
    },
  };
}

function encodeKey({ keyDerivation, uniqueId, formatKey }: DerivedKey): string {
  const document = { keyAlgo: keyDerivation, uniqueID: hex(uniqueId), key: hex(formatKey) };
  return `${JSON.stringify(document)}\n`;
}

function decodeKey(text: string): DerivedKey | undefined {
  try {
    const { keyAlgo, uniqueID, key } = JSON.parse(text) as Partial<Record<string, unknown>>; // an object, or it throws
    return {
      keyDerivation: String(keyAlgo),
      uniqueId: Buffer.from(String(uniqueID), "hex"),
      formatKey: Buffer.from(String(key), "hex"),
    };
  } catch {
    return undefined; // what is in it is not for anybody to see
  }
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
