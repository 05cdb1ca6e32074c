import { type CallOptions, isVarveError } from "@varve/core";
import type { BackupAction, BackupRun } from "../backup/action.ts";
import { groupResource } from "../kube/resource-catalog.ts";
import type { LogFields } from "../server/run-log.ts";
import { saveImage } from "./copy-image.ts";
import { copiesImages, type ImageOptions, openRegistry } from "./image-options.ts";
import { ImageStore } from "./image-store.ts";
import {
  BACKUP_HOST,
  IMAGE_STREAMS,
  imagesOf,
  type ImageStream,
  registryHost,
} from "./image-stream.ts";

/**
 * Images that only the cluster's own registry has go into the bucket with the streams that name them: spec section
 * 10.2. They lie beside the location's prefix, as OADP's plug-in puts them; without a prefix they would make it one
 * that Velero refuses.
 */
export function imageBackupActions(options: ImageOptions): readonly BackupAction[] {
  return [
    {
      name: "openshift.io/imagestream-backup",
      appliesTo: (type) => groupResource(type) === IMAGE_STREAMS,
      async execute(run, { object }, { signal }) {
        const stream: ImageStream = object;
        const host = registryHost(stream);
        const { annotations } = run.backup.metadata;
        if (run.finalizing === true || host === undefined || !copiesImages(annotations)) {
          return { object };
        }
        await saveImages(run, stream, { host, options, signal });
        const { metadata } = stream;
        metadata.annotations = { ...metadata.annotations, [BACKUP_HOST]: host };
        return { object };
      },
    },
  ];
}

/** Errors are logged: the stream is stored, and the backup is PartiallyFailed. */
async function saveImages(
  { context, backup, log }: BackupRun,
  stream: ImageStream,
  {
    host,
    options,
    signal,
  }: CallOptions & { readonly host: string; readonly options: ImageOptions },
): Promise<void> {
  const { namespace = "", name } = stream.metadata;
  const fields: LogFields = { resource: IMAGE_STREAMS, namespace, name };
  const images = imagesOf(stream, host);
  if (images.length === 0) {
    return;
  }
  await using location = await context.locations.open(backup.spec.storageLocation ?? "", {
    signal,
  });
  if (location.prefix === "") {
    log.error("its images are not stored: that takes a storage location with a prefix", fields);
    return;
  }
  using registry = openRegistry(context, host, options);
  const store = new ImageStore(location.bucket);
  for (const { repository, digest, tag, isCurrent } of images) {
    const copy = {
      registry,
      registryRepository: repository,
      store,
      storeRepository: `${namespace}/${name}`,
      digest,
      tag,
      environment: context.environment,
    };
    try {
      await saveImage(copy, { signal });
      log.info(`stored image ${digest}`, fields);
    } catch (error) {
      signal?.throwIfAborted();
      if (!isCurrent && isVarveError(error, "blob-not-found")) {
        log.warn(`an earlier image, ${digest}, is not in the registry any more`, fields);
      } else {
        log.error(`error storing image ${digest}`, { ...fields, error });
      }
    }
  }
}
