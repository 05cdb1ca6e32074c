import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** A small folder to back up: empty, small and large files, a duplicate. The result is what {@link filesOf} says of it. */
export function writeFiles(folder: string, options: { seed: number }): Record<string, string> {
  const { seed } = options;
  const files: Record<string, Uint8Array> = { empty: new Uint8Array(0) };
  for (let index = 0; index < 20; index++) {
    files[`many/${index % 3}/${index}.txt`] = Buffer.from(
      `file ${index} of ${seed}\n`.repeat(index),
    );
  }
  const large = Buffer.concat(
    Array.from({ length: 40_000 }, (_, index) =>
      createHash("sha256").update(`${seed}/${index}`).digest(),
    ),
  );
  files["large.bin"] = large;
  files["copy of large.bin"] = large;
  for (const [name, bytes] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), bytes);
  }
  return filesOf(folder);
}

/** Every file below the folder, with a hash of its bytes. */
export function filesOf(folder: string): Record<string, string> {
  const names = readdirSync(folder, { recursive: true, encoding: "utf8" }).sort();
  return Object.fromEntries(
    names
      .filter((name) => statSync(join(folder, name)).isFile())
      .map((name) => [
        name,
        createHash("sha256")
          .update(readFileSync(join(folder, name)))
          .digest("hex"),
      ]),
  );
}
