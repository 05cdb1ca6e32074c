import { generateKeyPairSync, randomBytes, sign } from "node:crypto";
import { isIPv4 } from "node:net";

/** Certificates for servers of tests: made on the spot, trusted by nobody but who is given them. */

export interface TestCertificate {
  /** PEM; its own authority, so that this is also what a client has to trust. */
  readonly certificate: string;
  /** PEM, without a password. */
  readonly key: string;
}

/** A certificate for servers with these names (wildcards are fine) and IPv4 addresses, good for a day. */
export function makeCertificate(names: readonly string[]): TestCertificate {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const algorithm = sequence(OID_ECDSA_SHA256);
  const name = sequence(der(0x31, sequence(OID_COMMON_NAME, der(0x0c, Buffer.from("varve test")))));
  const dayMs = 86_400_000;
  const body = sequence(
    der(0xa0, der(0x02, Buffer.of(2))), // version 3
    der(0x02, Buffer.concat([Buffer.of(1), randomBytes(8)])),
    algorithm,
    name,
    sequence(time(Date.now() - dayMs), time(Date.now() + dayMs)),
    name,
    publicKey.export({ type: "spki", format: "der" }),
    der(
      0xa3,
      sequence(
        extension(OID_BASIC_CONSTRAINTS, sequence(der(0x01, Buffer.of(0xff)))),
        extension(OID_ALTERNATIVE_NAMES, sequence(...names.map(alternativeName))),
      ),
    ),
  );
  const signature = der(0x03, Buffer.concat([Buffer.of(0), sign("sha256", body, privateKey)]));
  const base64 = sequence(body, algorithm, signature).toString("base64");
  const lines = base64.match(/.{1,64}/g)?.join("\n") ?? "";
  return {
    certificate: `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`,
    key: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
  };
}

const OID_ECDSA_SHA256 = Buffer.from("06082a8648ce3d040302", "hex");
const OID_COMMON_NAME = Buffer.from("0603550403", "hex");
const OID_BASIC_CONSTRAINTS = Buffer.from("0603551d13", "hex");
const OID_ALTERNATIVE_NAMES = Buffer.from("0603551d11", "hex");

function extension(oid: Buffer, value: Buffer): Buffer {
  return sequence(oid, der(0x04, value));
}

function alternativeName(name: string): Buffer {
  return isIPv4(name)
    ? der(0x87, Buffer.from(name.split(".").map(Number)))
    : der(0x82, Buffer.from(name));
}

function time(ms: number): Buffer {
  const digits = new Date(ms).toISOString().replace(/\D/g, "").slice(0, 14);
  return der(0x18, Buffer.from(`${digits}Z`));
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return der(0x30, Buffer.concat(parts));
}

/** One element of DER: tag, length in the shortest form, value. */
function der(tag: number, value: Buffer): Buffer {
  const { length } = value;
  const size =
    length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), value]);
}
