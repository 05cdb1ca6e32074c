import { type CallOptions, errorMessage } from "@varve/core";
import type { OperationProgress } from "../backup/action.ts";
import { isKubeError } from "../kube/kube-api.ts";
import { groupResource } from "../kube/resource-catalog.ts";
import type { RestoreAction, RestoreRun } from "../restore/action.ts";
import { LABEL, labelValue } from "../velero/labels.ts";
import { loadImage } from "./copy-image.ts";
import {
  clusterRegistryHost,
  copiesImages,
  type ImageOptions,
  openRegistry,
} from "./image-options.ts";
import { ImageStore } from "./image-store.ts";
import {
  BACKUP_HOST,
  IMAGE_STREAMS,
  imagesOf,
  type ImageStream,
  redirectTags,
  registryHost,
  type StreamImage,
} from "./image-stream.ts";

/**
 * Image streams, and their images from the bucket into the cluster's own registry: spec section 10.2. The stream is
 * made first, with what its spec says; its images follow as an operation of the restore, and each push of a tag makes
 * the registry put it into the stream's status.
 */
export function imageRestoreActions(options: ImageOptions): readonly RestoreAction[] {
  const pushes = new WeakMap<RestoreRun, Map<string, Push>>();
  return [
    {
      name: "openshift.io/imagestream-restore",
      appliesTo: (type) => groupResource(type) === IMAGE_STREAMS,
      async execute(run, { object, fromBackup }, { signal }) {
        const stored: ImageStream = fromBackup;
        const fromHost = stored.metadata.annotations?.[BACKUP_HOST] ?? registryHost(stored);
        const toHost = await clusterRegistryHost(run.context.kube, { signal });
        const host = toHost ?? fromHost;
        if (host === undefined) {
          return { object };
        }
        const mapping = run.restore.spec.namespaceMapping ?? {};
        redirectTags(object, { fromHost, toHost: host, mapping });
        delete object.metadata.annotations?.[BACKUP_HOST];
        const images = fromHost === undefined ? [] : imagesOf(stored, fromHost);
        if (images.length === 0 || !copiesImages(run.backup.metadata.annotations)) {
          return { object };
        }
        const { namespace = "", name } = stored.metadata;
        const operationId = `images/${namespace}/${name}`;
        const ofRun = pushes.get(run) ?? new Map<string, Push>();
        const target = mapping[namespace] ?? namespace;
        pushes.set(run, ofRun.set(operationId, { namespace, name, target, host, images }));
        return { object, operationId };
      },
      async progress(run, operationId, { signal }): Promise<OperationProgress> {
        const push = pushes.get(run)?.get(operationId);
        if (push === undefined) {
          return { completed: true, error: `${operationId} is not known here` };
        }
        try {
          const error = await pushImages(run, push, { options, signal });
          return { completed: true, error };
        } catch (error) {
          signal?.throwIfAborted();
          return { completed: true, error: errorMessage(error) };
        }
      },
    },
  ];
}

interface Push {
  readonly namespace: string;
  readonly name: string;
  /** The namespace that it is restored into. */
  readonly target: string;
  readonly host: string;
  readonly images: readonly StreamImage[];
}

/** What could not be pushed. */
async function pushImages(
  run: RestoreRun,
  { namespace, name, target, host, images }: Push,
  { options, signal }: CallOptions & { readonly options: ImageOptions },
): Promise<string | undefined> {
  const { context, backup, log } = run;
  const fields = { resource: IMAGE_STREAMS, namespace: target, name };
  if (!(await isRestored(run, { namespace: target, name }, { signal }))) {
    log.warn("its images are not restored: the stream was there already", fields);
    return undefined;
  }
  const { storageLocation = context.settings.defaultStorageLocation } = backup.spec;
  await using location = await context.locations.open(storageLocation, { signal });
  using registry = openRegistry(context, host, options);
  const store = new ImageStore(location.bucket);
  const errors: string[] = [];
  for (const { digest, tag, isCurrent } of images) {
    const copy = {
      registry,
      registryRepository: `${target}/${name}`,
      store,
      storeRepository: `${namespace}/${name}`,
      digest,
      tag,
      environment: context.environment,
    };
    try {
      await loadImage(copy, { signal });
      log.info(`restored image ${digest}`, fields);
    } catch (error) {
      signal?.throwIfAborted();
      if (isCurrent) {
        errors.push(`image ${digest}: ${errorMessage(error)}`);
      } else {
        log.warn(`an earlier image, ${digest}, is not restored: ${errorMessage(error)}`, fields);
      }
    }
  }
  return errors.length === 0 ? undefined : errors.join("; ");
}

/** A stream of somebody else's keeps its tags, unless the restore is to change what is there. */
async function isRestored(
  { context, restore }: RestoreRun,
  where: { readonly namespace: string; readonly name: string },
  options: CallOptions,
): Promise<boolean> {
  const type = context.catalog.resolve(IMAGE_STREAMS);
  if (type === undefined) {
    return false;
  }
  try {
    const { metadata } = await context.kube.get(type, where, options);
    const isOurs = metadata.labels?.[LABEL.restoreName] === labelValue(restore.metadata.name);
    return isOurs || restore.spec.existingResourcePolicy === "update";
  } catch (error) {
    if (isKubeError(error, "not-found")) {
      return false;
    }
    throw error;
  }
}
