import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openFileSystemStore } from "../../src/blob/filesystem-store.ts";
import { recoverFormat } from "../../src/repair/recover-format.ts";
import { recoverIndex } from "../../src/repair/recover-index.ts";
import { repairContents } from "../../src/repair/repair-contents.ts";
import { inventory, makeTree } from "../trees/make-tree.ts";
import { verifyAll, withRow } from "../matrix/round-trip.ts";
import { Kopia } from "./kopia.ts";

/** A repository of stock Kopia's that it refuses to open is repaired by varve, and is Kopia's again. */

const identity = { username: "tester", hostname: "bench" };
const password = "matrix password";
const asKopiaRestores = { directoryTimes: false, linkTimes: false, rawNames: false };

function blobs(repository: string, prefix: string): string[] {
  return readdirSync(repository, { recursive: true, withFileTypes: true })
    .filter((file) => file.isFile())
    .map((file) => join(file.parentPath, file.name))
    .filter((path) =>
      path
        .slice(repository.length + 1)
        .replaceAll("/", "")
        .startsWith(prefix),
    );
}

function flip(path: string): void {
  const bytes = readFileSync(path);
  writeFileSync(
    path,
    bytes.map((byte, at) => (at === 40 ? byte ^ 1 : byte)),
  );
}

test.each(["3", "1"])("format version %s", async (version) => {
  const folder = mkdtempSync(join(tmpdir(), "varve-repair-"));
  const [data, repository, mirror] = ["data", "repository", "mirror"].map((name) =>
    join(folder, name),
  ) as [string, string, string]; // three in, three out
  mkdirSync(repository);
  makeTree(data, { seed: version });
  using kopia = new Kopia({ password });
  kopia.run(
    ...[
      "repository",
      "create",
      "filesystem",
      `--path=${repository}`,
      `--format-version=${version}`,
    ],
    ...[`--override-username=${identity.username}`, `--override-hostname=${identity.hostname}`],
    ...["--object-splitter=DYNAMIC-128K-BUZHASH", `--cache-directory=${join(folder, "cache")}`],
  );
  kopia.run("snapshot", "create", data);
  writeFileSync(join(data, "later"), "later");
  kopia.run("snapshot", "create", data);
  cpSync(repository, mirror, { recursive: true, preserveTimestamps: true });

  blobs(repository, version === "1" ? "n" : "x").forEach(flip);
  blobs(repository, "p")
    .slice(0, 1)
    .forEach((path) => rmSync(path));
  blobs(repository, "q").slice(0, 1).forEach(flip);
  const [format = expect.fail()] = blobs(repository, "kopia.repository");
  rmSync(format);
  using fresh = new Kopia({ password });
  expect(() => fresh.connect(repository, identity)).toThrow();

  await using store = await openFileSystemStore(repository);
  const copies = version === "1" ? [] : [readFileSync(blobs(mirror, "kopia.repository")[0] ?? "")];
  await recoverFormat(store, { password, commit: true, copies });
  await withRow(repository, identity, (opened) => recoverIndex(opened, { commit: true }));
  await withRow(mirror, identity, (whole) =>
    withRow(repository, identity, async (opened) => {
      const report = await repairContents(opened, { commit: true, mirror: whole });
      expect(report).toMatchObject({ unhealed: [] });
      expect(report.fromMirror).toBeGreaterThan(0);
    }),
  );

  fresh.connect(repository, identity);
  const list = JSON.parse(fresh.run("snapshot", "list", "--all", "--json")) as { id: string }[];
  expect(list).toHaveLength(2);
  fresh.run("snapshot", "verify", "--verify-files-percent=100");
  fresh.run("maintenance", "run", "--full", "--safety=none");
  fresh.run("snapshot", "verify", "--verify-files-percent=100");
  fresh.run("content", "verify", "--full");
  fresh.run("restore", list.at(-1)?.id ?? "", join(folder, "restored"));
  expect(inventory(join(folder, "restored"), asKopiaRestores)).toEqual(
    inventory(data, asKopiaRestores),
  );
  await withRow(repository, identity, verifyAll);
  rmSync(folder, { recursive: true });
});
