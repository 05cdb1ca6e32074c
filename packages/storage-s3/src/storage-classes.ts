import { type BlobId, VarveError } from "@varve/core/blob";
import type { StorageClassRule } from "./options.ts";

/** The hidden object below the prefix that says which storage class blobs get (spec §6.6). */
export const STORAGE_CONFIG = ".storageconfig";

/** The class of the first rule that names the blob; `undefined` for the service's own default. */
export function storageClassOf(id: BlobId, rules: readonly StorageClassRule[]): string | undefined {
  const rule = rules.find(({ prefix }) => id.startsWith(prefix));
  return rule?.storageClass === "" ? undefined : rule?.storageClass;
}

/** Parses `{"blobOptions":[{"prefix":"p","storageClass":"…"}]}`. Throws `corrupt`. */
export function parseStorageConfig(bytes: Uint8Array): readonly StorageClassRule[] {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new VarveError("corrupt", `${STORAGE_CONFIG}: not JSON`, { cause });
  }
  if (!isRecord(json)) {
    throw new VarveError("corrupt", `${STORAGE_CONFIG}: not an object`);
  }
  const rules = json["blobOptions"] ?? [];
  if (!Array.isArray(rules)) {
    throw new VarveError("corrupt", `${STORAGE_CONFIG}: blobOptions is not a list`);
  }
  return rules.map((rule: unknown) => {
    const { prefix = "", storageClass = "" } = isRecord(rule) ? rule : { prefix: rule };
    if (typeof prefix !== "string" || typeof storageClass !== "string") {
      throw new VarveError("corrupt", `${STORAGE_CONFIG}: an option is not of prefix and class`);
    }
    return { prefix, storageClass };
  });
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
