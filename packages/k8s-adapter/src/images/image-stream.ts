import type { KubeObject } from "../kube/kube-api.ts";
import { type Digest, parseDigest } from "./image-manifest.ts";

/** ImageStreams of `image.openshift.io`, as far as their images are copied: spec section 10.2. */

export const IMAGE_STREAMS = "imagestreams.image.openshift.io";
/** Which registry the images were in; OADP's plug-in leaves and reads it, too. */
export const BACKUP_HOST = "openshift.io/backup-registry-hostname";

export interface ImageStream extends KubeObject {
  spec?: { tags?: SpecTag[] | null };
  status?: {
    dockerImageRepository?: string;
    tags?:
      | {
          tag?: string;
          items?: { dockerImageReference?: string; image?: string }[] | null;
        }[]
      | null;
  };
}

interface SpecTag {
  name?: string;
  from?: { kind?: string; name?: string; namespace?: string } | null;
}

/** An image of a stream that the cluster's own registry has. */
export interface StreamImage {
  /** `namespace/stream`, of the registry; not always the stream's own. */
  readonly repository: string;
  readonly digest: Digest;
  /** Undefined: the tag is made by what the stream's spec says, or it is not the tag's latest. */
  readonly tag: string | undefined;
  /** What the tag stands for now; others may have been pruned from the registry. */
  readonly isCurrent: boolean;
}

/** Of `host:port/namespace/stream`; undefined where the cluster has no registry of its own. */
export function registryHost({ status }: ImageStream): string | undefined {
  const [host = "", ...path] = (status?.dockerImageRepository ?? "").split("/");
  return path.length === 2 && isHost(host) ? host : undefined;
}

/** Oldest first, so that a tag ends with its latest. What makes no sense is left out. */
export function imagesOf(stream: ImageStream, host: string): StreamImage[] {
  const { namespace = "" } = stream.metadata;
  return listOf(stream.status?.tags).flatMap(({ tag = "", items }) => {
    const newestFirst = listOf(items);
    return newestFirst
      .flatMap(({ dockerImageReference, image }, index) => {
        const found = parseReference(dockerImageReference ?? "");
        const digest = parseDigest(image) ?? found?.digest;
        const isTagged = isTag(tag) && isPushed(stream, tag, namespace);
        return found?.host !== host || digest === undefined
          ? []
          : [
              {
                repository: found.repository,
                digest,
                tag: isTagged && index === 0 ? tag : undefined,
                isCurrent: index === 0,
              },
            ];
      })
      .reverse();
  });
}

/** Makes a stream ready for another registry, and other names of namespaces: what its tags are made from is there. */
export function redirectTags(
  { metadata, spec }: ImageStream,
  {
    fromHost,
    toHost,
    mapping,
  }: {
    readonly fromHost: string | undefined;
    readonly toHost: string;
    readonly mapping: Readonly<Record<string, string>>;
  },
): void {
  const namespace = (name: string): string => mapping[name] ?? name;
  // A push makes these tags; what they were made from need not exist when the stream is made.
  const tags = listOf(spec?.tags).filter(
    ({ from, name = "" }) =>
      from?.kind !== "ImageStreamImage" ||
      !isPushed({ metadata, spec: spec ?? {} }, name, metadata.namespace ?? ""),
  );
  for (const { from } of tags) {
    if (from?.namespace !== undefined) {
      from.namespace = namespace(from.namespace);
    }
    if (from?.kind === "DockerImage" && from.name !== undefined) {
      const [host = "", source = "", ...rest] = from.name.split("/");
      if (host === fromHost && rest.length === 1) {
        from.name = [toHost, namespace(source), ...rest].join("/");
      }
    }
  }
  if (spec?.tags != null) {
    spec.tags = tags;
  }
}

/** The tag comes from a push: the spec says nothing of it, or names an image of the same namespace. */
function isPushed({ spec }: ImageStream, tag: string, namespace: string): boolean {
  const found = listOf(spec?.tags).find(({ name }) => name === tag);
  const { kind, namespace: source = namespace } = found?.from ?? {};
  return found?.from == null || (kind === "ImageStreamImage" && source === namespace);
}

const NAME = "[a-z0-9](?:[-a-z0-9._]*[a-z0-9])?";
const REFERENCE = new RegExp(`^([^/]+)/(${NAME}/${NAME})(?:@(sha256:[0-9a-f]{64}))?$`);

function parseReference(
  text: string,
):
  | { readonly host: string; readonly repository: string; readonly digest: Digest | undefined }
  | undefined {
  const [, host, repository, digest] = REFERENCE.exec(text) ?? [];
  return host === undefined || repository === undefined || text.length > 1024
    ? undefined
    : { host, repository, digest: parseDigest(digest) };
}

function isHost(text: string): boolean {
  return /^[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?(?::\d{1,5})?$/i.test(text);
}

function isTag(text: string): boolean {
  return /^\w[\w.-]{0,127}$/.test(text);
}

/** Backups can hold anything. */
function listOf<T extends object>(value: readonly T[] | null | undefined): T[] {
  return Array.isArray(value)
    ? value.filter((each) => typeof each === "object" && each !== null)
    : [];
}
