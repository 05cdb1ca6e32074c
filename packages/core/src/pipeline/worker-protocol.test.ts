import { expect, test } from "vitest";
import { parseContentId } from "../index/content-id.ts";
import type { FileOutcome, FileToRead } from "./executor.ts";
import {
  packIds,
  packJob,
  packOutcomes,
  unpackIds,
  unpackJob,
  unpackOutcomes,
} from "./worker-protocol.ts";

const WHOLE: Omit<FileToRead, "path"> = { offset: 0, splitter: "FIXED-1M", compressor: "none" };

test("ids come out as they went in, none at all too", () => {
  const ids = ["00ff", "k0123"].map(parseContentId);
  expect(unpackIds(packIds(ids))).toEqual(ids);
  expect(unpackIds(packIds([]))).toEqual([]);
});

test("files keep their order, names of bytes and sections among them; alike neighbours are one run", () => {
  const files: FileToRead[] = [
    { ...WHOLE, path: "/a b" },
    { ...WHOLE, path: "/c" },
    { ...WHOLE, path: Uint8Array.of(0x2f, 0xff) },
    { ...WHOLE, path: "/d" },
    { ...WHOLE, path: "/d", offset: 5, length: 7 },
    { ...WHOLE, path: "/e", compressor: "zstd" },
  ];
  const job = packJob({ files });
  expect(unpackJob(job)).toEqual({ files });
  expect(job.runs).toHaveLength(5);
  expect(unpackJob(packJob({ files: [] }))).toEqual({ files: [] });
});

test("outcomes keep their order, whatever became of the files", () => {
  const outcomes: FileOutcome[] = [
    { pieces: [{ length: 3, object: "00ff" }], sizeBytes: 3 },
    { stopped: true },
    {
      pieces: [
        { length: 3, object: "00ff" },
        { length: 2, object: "Z01ff" },
      ],
      sizeBytes: 5,
    },
    { failed: { code: "source-failed", message: "gone" } },
    { pieces: [{ length: 0, object: "aa" }], sizeBytes: 0 },
  ];
  expect(unpackOutcomes(packOutcomes(outcomes))).toEqual(outcomes);
  expect(unpackOutcomes(packOutcomes([]))).toEqual([]);
});
