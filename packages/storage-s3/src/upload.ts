import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  type CompletedPart,
  CreateMultipartUploadCommand,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { type BlobId, type CallOptions, inParts, VarveError } from "@varve/core/blob";
import type { S3Bucket } from "./bucket.ts";
import {
  digest,
  PAYLOAD_STEP,
  placement,
  S3Store,
  type S3StoreSettings,
  signedPayload,
} from "./store.ts";

/** Objects of any size, a part after the other: what is not complete is never seen under its name. */

// Of at most ten thousand parts: objects up to 156 GiB.
const PART_BYTES = 16_777_216;

interface UploadOptions extends CallOptions {
  readonly settings: S3StoreSettings;
}

/** Throws what `chunks` throw. */
export async function upload(
  bucket: S3Bucket,
  id: BlobId,
  chunks: AsyncIterable<Uint8Array>,
  options: UploadOptions,
): Promise<void> {
  let multipart: Multipart | undefined;
  try {
    for await (const { bytes, isLast } of inParts(chunks, PART_BYTES)) {
      options.signal?.throwIfAborted();
      if (isLast && multipart === undefined) {
        await new S3Store(bucket, options.settings).put(id, [bytes], { signal: options.signal });
        return;
      }
      multipart ??= await Multipart.begin(bucket, id, options);
      await multipart.add(bytes);
    }
    await multipart?.complete();
  } catch (error) {
    await multipart?.abort();
    throw error;
  }
}

class Multipart {
  readonly #bucket: S3Bucket;
  readonly #id: BlobId;
  readonly #uploadId: string;
  readonly #options: UploadOptions;
  readonly #parts: CompletedPart[] = [];

  private constructor(bucket: S3Bucket, id: BlobId, options: UploadOptions & { uploadId: string }) {
    this.#bucket = bucket;
    this.#id = id;
    this.#uploadId = options.uploadId;
    this.#options = options;
  }

  static async begin(bucket: S3Bucket, id: BlobId, options: UploadOptions): Promise<Multipart> {
    const { settings, signal } = options;
    const command = new CreateMultipartUploadCommand({
      ...bucket.target(id),
      ...placement(id, settings),
      ...(settings.checksum === "sha256" ? { ChecksumAlgorithm: "SHA256" } : {}),
    });
    const attempt = { what: `begin the upload of ${id}`, needs: "s3:PutObject" };
    const { UploadId: uploadId } = await bucket.run(attempt, signal, (abortSignal) =>
      bucket.client.send(command, { abortSignal }),
    );
    if (uploadId === undefined) {
      throw new VarveError("storage-failed", `${attempt.what}: the server names no upload`);
    }
    return new Multipart(bucket, id, { ...options, uploadId });
  }

  async add(bytes: Uint8Array): Promise<void> {
    const { settings, signal } = this.#options;
    const PartNumber = this.#parts.length + 1;
    const sha256 = digest("sha256", [bytes]);
    const isSha256 = settings.checksum === "sha256";
    const checksum = isSha256 ? { ChecksumSHA256: sha256.toString("base64") } : {};
    const command = new UploadPartCommand({
      ...this.#target,
      PartNumber,
      Body: bytes,
      ContentLength: bytes.length,
      ...(isSha256 ? checksum : { ContentMD5: digest("md5", [bytes]).toString("base64") }),
    });
    command.middlewareStack.add(
      signedPayload(settings.signBodies ? sha256 : undefined),
      PAYLOAD_STEP,
    );
    const attempt = { what: `upload part ${PartNumber} of ${this.#id}`, needs: "s3:PutObject" };
    const { ETag } = await this.#bucket.run(attempt, signal, (abortSignal) =>
      this.#bucket.client.send(command, { abortSignal }),
    );
    this.#parts.push({ PartNumber, ...(ETag === undefined ? {} : { ETag }), ...checksum });
  }

  async complete(): Promise<void> {
    const MultipartUpload = { Parts: this.#parts };
    const command = new CompleteMultipartUploadCommand({ ...this.#target, MultipartUpload });
    const attempt = { what: `end the upload of ${this.#id}`, needs: "s3:PutObject" };
    await this.#bucket.run(attempt, this.#options.signal, (abortSignal) =>
      this.#bucket.client.send(command, { abortSignal }),
    );
  }

  /** Also after the signal has aborted. What cannot be removed is left to the bucket's own rules. */
  async abort(): Promise<void> {
    const command = new AbortMultipartUploadCommand(this.#target);
    const attempt = { what: `give up ${this.#id}`, needs: "s3:AbortMultipartUpload" };
    await this.#bucket
      .run(attempt, undefined, (abortSignal) => this.#bucket.client.send(command, { abortSignal }))
      .catch(() => {}); // the first error is the one to tell
  }

  get #target(): { readonly Bucket: string; readonly Key: string; readonly UploadId: string } {
    return { ...this.#bucket.target(this.#id), UploadId: this.#uploadId };
  }
}
