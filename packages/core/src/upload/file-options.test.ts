import { expect, test } from "vitest";
import { DEFAULT_POLICY } from "../policy/default-policy.ts";
import { fileSections } from "./file-options.ts";

const MIB = 2 ** 20;

test("under the default policy a long file is read in sections of 256 MiB, so that Kopia's 2 GiB are among their ends", () => {
  const sections = fileSections(DEFAULT_POLICY, 2048 * MIB + 1);
  expect(sections.map(({ offset }) => offset / MIB)).toEqual([
    0, 256, 512, 768, 1024, 1280, 1536, 1792, 2048,
  ]);
  expect(fileSections(DEFAULT_POLICY, 256 * MIB)).toEqual([{ offset: 0 }]);
});

test("a policy's own size is followed, and a negative one means never", () => {
  const policy = (parallelUploadAboveSize: number): typeof DEFAULT_POLICY => ({
    ...DEFAULT_POLICY,
    upload: { parallelUploadAboveSize },
  });
  expect(fileSections(policy(1024 * MIB), 1025 * MIB)).toEqual([
    { offset: 0, length: 1024 * MIB },
    { offset: 1024 * MIB },
  ]);
  expect(fileSections(policy(-1), 2 ** 50)).toEqual([{ offset: 0 }]);
});
