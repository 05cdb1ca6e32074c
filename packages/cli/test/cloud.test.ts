import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout } from "node:timers/promises";
import { type Azurite, startAzurite } from "@varve/testenv/azurite.ts";
import { type FakeGcs, startFakeGcs } from "@varve/testenv/fake-gcs.ts";
import { startFaultProxy } from "@varve/testenv/fault-proxy.ts";
import { canRunGoServers } from "@varve/testenv/process.ts";
import { s3Request } from "@varve/testenv/s3-request.ts";
import {
  type S3Server,
  startS3rver,
  startVersitygw,
  type VersitygwServer,
} from "@varve/testenv/s3-servers.ts";
import type { Vendor } from "@varve/testenv/vendor-answers.ts";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Cli, type SnapshotJson } from "./cli-fixture.ts";

/** The built program with real servers: what a user types, and what he is told when something is wrong. */
let s3: S3Server;
let azure: Azurite;
let cli: Cli;
/** Only where there is Go. */
let gcs: FakeGcs;
let gateway: VersitygwServer;
const HAS_GO = canRunGoServers("the command line on fake-gcs-server and versitygw");
const FIRST_BUILD_MS = 600_000;

beforeAll(async () => {
  [s3, azure] = await Promise.all([startS3rver(), startAzurite()]);
  if (HAS_GO) {
    [gcs, gateway] = await Promise.all([startFakeGcs(), startVersitygw()]);
    await Promise.all([gcs.createBucket("box"), gateway.createBucket("bucket")]);
  }
  await s3.createBucket("bucket");
  await azure.createContainer("box");
  cli = new Cli({
    AWS_ACCESS_KEY_ID: s3.accessKeyId,
    AWS_SECRET_ACCESS_KEY: s3.secretAccessKey,
    AZURE_STORAGE_KEY: azure.key,
  });
  cli.write("service-account.json", JSON.stringify(serviceAccount()));
  cli.write("source/one.txt", "first words\n");
  await cli.ok(["repository", "create", ...place("laptop/")]);
}, FIRST_BUILD_MS);

afterAll(async () => {
  cli[Symbol.dispose]();
  await Promise.all([s3, azure, gcs, gateway].map((server) => server?.stop()));
});

/** It signs its tokens itself; fake-gcs-server looks at none. */
function serviceAccount(): object {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  return {
    type: "service_account",
    private_key: privateKey.export({ type: "pkcs8", format: "pem" }),
    client_email: "me@p.iam.gserviceaccount.com",
  };
}

/** A kind of storage, as flags, and what lies there. */
interface Place {
  readonly vendor: Vendor;
  /** Flags for `endpoint`, or else for the server itself. */
  readonly flags: (prefix: string, endpoint?: string) => string[];
  readonly origin: () => string;
  /** What puts are for the proxy. */
  readonly put: string;
  /** The listing, as the server has it. */
  list(prefix: string): Promise<string>;
}

const S3: Place = {
  vendor: "s3",
  flags: (prefix, endpoint = s3.endpoint) => {
    const host = new URL(endpoint).host;
    return ["s3", "--bucket=bucket", `--prefix=${prefix}`, `--endpoint=${host}`, "--disable-tls"];
  },
  origin: () => s3.endpoint,
  put: "PUT",
  list: (prefix) => s3Request(s3, { method: "GET", path: "/bucket", query: { prefix } }),
};

const AZURE: Place = {
  vendor: "azure",
  flags: (prefix, endpoint = new URL(azure.endpoint).origin) => [
    ...["azure", "--container=box", `--prefix=${prefix}`, "--storage-account", azure.account],
    ...["--endpoint", endpoint + new URL(azure.endpoint).pathname],
  ],
  origin: () => new URL(azure.endpoint).origin,
  put: "PUT",
  list: async (prefix) => {
    const query = `restype=container&comp=list&prefix=${encodeURIComponent(prefix)}`;
    return await (await fetch(`${azure.endpoint}/box?${query}&${azure.sasToken("rl")}`)).text();
  },
};

