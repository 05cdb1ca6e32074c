import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { volumePath } from "./host-path.ts";

let podsFolder = "";
beforeEach(() => {
  podsFolder = mkdtempSync(join(tmpdir(), "varve-pods-"));
});
afterEach(() => rmSync(podsFolder, { recursive: true }));

function make(path: string): string {
  mkdirSync(join(podsFolder, path), { recursive: true });
  return join(podsFolder, path);
}

const emptyDir = (name: string) =>
  ({ volume: { name, kind: "emptyDir", claim: undefined }, persistentVolume: undefined }) as const;
const claimed = (name: string) =>
  ({
    volume: { name: "data", kind: "persistentVolumeClaim", claim: "c" },
    persistentVolume: { metadata: { name } },
  }) as const;

test("a volume is found by its name, or that of its persistent volume, below any plugin", () => {
  const cache = make("p1/volumes/kubernetes.io~empty-dir/cache");
  const local = make("p1/volumes/kubernetes.io~local-volume/pv-1");
  const csi = make("p1/volumes/kubernetes.io~csi/pv-2/mount");
  make("p2/volumes/kubernetes.io~empty-dir/cache");
  const find = (target: ReturnType<typeof emptyDir> | ReturnType<typeof claimed>): string =>
    volumePath({ podsFolder, podUid: "p1", target });
  expect(find(emptyDir("cache"))).toBe(cache);
  expect(find(claimed("pv-1"))).toBe(local);
  expect(find(claimed("pv-2"))).toBe(csi);
});

test("none, two, and one that is somewhere else are refused", () => {
  make("p1/volumes/kubernetes.io~empty-dir/twice");
  make("p1/volumes/kubernetes.io~nfs/twice");
  const elsewhere = make("elsewhere");
  make("elsewhere/link");
  symlinkSync(elsewhere, join(podsFolder, "p1/volumes/kubernetes.io~evil"));
  for (const name of ["missing", "twice", "link", "..", "a/b", ""]) {
    expect(
      () => volumePath({ podsFolder, podUid: "p1", target: emptyDir(name) }),
      name,
    ).toThrowError(expect.objectContaining({ code: "source-failed" }));
  }
  const gone = { podsFolder, podUid: "../p1", target: emptyDir("twice") };
  expect(() => volumePath(gone)).toThrowError(expect.objectContaining({ code: "source-failed" }));
});
