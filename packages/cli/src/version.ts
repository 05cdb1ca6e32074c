import { readFile } from "node:fs/promises";

export async function version(): Promise<string> {
  const text = await readFile(new URL("../package.json", import.meta.url), "utf8");
  const { version } = JSON.parse(text) as { version: string }; // our own package.json
  return version;
}
