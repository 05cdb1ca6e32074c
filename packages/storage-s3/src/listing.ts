import { ListObjectsV2Command } from "@aws-sdk/client-s3";
import { VarveError } from "@varve/core/blob";
import { decodeName, type ListedObject, type S3Bucket } from "./bucket.ts";

/** A listing page by page, a request each. */

export interface ListingOptions {
  /** For errors, such as `list "p"`. */
  readonly what: string;
  /** Names are listed up to the first one of these after the prefix. */
  readonly delimiter?: string;
  readonly pageSize?: number;
  readonly signal: AbortSignal | undefined;
}

export interface ListingPage {
  readonly objects: readonly ListedObject[];
  /** With a delimiter: whole names up to it. */
  readonly folders: readonly string[];
}

export async function* listPages(
  bucket: S3Bucket,
  prefix: string,
  { what, delimiter, pageSize, signal }: ListingOptions,
): AsyncGenerator<ListingPage> {
  let token: string | undefined;
  do {
    const command = new ListObjectsV2Command({
      Bucket: bucket.name,
      Prefix: prefix,
      EncodingType: "url",
      ...(delimiter === undefined ? {} : { Delimiter: delimiter }),
      ...(pageSize === undefined ? {} : { MaxKeys: pageSize }),
      ...(token === undefined ? {} : { ContinuationToken: token }),
    });
    const page = await bucket.run({ what, needs: "s3:ListBucket" }, signal, (abortSignal) =>
      bucket.client.send(command, { abortSignal }),
    );
    const decode = (name: string | undefined): string => decodeName(name, page.EncodingType);
    yield {
      objects: (page.Contents ?? []).map((object) => ({ ...object, Key: decode(object.Key) })),
      folders: (page.CommonPrefixes ?? []).map((folder) => decode(folder.Prefix)),
    };
    token = nextPage(what, { page, token });
  } while (token !== undefined);
}

/** The token of the next page. A server that gives the same page for ever is found out. */
function nextPage(
  what: string,
  options: {
    page: { IsTruncated?: boolean | undefined; NextContinuationToken?: string | undefined };
    token: string | undefined;
  },
): string | undefined {
  const { IsTruncated = false, NextContinuationToken: next } = options.page;
  if (IsTruncated && (next === undefined || next === options.token)) {
    throw new VarveError("storage-failed", `${what}: more is said to follow, but not where`);
  }
  return IsTruncated ? next : undefined;
}