const GCS: Place = {
  vendor: "gcs",
  flags: (prefix, endpoint = gcs.endpoint) => [
    ...["gcs", "--bucket=box", `--prefix=${prefix}`, "--endpoint", endpoint],
    ...["--credentials-file", cli.path("service-account.json")],
  ],
  origin: () => gcs.endpoint,
  put: "POST",
  list: async (prefix) => {
    const query = `prefix=${encodeURIComponent(prefix)}`;
    return await (await fetch(`${gcs.endpoint}/storage/v1/b/box/o?${query}`)).text();
  },
};

/** Of the objects in a listing of a folder, by any of them; the bucket has a name, too, and is in none. */
function namesIn(listing: string): string[] {
  const names = listing.matchAll(/(?:<Key>|<Name>|"name": ?")([^<"]*\/[^<"]+)/g);
  return Array.from(names, ([, name = ""]) => name).sort();
}

/** Flags for the bucket, or for what stands before it. */
const place = S3.flags;
const FAR: readonly (readonly [name: string, place: Place])[] = [
  ["S3", S3],
  ["Azure", AZURE],
  ...(HAS_GO ? ([["GCS", GCS]] as const) : []),
];

function configured(name: string): string[] {
  return ["--config-file", cli.path(`config/${name}.config`)];
}

const SECRET = "a-secret-of-somebody";

describe("a repository in a bucket", () => {
  test("is created, backed up to, verified and restored from", async () => {
    const { rootEntry } = await cli.json<SnapshotJson>(["snapshot", "create", cli.path("source")]);
    expect(await cli.ok(["snapshot", "verify", "--verify-files-percent=100"])).toContain(
      "no damage found",
    );
    await cli.ok(["restore", rootEntry.obj, cli.path("restored")]);
    expect(cli.read("restored/one.txt")).toBe("first words\n");
    const status = await cli.json<{ storage: object }>(["repository", "status"]);
    expect(status.storage).toEqual({
      type: "s3",
      config: {
        bucket: "bucket",
        prefix: "laptop/",
        endpoint: new URL(s3.endpoint).host,
        doNotUseTLS: true,
      },
    });
  });

  test("takes few requests for a backup of what has not changed, and for a look", async () => {
    await using proxy = await startFaultProxy({ target: s3.endpoint });
    const config = ["--config-file", cli.path("config/counted.config")];
    const create = [...config, "repository", "create", ...place("counted/", proxy.endpoint)];
    await cli.ok(create);
    const backUp = [...config, "snapshot", "create", cli.path("source")];
    await cli.ok(backUp);
    proxy.resetCounts();
    await cli.ok(backUp);
    const { byOperation } = proxy.counts;
    expect(Object.fromEntries(byOperation)).toEqual({ GET: 5, LIST: 4, PUT: 3, DELETE: 1 });
    proxy.resetCounts();
    await cli.ok([...config, "snapshot", "list"]);
    expect(proxy.counts.requests).toBe(4);
  });

  test("is not overwritten by a mirror of another one", async () => {
    const other = ["--config-file", cli.path("config/other.config")];
    const create = ["repository", "create", "filesystem", "--path", cli.path("other")];
    await cli.ok([...other, ...create]);
    const refused = [...other, "repository", "sync-to", ...place("laptop/"), "--delete"];
    expect(await cli.fails(refused)).toContain("holds another repository");
  });
});

describe.each(FAR)("a mirror on %s", (name, far) => {
  const sync = (where: string[], ...flags: string[]): string[] => [
    ...configured("folder"),
    ...["repository", "sync-to", ...where, ...flags],
  ];
  /** By their ids: a mirror has folders of its own. */
  const blobs = (folder: string): Map<string, Buffer> =>
    new Map(
      readdirSync(cli.path(folder), { recursive: true, encoding: "utf8" })
        .filter((path) => path.endsWith(".f"))
        .sort((a, b) => (a.replaceAll("/", "") < b.replaceAll("/", "") ? -1 : 1))
        .map((path) => [path.replaceAll("/", ""), cli.readBytes(`${folder}/${path}`)]),
    );

  test("is of a folder: tried, cut short, gone on with, cleaned, and copied back byte for byte", async () => {
    if (!existsSync(cli.path("folder"))) {
      const create = ["repository", "create", "filesystem", "--path", cli.path("folder")];
      await cli.ok([...configured("folder"), ...create]);
      await cli.ok([...configured("folder"), "snapshot", "create", cli.path("source")]);
      await setTimeout(1100); // S3 tells whole seconds: what was copied within the second would seem older than the original
    }
    const all = blobs("folder").size;
    const dry = await cli.json<SyncReport>(sync(far.flags("m/"), "-n"));
    expect(dry).toMatchObject({ dryRun: true, inSync: 0, copiedBlobs: all });
    expect(await far.list("m/")).not.toContain("kopia.repository");

    let puts = 0;
    const only = ({ operation }: { operation: string }): boolean =>
      operation === far.put && ++puts > 2;
    const faults = { rates: { forbidden: 1 }, only };
    {
      await using proxy = await startFaultProxy({
        target: far.origin(),
        vendor: far.vendor,
        faults,
      });
      const broken = sync(far.flags("m/", proxy.endpoint), "--parallel=1");
      expect(await cli.fails(broken)).toContain("[access-denied]");
    }
    const rest = await cli.json<SyncReport>(sync(far.flags("m/")));
    expect(rest).toMatchObject({ inSync: 2, copiedBlobs: all - 2, deletedBlobs: 0 });

    // By the server's own listing: prefix and name and nothing else, as Kopia lays blobs out (spec §6.6).
    expect(namesIn(await far.list("m/"))).toEqual(
      Array.from(blobs("folder").keys(), (file) => `m/${file.slice(0, -".f".length)}`).sort(),
    );

    const there = configured(`mirror-${name}`);
    await cli.ok([...there, "repository", "connect", ...far.flags("m/")]);
    mkdirSync(cli.path(`back-${name}`));
    await cli.ok([
      ...there,
      "repository",
      "sync-to",
      "filesystem",
      "--path",
      cli.path(`back-${name}`),
    ]);
    expect(blobs(`back-${name}`)).toEqual(blobs("folder"));

    await cli.ok([...there, "snapshot", "create", cli.path("source")]); // which the original has not
    const cleaned = await cli.json<SyncReport>(sync(far.flags("m/"), "--delete"));
    expect(cleaned).toMatchObject({ inSync: all, copiedBlobs: 0 });
    expect(cleaned.deletedBlobs).toBeGreaterThan(0);
    const verify = [...there, "snapshot", "verify", "--verify-files-percent=100"];
    expect(await cli.ok(verify)).toContain("no damage found");
    for (const secret of [s3.secretAccessKey, azure.key, "PRIVATE KEY"]) {
      expect(cli.read(`config/mirror-${name}.config`)).not.toContain(secret);
    }
  });
});

describe.each(FAR.slice(1))("a mirror on %s", (name, far) => {
  test("is of a bucket of S3, and back into one", async () => {
    const first = await cli.json<SyncReport>(["repository", "sync-to", ...far.flags("s3/")]);
    expect(first.copiedBlobs).toBeGreaterThan(4);
    const there = configured(`from-s3-${name}`);
    await cli.ok([...there, "repository", "connect", ...far.flags("s3/")]);
    const back = await cli.json<SyncReport>([
      ...there,
      ...["repository", "sync-to", ...place(`from-${name}/`)],
    ]);
    expect(back).toMatchObject({ copiedBlobs: first.copiedBlobs, inSync: 0 });
    const again = configured(`again-${name}`);
    await cli.ok([...again, "repository", "connect", ...place(`from-${name}/`)]);
    const verify = [...again, "snapshot", "verify", "--verify-files-percent=100"];
    expect(await cli.ok(verify)).toContain("no damage found");
  });
});

interface SyncReport {
  readonly inSync: number;
  readonly copiedBlobs: number;
  readonly deletedBlobs: number;
}

describe("keys", () => {
  const config = (): string => cli.path("config/keys.config");
  const connect = (): string[] => ["--config-file", config(), "repository", "connect"];

  test("are not kept unless asked, and then in a file of their owner", async () => {
    await using proxy = await startFaultProxy({ target: s3.endpoint });
    const to = place("laptop/", proxy.endpoint);
    const said = await cli.ok([...connect(), ...to]);
    expect(said).not.toContain("were not kept");
    expect(readFileSync(config(), "utf8")).not.toContain(s3.secretAccessKey);
    const status = ["--config-file", config(), "repository", "status"];
    const noKeys = { AWS_ACCESS_KEY_ID: "", AWS_SECRET_ACCESS_KEY: "" };
    const env = { ...noKeys, AWS_EC2_METADATA_DISABLED: "true" };
    expect(await cli.fails(status, { env })).toContain("[access-denied]");
    await cli.ok([...connect(), ...to, "--persist-credentials"]);
    expect(readFileSync(config(), "utf8")).not.toContain(s3.secretAccessKey);
    expect(statSync(`${config()}.credentials`).mode & 0o777).toBe(0o600);
    await cli.ok(status, { env: { ...noKeys, VARVE_PASSWORD: "" } });
    await cli.ok(["--config-file", config(), "repository", "disconnect"]);
    expect(readdirSync(cli.path("config")).filter((name) => name.startsWith("keys"))).toEqual([]);
  });

  test("that are wrong are an error that shows no secret, and nothing is saved", async () => {
    const flags = ["--access-key=nobody", `--secret-access-key=${SECRET}`];
    const wrong = await cli.fails([...connect(), ...place("laptop/"), ...flags]);
    expect(wrong).toContain("access key ID is not known");
    expect(wrong).not.toContain(SECRET);
    const debug = { env: { VARVE_DEBUG: "1" } };
    const { stdout, stderr } = await cli.run([...connect(), ...place("laptop/"), ...flags], debug);
    expect(stdout + stderr).not.toContain(SECRET);
    expect(existsSync(config())).toBe(false);
  });

  test("of a role that is assumed come from the service that gives them out", async () => {
    const forms: string[] = [];
    const service = createServer((request, response) => {
      request.setEncoding("utf8").on("data", (text: string) => forms.push(text));
      const { accessKeyId, secretAccessKey } = s3;
      const expires = new Date(Date.now() + 3_600_000).toISOString();
      const keys = `<AccessKeyId>${accessKeyId}</AccessKeyId><SecretAccessKey>${secretAccessKey}</SecretAccessKey><SessionToken>t</SessionToken><Expiration>${expires}</Expiration>`;
      response.end(
        `<AssumeRoleResponse><AssumeRoleResult><Credentials>${keys}</Credentials></AssumeRoleResult></AssumeRoleResponse>`,
      );
    });
    service.listen(0, "127.0.0.1");
    await once(service, "listening");
    const { port } = service.address() as AddressInfo; // it listens on TCP
    const config = {
      ...{ bucket: "bucket", prefix: "laptop/", endpoint: new URL(s3.endpoint).host },
      ...{ doNotUseTLS: true, accessKeyID: "nobody", secretAccessKey: SECRET },
      ...{ roleARN: "arn:aws:iam::1:role/backup", sessionName: "nightly", duration: "15m0s" },
      ...{ roleEndpoint: `http://127.0.0.1:${port}`, roleRegion: "us-east-1" },
    };
    const file = cli.write("role.json", JSON.stringify({ storage: { type: "s3", config } }));
    const role = [...configured("role"), "repository", "connect", "from-config"];
    const said = await cli.ok([...role, "--file", file]);
    service.closeAllConnections();
    service.close();
    expect(forms.join()).toContain("RoleSessionName=nightly&DurationSeconds=900");
    expect(said + cli.read("config/role.config")).not.toContain(SECRET);
  });

  test("come in pairs", async () => {
    const half = [...connect(), ...place("laptop/"), "--access-key=one"];
    const env = { AWS_SECRET_ACCESS_KEY: "" };
    expect(await cli.fails(half, { env })).toContain("no --secret-access-key");
  });
});

describe("what is wrong is named, and nothing is half made:", () => {
  /** The message of a creation that must fail and leave nothing, neither there nor here. */
  async function refusal(far: Place, flags: readonly string[], prefix: string): Promise<string> {
    const message = await cli.fails([...configured("wrong"), "repository", "create", ...flags]);
    expect(await far.list(prefix)).not.toMatch(/<Key>|<Blob>|"name"/);
    expect(existsSync(cli.path("config/wrong.config"))).toBe(false);
    return message;
  }
  const swap = (flags: string[], name: string, value: string): string[] => [
    ...flags.filter((flag) => !flag.startsWith(`--${name}=`)),
    `--${name}=${value}`,
  ];

  test.each(FAR)("%s: a bucket that does not exist", async (_name, far) => {
    const flags = far.flags("x/");
    const message = await refusal(
      far,
      swap(flags, far.vendor === "azure" ? "container" : "bucket", "nowhere"),
      "x/",
    );
    expect(message).toMatch(/no (?:bucket|container) "?nowhere"?.*\[storage-failed\]/);
  });

  const WORDS = {
    expired: { s3: /expired/, azure: /expired/, gcs: /expired or not valid/ },
    skewed: { s3: /clock/, azure: /clock/, gcs: /request time and the server's time/ },
  } as const;
  const refusals = FAR.flatMap(([name, far]) =>
    (["expired", "skewed"] as const).map((kind) => [name, kind, far] as const),
  );
  test.each(refusals)("%s answers that the request is %s", async (_name, kind, far) => {
    const faults = { rates: { [kind]: 1 } };
    const { vendor } = far;
    await using proxy = await startFaultProxy({ target: far.origin(), vendor, faults });
    expect(await refusal(far, far.flags("y/", proxy.endpoint), "y/")).toMatch(WORDS[kind][vendor]);
    expect(proxy.counts.requests).toBeLessThan(3);
  });

  const NEEDED = {
    s3: /s3:PutObject/,
    azure: /SAS permissions "c" and "w", or the role Storage Blob Data Contributor/,
    gcs: /permission storage\.objects\.create on bucket box/,
  };
  test.each(FAR)("%s: a key that may read and not write", async (_name, far) => {
    const { vendor } = far;
    const faults = {
      rates: { forbidden: 1 },
      only: ({ operation }: { operation: string }): boolean => operation === far.put,
    };
    await using proxy = await startFaultProxy({ target: far.origin(), vendor, faults });
    const message = await refusal(far, far.flags("z/", proxy.endpoint), "z/");
    expect(message).toMatch(NEEDED[vendor]);
    expect(message).toContain("[access-denied]");
    expect(proxy.counts.byOperation.get(far.put)).toBe(1);
  });

  test("Azure: keys and SAS tokens that are wrong, over, or for reading only", async () => {
    const key = Buffer.from("a key of somebody else").toString("base64");
    const [over, reading] = [azure.sasToken("rwlcd", { endsInMs: -1000 }), azure.sasToken("rl")];
    for (const [flag, words] of [
      [`--storage-key=${key}`, /account varvetest does not accept the credentials/],
      [`--sas-token=${over}`, /the SAS token expired at 20/],
      [`--sas-token=${reading}`, NEEDED.azure],
    ] as const) {
      const message = await refusal(AZURE, [...AZURE.flags("w/"), flag], "w/");
      expect(message).toMatch(words);
      expect(message).toContain("[access-denied]");
      expect(message).not.toContain(key);
      expect(message).not.toContain("sig=");
    }
  });

  if (HAS_GO) {
    test("S3: a secret, a region and a user that are wrong", async () => {
      const reader = await gateway.createUser("bucket", ["s3:GetObject", "s3:ListBucket"]);
      const there: Place = {
        ...S3,
        list: (prefix) => s3Request(gateway, { method: "GET", path: "/bucket", query: { prefix } }),
      };
      const as = (user: { accessKeyId: string; secretAccessKey: string }, region = "us-east-1") => [
        ...S3.flags("v/", gateway.endpoint),
        ...[`--region=${region}`, `--access-key=${user.accessKeyId}`],
        `--secret-access-key=${user.secretAccessKey}`,
      ];
      for (const [flags, words] of [
        [
          as({ ...gateway, secretAccessKey: SECRET }),
          /the secret access key is wrong.*access-denied/,
        ],
        [as(gateway, "eu-west-1"), /in another region: us-east-1 .*\[invalid-argument\]/],
        [as(reader), /s3:PutObject.*\[access-denied\]/],
      ] as const) {
        const message = await refusal(there, flags, "v/");
        expect(message).toMatch(words);
        expect(message).not.toContain(SECRET);
      }
    });
  }

  if (HAS_GO) {
    test("GCS: credentials that are not there, or that are none", async () => {
      const damaged = { type: "service_account", private_key: SECRET, client_email: "me@p" };
      for (const [path, words] of [
        [cli.path("missing.json"), /credentials file .*missing\.json cannot be read/],
        [cli.write("text.json", SECRET), /are not JSON/],
        [cli.write("damaged.json", JSON.stringify(damaged)), /not accepted.*\[access-denied\]/],
      ] as const) {
        const flags = [...GCS.flags("u/"), "--credentials-file", path];
        const message = await refusal(GCS, flags, "u/");
        expect(message).toMatch(words);
        expect(message).not.toContain(SECRET);
      }
    });
  }

  test("a service that is out of order, after a few attempts, and nothing is saved", async () => {
    await using proxy = await startFaultProxy({
      target: s3.endpoint,
      faults: { rates: { "error-503": 1 } },
    });
    const config = ["--config-file", cli.path("config/order.config")];
    const connect = [...config, "repository", "connect", ...place("laptop/", proxy.endpoint)];
    const { status, stderr } = await cli.run(connect);
    expect({ status, last: stderr.trimEnd().split("\n").at(-1) }).toMatchObject({
      status: 1,
      last: expect.stringContaining("[storage-failed]") as string,
    });
    expect(proxy.counts.requests).toBe(4);
    expect(existsSync(cli.path("config/order.config"))).toBe(false);
  });
});

describe("limits", () => {
  test("are kept with the connection, shown and changed", async () => {
    const config = ["--config-file", cli.path("config/limits.config")];
    const speed = ["--max-upload-speed=2000000"];
    const connect = [...config, "repository", "connect", ...place("laptop/"), ...speed];
    await cli.ok(connect);
    const throttle = [...config, "repository", "throttle"];
    await cli.ok([...throttle, "set", "--concurrent-reads=7", "--read-requests-per-second=2.5"]);
    expect(await cli.json<object>([...throttle, "get"])).toEqual({
      maxUploadSpeedBytesPerSecond: 2_000_000,
      concurrentReads: 7,
      readsPerSecond: 2.5,
    });
    await cli.ok([...throttle, "set", "--upload-bytes-per-second=unlimited"]);
    const shown = await cli.ok([...throttle, "get"]);
    expect(shown).toMatch(/^Max upload speed: +\(unlimited\)$/m);
    expect(shown).toMatch(/^Max concurrent reads: +7$/m);
    expect(await cli.ok([...throttle, "set"])).toBe("No changes made.\n");
    expect((await cli.run([...throttle, "set", "--concurrent-reads=many"])).status).toBe(2);
    await cli.ok([...config, "repository", "status"]);
  });
});
