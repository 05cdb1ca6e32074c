import { type BlobId, type CallOptions, inParts } from "@varve/core/blob";
import { type AzureContainer, bodyOf, contentMd5 } from "./container.ts";
import { type AccessTierRule, tierOf } from "./options.ts";

/** Blobs of any size, a block after the other: they are seen when the list of blocks is given, and not before. */

// Of at most fifty thousand blocks: blobs up to 781 GiB.
const BLOCK_BYTES = 16_777_216;

/** Throws what `chunks` throw. */
export async function upload(
  container: AzureContainer,
  id: BlobId,
  chunks: AsyncIterable<Uint8Array>,
  {
    accessTiers,
    signal,
  }: CallOptions & { readonly accessTiers: readonly AccessTierRule[] | undefined },
): Promise<void> {
  const blob = container.blob(id);
  const blocks: string[] = [];
  for await (const { bytes } of inParts(chunks, BLOCK_BYTES)) {
    if (bytes.length === 0) {
      break; // there is nothing at all, and blocks are not empty
    }
    // Names of one length, which blocks of a blob must have.
    const block = Buffer.from(String(blocks.length).padStart(8, "0")).toString("base64");
    const attempt = { what: `upload block ${blocks.length} of ${id}`, needs: "write" } as const;
    await container.run(attempt, signal, (watch) =>
      blob.stageBlock(block, bodyOf(bytes, watch), bytes.length, {
        abortSignal: watch.abortSignal,
        transactionalContentMD5: contentMd5(bytes),
      }),
    );
    blocks.push(block);
  }
  const tier = tierOf(id, accessTiers);
  const attempt = { what: `end the upload of ${id}`, needs: "write" } as const;
  await container.run(attempt, signal, ({ abortSignal }) =>
    blob.commitBlockList(blocks, { abortSignal, ...(tier === undefined ? {} : { tier }) }),
  );
}
