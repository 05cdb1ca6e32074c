import { inspect } from "node:util";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseEnvironmentFile, parseProfiles } from "./credential-files.ts";
import { azureOptions, gcsOptions, s3Options } from "./provider-config.ts";

const INI = `
# made by hand
[default]
aws_access_key_id = KEY
aws_secret_access_key=SEC=RET/+
; comment
[profile other]
AWS_ACCESS_KEY_ID=OTHER
aws_secret_access_key = S2
aws_session_token = T
[role]
role_arn = arn:aws:iam::1:role/r
source_profile = other
external_id = x
`;
const bare = { bucket: "b", config: {}, credentials: undefined, caCert: undefined };

describe("S3", () => {
  test("keys come from the profile that is named, or the default one", () => {
    const config = { region: "eu-central-1", s3Url: "http://minio:9000", s3ForcePathStyle: "true" };
    const options = s3Options({ ...bare, config, credentials: INI });
    expect(options).toMatchObject({
      endpoint: "http://minio:9000",
      region: "eu-central-1",
      forcePathStyle: true,
      credentials: { kind: "keys", accessKeyId: "KEY", secretAccessKey: "SEC=RET/+" },
    });
    const other = s3Options({ ...bare, config: { profile: "other" }, credentials: INI });
    expect(other.credentials).toMatchObject({ accessKeyId: "OTHER", sessionToken: "T" });
    const role = s3Options({ ...bare, config: { profile: "role" }, credentials: INI });
    expect(role.credentials).toMatchObject({
      kind: "assume-role",
      externalId: "x",
      source: { accessKeyId: "OTHER" },
    });
  });

  test("without a secret, the surroundings are asked", () => {
    expect(s3Options({ ...bare, config: { profile: "p" } }).credentials).toEqual({
      kind: "chain",
      profile: "p",
    });
  });

  for (const [name, config] of Object.entries({
    "an unknown key": { regoin: "x" },
    "keys of the customer": { customerKeyEncryptionFile: "/etc/passwd" },
    "a file of the server": { credentialsFile: "/etc/passwd" },
    "old signatures": { signatureVersion: "1" },
    "a word that is no boolean": { insecureSkipTLSVerify: "maybe" },
    "an unknown encryption": { serverSideEncryption: "rot13" },
  })) {
    test(`${name} is refused`, () => {
      expect(() => s3Options({ ...bare, config })).toThrow(
        expect.objectContaining({ code: "invalid-argument" }),
      );
    });
  }

  test("a secret without the profile says so, and not what it holds", () => {
    for (const [profile, credentials] of [
      ["nobody", INI],
      ["default", "SEC=RET/+"],
      ["default", "[default]\nSEC=RET/+"],
    ]) {
      let seen: unknown;
      try {
        s3Options({ ...bare, config: { profile: profile ?? "" }, credentials });
      } catch (error) {
        seen = error;
      }
      expect(seen).toMatchObject({ code: "invalid-argument" });
      expect(inspect(seen)).not.toContain("RET");
    }
  });
});

describe("Azure", () => {
  const config = { storageAccount: "acc", resourceGroup: "rg", subscriptionId: "s" };
  test("an account key, by the name that the config gives", () => {
    const credentials = 'AZURE_CLOUD_NAME="AzureUSGovernmentCloud"\nexport MY_KEY=abc==\n';
    const options = azureOptions({
      ...bare,
      config: { ...config, storageAccountKeyEnvVar: "MY_KEY" },
      credentials,
    });
    expect(options).toMatchObject({
      container: "b",
      storageAccount: "acc",
      storageDomain: "blob.core.usgovcloudapi.net",
      credentials: { kind: "account-key", accountKey: "abc==" },
    });
  });

  test("a service principal", () => {
    const credentials = "AZURE_TENANT_ID=t\nAZURE_CLIENT_ID=c\nAZURE_CLIENT_SECRET='s'\n";
    expect(azureOptions({ ...bare, config, credentials }).credentials).toMatchObject({
      kind: "client-secret",
      tenantId: "t",
      clientId: "c",
      clientSecret: "s",
    });
  });

  test("a cloud that nobody knows, and a key that is not there, are refused", () => {
    const refused = expect.objectContaining({ code: "invalid-argument" });
    expect(() => azureOptions({ ...bare, config, credentials: "AZURE_CLOUD_NAME=Moon" })).toThrow(
      refused,
    );
    const other = { ...config, storageAccountKeyEnvVar: "K" };
    expect(() => azureOptions({ ...bare, config: other, credentials: "" })).toThrow(refused);
  });
});

test("Google's credentials are passed on as JSON, or looked for", () => {
  expect(gcsOptions({ ...bare, credentials: "{}" }).credentials).toEqual({
    kind: "json",
    json: "{}",
  });
  expect(gcsOptions(bare).credentials).toBeUndefined();
});

test("any text is read as credentials without a crash", () => {
  fc.assert(
    fc.property(
      fc.string({
        unit: fc.constantFrom("[", "]", "=", " ", "\t", "\n", '"', "a", "#", "\u0000", "é"),
        maxLength: 200,
      }),
      (text) => {
        expect(parseProfiles(`[default]\n${text}`).has("default")).toBe(true);
        expect(parseEnvironmentFile(`A=1\n#${text.replaceAll(/[\r\n]/g, "")}`).get("A")).toBe("1");
      },
    ),
    { seed: 1, numRuns: 200 },
  );
});
