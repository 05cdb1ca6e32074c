import { isVarveError } from "@varve/core";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { storageType } from "../src/storage.ts";
import { decodeToken, encodeToken } from "../src/token.ts";
import { Cli, PASSWORD } from "./cli-fixture.ts";

/** What connects another machine: Kopia's tokens and connection files, read and written, and no secret unless asked. */

/** As stock Kopia makes it. */
function tokenOf(type: string, config: object, more: object = {}): string {
  const document = { version: "1", storage: { type, config }, ...more };
  return Buffer.from(JSON.stringify(document)).toString("base64url");
}

const NOTHING = { roleARN: "", sessionName: "", duration: "0s", roleEndpoint: "", roleRegion: "" };
const KEYS = { accessKeyID: "id", secretAccessKey: "secret", sessionToken: "" };

describe("a token of Kopia's", () => {
  test.each([
    [
      "filesystem",
      { path: "/repo", fileMode: 384, dirMode: 448, dirShards: null },
      { path: "/repo", fileMode: 384, dirMode: 448 },
    ],
    ["filesystem", { path: "/repo", dirShards: [] }, { path: "/repo", flat: true }],
    [
      "s3",
      {
        bucket: "b",
        prefix: "p/",
        endpoint: "h:1",
        doNotUseTLS: true,
        rootCA: "Q0E=",
        ...KEYS,
        ...NOTHING,
      },
      {
        ...{ bucket: "b", prefix: "p/", endpoint: "h:1", doNotUseTLS: true, rootCA: "Q0E=" },
        ...{ accessKeyID: "id", secretAccessKey: "secret", duration: "0s" },
      },
    ],
    [
      "azure",
      {
        ...{ container: "c", storageAccount: "a", storageDomain: "d.example", doNotUseTLS: true },
        ...{ TenantID: "t", ClientID: "i", ClientSecret: "s" },
      },
      {
        ...{ container: "c", storageAccount: "a", storageDomain: "d.example" },
        ...{ endpoint: "http://a.d.example", tenantID: "t", clientID: "i", clientSecret: "s" },
      },
    ],
    [
      "gcs",
      { bucket: "b", credentials: { type: "service_account" }, readOnly: true },
      { bucket: "b", credentials: '{"type":"service_account"}', readOnly: true },
    ],
  ])("names a place of type %s, and is written again alike", (type, theirs, ours) => {
    const limits = { maxUploadSpeedBytesPerSecond: 5 };
    const { location, password } = decodeToken(
      `${tokenOf(type, { ...theirs, ...limits, readsPerSecond: 0 }, { password: "pw" })}\n`,
    );
    expect({ ...location, password }).toEqual({ type, config: ours, limits, password: "pw" });
    expect(decodeToken(encodeToken({ location }))).toEqual({ location });
  });

  test.each([
    ["empty", "", "invalid-argument"],
    ["no base64", "%%%", "invalid-argument"],
    ["no JSON", Buffer.from('{"version":"1","secret').toString("base64url"), "invalid-argument"],
    ["of no storage", Buffer.from('{"version":"1"}').toString("base64url"), "invalid-argument"],
    ["later", tokenOf("s3", {}, { version: "2" }), "unsupported"],
    ["of other storage", tokenOf("rclone", { remotePath: "secret" }), "unsupported"],
  ])("that is %s is refused, and not quoted", (_what, token, code) => {
    const refusal = (): unknown => decodeToken(token);
    expect(refusal).toThrow(expect.objectContaining({ code }));
    expect(refusal).not.toThrow(/secret/);
  });

  test("may be anything: a place or a refusal comes out, and opening it needs no more than text", () => {
    const document = fc.record(
      {
        version: fc.constantFrom("1", "2", 1, null),
        storage: fc.record({
          type: fc.constantFrom("filesystem", "s3", "azure", "gcs", "x", 5, null),
          config: fc.dictionary(
            fc.constantFrom(
              "path",
              "bucket",
              "Credentials",
              "ClientSecret",
              "dirShards",
              "__proto__",
            ),
            fc.jsonValue(),
          ),
        }),
        password: fc.jsonValue(),
      },
      { requiredKeys: [] },
    );
    const token = fc.oneof(
      document.map((value) => Buffer.from(JSON.stringify(value)).toString("base64url")),
      fc.string(),
    );
    fc.assert(
      fc.property(token, (text) => {
        try {
          const { location, password = "" } = decodeToken(text);
          expect(typeof password).toBe("string");
          for (const value of Object.values(location.config)) {
            expect(["string", "number", "boolean", "undefined"]).toContain(typeof value);
          }
          storageType(location.type).describe(location.config);
        } catch (error) {
          expect(isVarveError(error)).toBe(true);
        }
      }),
      { seed: 1, numRuns: 500 },
    );
  });
});

describe("repository connect from-config", () => {
  let cli: Cli;
  const other = (name: string): string[] => ["--config-file", cli.path(`config/${name}.config`)];
  const NO_PASSWORD = { VARVE_PASSWORD: "" };

  beforeAll(async () => {
    cli = new Cli();
    await cli.createRepository("--max-upload-speed=9000000");
  });
  afterAll(() => cli[Symbol.dispose]());

  const token = async (flag: string): Promise<string> => {
    const status = await cli.json<{ reconnectToken: string }>(["repository", "status", flag]);
    return status.reconnectToken;
  };

  test("takes a token, which holds the password only when that was asked for", async () => {
    const without = await token("-t");
    expect(decodeToken(without).password).toBeUndefined();
    const connect = [...other("stdin"), "repository", "connect", "from-config", "--token-stdin"];
    const refused = await cli.fails(connect, { input: without, env: NO_PASSWORD });
    expect(refused).toContain("no password");
    await cli.ok(connect, { input: `${await token("-s")}\n`, env: NO_PASSWORD });
    expect(cli.read("config/stdin.config")).not.toContain(PASSWORD);
    expect(await cli.ok([...other("stdin"), "repository", "throttle", "get"])).toMatch(
      /^Max upload speed: +9\.0 MB/m,
    );
    expect(await cli.ok(["repository", "status"])).not.toContain("token");
    expect(await cli.ok(["repository", "status", "-t"])).toContain(without);
  });

  test("takes a token in a file or an argument, or a connection file, and one of them", async () => {
    const [file, text] = [cli.write("token", await token("-t")), await token("-t")];
    const connect = [...other("second"), "repository", "connect", "from-config"];
    const config = cli.path("config/repository.config");
    for (const flags of [
      ["--token-file", file],
      ["--token", text],
      ["--file", config],
    ]) {
      await cli.ok([...connect, ...flags]);
    }
    const wrong = [[], ["--token", text, "--file", config], ["--file", cli.path("nothing")]];
    for (const flags of wrong) {
      expect(await cli.fails([...connect, ...flags])).toContain("[invalid-argument]");
    }
    const kopiaServer = cli.write("server.config", '{"apiServer":{"url":"https://secret"}}');
    const refused = await cli.fails([...connect, "--file", kopiaServer]);
    expect(refused).toContain("names no storage");
  });

  test("is there for create and sync-to as well", async () => {
    const place = (path: string): string => tokenOf("filesystem", { path: cli.path(path) });
    const create = ["repository", "create", "from-config", "--token", place("made")];
    await cli.ok([...other("made"), ...create]);
    expect(
      await cli.fails(["repository", "sync-to", "from-config", "--token", place("none")]),
    ).toContain("[storage-failed]");
  });
});
