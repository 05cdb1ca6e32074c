import { readFile, rm } from "node:fs/promises";
import { VarveError } from "@varve/core/blob";
import { keyFile, passwordFile, writePrivateFile } from "./connection.ts";

/** Where a password may come from, in this order: option, file, environment, kept beside the connection, prompt. */
export interface PasswordSources {
  readonly password?: string | undefined;
  readonly passwordFile?: string | undefined;
  readonly configFile: string;
  /** For a second repository: the environment has the password of the first. */
  readonly ignoreEnvironment?: boolean | undefined;
}

/** Throws `invalid-argument` when there is none and nobody to ask. */
export async function findPassword(sources: PasswordSources): Promise<string> {
  return (await knownPassword(sources)) ?? (await prompt("Password of the repository: "));
}

/** The same without asking anybody. */
export async function knownPassword(sources: PasswordSources): Promise<string | undefined> {
  return (
    sources.password ??
    (await fromFile(sources.passwordFile)) ??
    (sources.ignoreEnvironment === true ? undefined : environmentPassword()) ??
    (await keptPassword(sources.configFile))
  );
}

/** Like {@link findPassword} for a password that is being chosen: a prompt asks twice. */
export async function chooseNewPassword(options: {
  given?: string | undefined;
  file?: string | undefined;
  environment?: string | undefined;
}): Promise<string> {
  const found = options.given ?? (await fromFile(options.file)) ?? options.environment;
  if (found !== undefined) {
    return found;
  }
  const first = await prompt("New password: ");
  if ((await prompt("The same again: ")) !== first) {
    throw new VarveError("invalid-argument", "the two passwords differ");
  }
  return first;
}

export function environmentPassword(): string | undefined {
  const value = process.env["VARVE_PASSWORD"];
  return value === "" ? undefined : value;
}

/** Keeps the password in a file that only its owner may read. The key of the one before goes. */
export async function keepPassword(configFile: string, password: string): Promise<void> {
  await rm(keyFile(configFile), { force: true });
  await writePrivateFile(passwordFile(configFile), `${password}\n`);
}

async function fromFile(path: string | undefined): Promise<string | undefined> {
  if (path === undefined) {
    return undefined;
  }
  try {
    return (await readFile(path, "utf8")).replace(/\r?\n$/, "");
  } catch (cause) {
    throw new VarveError("invalid-argument", `cannot read the password file ${path}`, { cause });
  }
}

/** What `--persist-credentials` kept; `undefined` for nothing. */
export async function keptPassword(configFile: string): Promise<string | undefined> {
  try {
    return (await readFile(passwordFile(configFile), "utf8")).replace(/\r?\n$/, "");
  } catch {
    return undefined; // nothing was kept
  }
}

async function prompt(question: string): Promise<string> {
  if (!process.stdin.isTTY) {
    throw new VarveError(
      "invalid-argument",
      "no password: set VARVE_PASSWORD, use --password-file, or run on a terminal",
    );
  }
  const { createInterface } = await import("node:readline");
  const { Writable } = await import("node:stream");
  process.stderr.write(question);
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  const reader = createInterface({ input: process.stdin, output: silent, terminal: true });
  try {
    return await new Promise<string>((resolve, reject) => {
      reader.once("line", resolve);
      reader.once("close", () => reject(new VarveError("invalid-argument", "no password given")));
    });
  } finally {
    reader.close();
    process.stderr.write("\n");
  }
}
