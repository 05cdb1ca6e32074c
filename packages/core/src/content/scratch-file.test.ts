import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { utf8 } from "../base/bytes.ts";
import { openScratchFile } from "./scratch-file.ts";

test("a scratch file gives back what was written, anywhere, and leaves nothing behind", () => {
  const directory = mkdtempSync(join(tmpdir(), "varve-scratch-test-"));
  try {
    const file = openScratchFile(directory);
    file.write(1_000_000, utf8("far"));
    file.write(0, utf8("near"));
    const near = new Uint8Array(4);
    const far = new Uint8Array(3);
    file.read(0, near);
    file.read(1_000_000, far);
    expect([near, far]).toEqual([utf8("near"), utf8("far")]);
    expect(() => file.read(1_000_002, far)).toThrow(
      expect.objectContaining({ code: "storage-failed" }),
    );
    file[Symbol.dispose]();
    file[Symbol.dispose]();
    expect(readdirSync(directory)).toEqual([]);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test("a directory that is not there is a failure with a code", () => {
  expect(() => openScratchFile("/nowhere/at/all")).toThrow(
    expect.objectContaining({ code: "storage-failed" }),
  );
});
