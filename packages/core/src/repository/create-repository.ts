import { type CallOptions, type Environment, systemEnvironment } from "../base/environment.ts";
import type { BlobStore } from "../blob/store.ts";
import { openCodecs } from "../compression/registry.ts";
import { openCrypto } from "../crypto/registry.ts";
import { createFormat, type CreateFormatOptions } from "../format/format-blob.ts";
import { FORMAT_COPY } from "../format/format-copy.ts";
import { writeNewFormat } from "../format/format-store.ts";
import type { Labels } from "../manifest/manifest-store.ts";
import {
  clientName,
  defaultMaintenance,
  MAINTENANCE_LABELS,
  parametersToJson,
} from "./maintenance-parameters.ts";
import { openWithFormat } from "./open-repository.ts";
import type { ClientIdentity } from "./repository.ts";

export interface CreateRepositoryOptions extends CreateFormatOptions, CallOptions {
  /** Default: the real clock and random source. */
  readonly environment?: Environment | undefined;
  /** Who owns maintenance; default `varve@localhost`. */
  readonly client?: ClientIdentity | undefined;
  /** A second copy of the format blob, as `varve.repository`; default true. */
  readonly formatCopy?: boolean | undefined;
  /** What the first session writes besides the maintenance manifest: the global policy. */
  readonly initialManifests?: readonly { readonly labels: Labels; readonly payload: unknown }[];
}

/**
 * Makes a repository in an empty store: the format blobs, a copy of the first of them, then a first session. A repository whose first session was
 * cut short is whole. Throws `repository-exists`, `invalid-argument`.
 */
export async function createRepository(
  store: BlobStore,
  options: CreateRepositoryOptions,
): Promise<void> {
  const environment = options.environment ?? systemEnvironment();
  const client = options.client ?? { username: "varve", hostname: "localhost" };
  const { password, signal } = options;
  const [crypto, codecs] = await Promise.all([openCrypto({ hashes: [] }), openCodecs()]);
  const deps = { crypto, environment };
  const format = await writeNewFormat(store, await createFormat(options, deps), {
    ...deps,
    signal,
  });
  if (options.formatCopy ?? true) {
    await store.put(FORMAT_COPY, [format.rawFormatBlob], { signal });
  }
  const openOptions = { password, environment, client, crypto, codecs, signal };
  await using repository = await openWithFormat(store, format, openOptions);
  const { manifests } = repository;
  for (const { labels, payload } of options.initialManifests ?? []) {
    await manifests.put(labels, payload, { signal });
  }
  const maintenance = parametersToJson(defaultMaintenance(clientName(client)));
  await manifests.put(MAINTENANCE_LABELS, maintenance, { signal });
  await repository.flush({ signal });
}
