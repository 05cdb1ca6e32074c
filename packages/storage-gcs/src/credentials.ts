import { readFile } from "node:fs/promises";
import { isVarveError, VarveError } from "@varve/core/blob";
import { type AuthClient, GoogleAuth, type JWTInput } from "google-auth-library";
import { plainText } from "./errors.ts";
import type { GcsCredentials } from "./options.ts";

/** Who asks: the headers that authenticate a request, from Google's own library. */

// Full control as Kopia asks for it: less does not allow to extend retention.
const SCOPE = "https://www.googleapis.com/auth/devstorage.full_control";
const READ_ONLY_SCOPE = "https://www.googleapis.com/auth/devstorage.read_only";

export interface Authorizer {
  /** Headers for one request; tokens are kept and renewed before they expire. Throws `access-denied`, `storage-failed`. */
  headers(): Promise<Readonly<Record<string, string>>>;
  /** Forgets the token that is being waited for, so that the next call asks anew. */
  reset(): void;
  /** Signs the text that is made for who signs: by the account's own key, or else by Google. Throws `unsupported` for nobody. */
  sign(textFor: (email: string) => string): Promise<Signature>;
}

export interface Signature {
  /** The account that signed. */
  readonly email: string;
  readonly bytes: Uint8Array;
}

/** Reads the credentials, and asks nobody yet. Throws `invalid-argument` when they cannot be understood. */
export async function authorizer(
  credentials: GcsCredentials,
  { readOnly }: { readonly readOnly: boolean },
): Promise<Authorizer> {
  if (credentials.kind === "anonymous") {
    return { headers: async () => ({}), reset: () => {}, sign: refuseToSign };
  }
  const json = await credentialsJson(credentials);
  const createAuth = (): GoogleAuth => {
    const auth = new GoogleAuth({
      scopes: readOnly ? READ_ONLY_SCOPE : SCOPE,
      ...(json === undefined ? {} : { credentials: json }),
    });
    // A service account signs its own tokens, as Google's Go library has it do: no token server to wait for.
    auth.useJWTAccessWithScope = true;
    return auth;
  };
  let client: Promise<AuthClient> | undefined;
  const connect = async (): Promise<AuthClient> => await createAuth().getClient();
  return {
    async headers() {
      client ??= connect();
      try {
        return await (await client).getRequestHeaders();
      } catch (error) {
        client = undefined;
        throw credentialsError(error);
      }
    },
    reset() {
      client = undefined;
    },
    async sign(textFor) {
      const auth = createAuth();
      try {
        const { client_email: email = "" } = await auth.getCredentials();
        return { email, bytes: Buffer.from(await auth.sign(textFor(email)), "base64") };
      } catch (error) {
        throw credentialsError(error);
      }
    },
  };
}

async function refuseToSign(): Promise<never> {
  throw new VarveError("unsupported", "nobody signs: there are no credentials");
}

async function credentialsJson(credentials: GcsCredentials): Promise<JWTInput | undefined> {
  switch (credentials.kind) {
    case "file":
      return parseCredentials(await readText(credentials.path), `in ${credentials.path}`);
    case "json":
      return parseCredentials(credentials.json, "given");
    default:
      return undefined;
  }
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    const message = `credentials file ${path} cannot be read`;
    throw new VarveError("invalid-argument", message, { cause: error });
  }
}

/** Errors say where, never what: the parser's own would quote the text. */
function parseCredentials(json: string | object, where: string): JWTInput {
  let value: unknown;
  try {
    value = typeof json === "string" ? JSON.parse(json) : json;
  } catch {
    throw new VarveError("invalid-argument", `the credentials ${where} are not JSON`);
  }
  if (
    typeof value !== "object" ||
    value === null ||
    !("type" in value) ||
    typeof value.type !== "string"
  ) {
    throw new VarveError(
      "invalid-argument",
      `the credentials ${where} are not those of Google: no type`,
    );
  }
  return value as JWTInput; // all its members are optional, and the library checks those it reads
}

const NETWORK_CODE = /^(?:ECONN|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_|EHOST|ENET)/;

/** What went wrong before the bucket was asked. The library's errors carry requests, so none becomes a cause. */
function credentialsError(error: unknown): VarveError {
  if (isVarveError(error)) {
    return error;
  }
  const { message, status, code } = describe(error);
  const what = `get a token from Google: ${message}`;
  const isNetwork = status === undefined && code !== undefined && NETWORK_CODE.test(code);
  if (isNetwork || status === 408 || status === 429 || (status !== undefined && status >= 500)) {
    return new VarveError("storage-failed", what, { retryable: true });
  }
  const hint = message.includes("default credentials")
    ? "not authenticated: there are no application default credentials"
    : `the credentials were not accepted: ${message}`;
  return new VarveError("access-denied", hint);
}

interface Failure {
  readonly message: string;
  readonly status: number | undefined;
  readonly code: string | undefined;
}

function describe(error: unknown): Failure {
  const { message, code, response } = error as {
    readonly message?: unknown;
    readonly code?: unknown;
    readonly response?: { readonly status?: unknown; readonly data?: unknown };
  }; // anything may be thrown, so every member is checked
  const data = response?.data as
    | { readonly error?: unknown; readonly error_description?: unknown }
    | undefined; // likewise
  const oauth = [data?.error, data?.error_description].filter((part) => typeof part === "string");
  return {
    message: plainText(oauth.length > 0 ? oauth.join(": ") : String(message)),
    status: typeof response?.status === "number" ? response.status : undefined,
    code: typeof code === "string" ? code : undefined,
  };
}
